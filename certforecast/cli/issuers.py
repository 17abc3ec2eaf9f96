"""The commands about issuers: what they are, our accounts with them, and revoking."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certforecast.cli.app import Json, app, settings_of
from certforecast.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from certforecast.execution.issuers.acme.issuer import AcmeIssuer
    from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings

issuers = typer.Typer(invoke_without_command=True)
app.add_typer(issuers, name="issuers")

Name = Annotated[str, typer.Argument(metavar="NAME", help="The section [issuers.NAME] of the settings.")]
Execute = Annotated[bool, typer.Option("--execute", help="Do it. Without this nothing is changed.")]
_CONFIRM = "nothing was changed: give --execute to do it"


@issuers.callback()
def list_issuers(context: typer.Context, as_json: Json = False) -> None:
    """Show the issuers of the settings, and what their directories say."""
    if context.invoked_subcommand is not None:
        return
    rows = [_described(name, section) for name, section in settings_of(context).issuers.items()]
    if as_json:
        print_json(rows)
        return
    print_table(
        "Issuers",
        [
            ("name", lambda row: row["name"]),
            ("kind", lambda row: row["kind"]),
            ("directory", lambda row: row.get("directory_url", "")),
            ("challenge", lambda row: row.get("challenge", "")),
            ("profiles", lambda row: ", ".join(row.get("profiles", ()))),
            ("says", lambda row: row.get("error") or "; ".join(row.get("notes", ()))),
        ],
        rows,
        caption="" if rows else "the settings have no section [issuers.NAME]",
    )


@issuers.command()
def account(context: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show our account with an issuer; none is made."""
    _, issuer = _acme(context, name)
    state = issuer.account.state()
    if as_json:
        print_json(state)
    elif state is None:
        say("there is no account key yet: the first order makes one, and its account")
    else:
        print_table(
            f"Account with {name}",
            [("what", lambda row: row[0]), ("value", lambda row: row[1])],
            [
                ("address", state.address),
                ("status", state.status),
                ("contact", ", ".join(state.contact) or "none"),
                ("key", str(state.key_file)),
            ],
        )


@issuers.command()
def rollover(context: typer.Context, name: Name, execute: Execute = False, as_json: Json = False) -> None:
    """Give our account a new key. Killed, the same command ends what it began."""
    section, issuer = _acme(context, name)
    if execute:
        issuer.account.roll_over()
    _done(
        {"issuer": name, "key_file": section.account_key, "changed": execute},
        f"the account with {name} has a new key, in {section.account_key}"
        if execute
        else f"the account with {name} would get a new key, in {section.account_key}; {_CONFIRM}",
        as_json=as_json,
    )


@issuers.command()
def deactivate(context: typer.Context, name: Name, execute: Execute = False, as_json: Json = False) -> None:
    """Give our account up for good; certificates it was issued stay valid."""
    _, issuer = _acme(context, name)
    if execute:
        issuer.account.deactivate()
    _done(
        {"issuer": name, "changed": execute},
        f"the account with {name} is given up"
        if execute
        else f"the account with {name} would be given up for good; {_CONFIRM}",
        as_json=as_json,
    )


@issuers.command()
def revoke(
    context: typer.Context,
    name: Name,
    certificate: Annotated[Path, typer.Option(metavar="FILE", help="PEM; of a chain, the first.")],
    reason: Annotated[
        str,
        typer.Option(
            help="unspecified, keyCompromise, affiliationChanged, superseded or cessationOfOperation."
        ),
    ] = "unspecified",
    key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Revoke by the certificate's own private key. Default: by our account.",
            show_default=False,
        ),
    ] = None,
    execute: Execute = False,
    as_json: Json = False,
) -> None:
    """Revoke a certificate. This cannot be taken back."""
    from cryptography import x509

    from certforecast.errors import InputError
    from certforecast.execution.issuers.acme.revoking import Reason

    _, issuer = _acme(context, name)
    if reason not in Reason.__members__:
        raise InputError(f"--reason {reason!r} is none of {', '.join(Reason.__members__)}")
    pem = certificate.read_bytes()
    try:
        leaf = x509.load_pem_x509_certificates(pem)[0]
    except ValueError as error:
        raise InputError(f"{certificate} is no certificate in PEM: {error}") from error
    serial = format(leaf.serial_number, "x")
    outcome = "would be revoked"
    if execute:
        fresh = issuer.revoke(pem, Reason[reason], None if key is None else key.read_bytes())
        outcome = "is revoked" if fresh else "was revoked already"
    _done(
        {"issuer": name, "serial": serial, "reason": reason, "changed": execute, "outcome": outcome},
        f"certificate {serial} ({leaf.subject.rfc4514_string() or certificate}) {outcome}, reason {reason}"
        + ("" if execute else f"; {_CONFIRM}"),
        as_json=as_json,
    )


def _done(document: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        say(sentence)


def _acme(context: typer.Context, name: str) -> "tuple[AcmeIssuerSettings, AcmeIssuer]":
    """Give the ACME issuer of a section.

    Raises
    ------
    InputError
        If there is none.
    """
    from certforecast.errors import InputError
    from certforecast.execution.issuers.acme.issuer import AcmeIssuer
    from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings

    sections = settings_of(context).issuers
    section = sections.get(name)
    if not isinstance(section, AcmeIssuerSettings):
        there = ", ".join(key for key, one in sections.items() if isinstance(one, AcmeIssuerSettings))
        raise InputError(f"the settings have no ACME issuer {name!r}; there are: {there or 'none'}")
    return section, AcmeIssuer(section)


def _described(name: str, section: Any) -> dict[str, Any]:
    """Say what a section is, and for ACME what its directory says; a server that is away is no error."""
    from certforecast.clock import system_clock
    from certforecast.errors import IssuanceError
    from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
    from certforecast.execution.rehearsal.authority import Authority

    row: dict[str, Any] = {"name": name, "kind": section.kind}
    if not isinstance(section, AcmeIssuerSettings):
        return row
    row |= {"directory_url": section.directory_url, "challenge": section.challenge}
    try:
        told = Authority(section, system_clock).directory()
    except IssuanceError as error:
        return {**row, "error": str(error)}
    notes = []
    if told.wants_external_account:
        notes.append("wants an external account" + ("" if section.eab is None else " (set)"))
    if told.caa_identities:
        notes.append(f"CAA records name it {', '.join(told.caa_identities)}")
    if told.terms:
        notes.append(f"terms: {told.terms}")
    return {
        **row,
        "profiles": told.profiles,
        "caa_identities": told.caa_identities,
        "external_account_required": told.wants_external_account,
        "terms": told.terms,
        "notes": notes,
    }
