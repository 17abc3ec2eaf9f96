"""The commands about installers: which kinds and sections there are, and what servers here use."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from certforecast.cli.app import Json, app, settings_of
from certforecast.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    from certforecast.execution.installers import Found

installers = typer.Typer(
    help="The kinds of servers that certificates are installed on.", rich_markup_mode=None
)
app.add_typer(installers, name="installers")


@installers.callback(invoke_without_command=True)
def listed(context: typer.Context, as_json: Json = False) -> None:
    """List the kinds of installers, and the sections of the settings."""
    from certforecast.plugins import kinds, load_kind

    if context.invoked_subcommand is not None:
        return
    sections = settings_of(context).installers
    rows = []
    for kind in kinds("certforecast.installers"):
        try:
            said = (load_kind("certforecast.installers", kind).__doc__ or "").strip().partition("\n")[0]
        except ValueError as error:  # of another package, which is broken
            said = str(error)
        names = sorted(name for name, section in sections.items() if section.kind == kind)
        rows.append({"kind": kind, "does": said.replace("``", "").rstrip("."), "sections": names})
    if as_json:
        print_json(rows)
        return
    print_table(
        "Installers",
        [
            ("kind", lambda row: row["kind"]),
            ("does", lambda row: row["does"]),
            ("sections", lambda row: ", ".join(row["sections"]) or "none"),
        ],
        rows,
        caption="'certforecast installers discover' finds what the servers of this machine use",
    )


@installers.command()
def discover(
    kind: Annotated[list[str] | None, typer.Option("--kind", help="Only this kind; repeatable.")] = None,
    place: Annotated[
        str | None,
        typer.Option(
            "--at",
            help="Where one kind looks: a folder or server.xml (keystore), a region (acm), a namespace or"
            " 'all' (kubernetes), a path in the store (vault).",
        ),
    ] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Print sections for the settings file.")] = False,
    as_json: Json = False,
) -> None:
    """Find the certificates that servers of this machine use, by their own configuration. Changes nothing.

    acm, kubernetes and vault, which are elsewhere, are asked if --kind names them.
    """
    from certforecast.execution.installers.discovery import discovered, sections

    found, troubles = discovered(kind, place)
    if toml:
        typer.echo(sections(found), nl=False)
    elif as_json:
        print_json(found)
    else:
        _print(found)
    for trouble in troubles:
        say(f"certforecast: {trouble}")
    if troubles:
        raise typer.Exit(3)


def _print(found: "list[Found]") -> None:
    def place(one: Any) -> str:
        held = (one.settings.get(name) for name in ("certificate", "keystore", "arn", "secret", "path"))
        return str(next(filter(None, held), ""))

    print_table(
        "Certificates in use",
        [
            ("kind", lambda one: one.kind),
            ("names", lambda one: ", ".join(one.names)),
            ("served at", lambda one: ", ".join(one.addresses)),
            ("place", place),
            ("certificate", lambda one: (one.fingerprint or "cannot be read")[:16]),
        ],
        found,
        caption="--toml prints them as sections of the settings",
    )
