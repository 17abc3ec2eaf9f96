"""The command that asks CAs when certificates should be renewed."""

from typing import Annotated

import typer

from certforecast.cli.app import Json, app, open_history, settings_of
from certforecast.cli.output import print_json, print_table, progress, say


@app.command()
def ari(
    context: typer.Context,
    as_json: Json = False,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 1 if a CA wants something replaced early.")
    ] = False,
) -> None:
    """Ask ACME servers when their certificates should be renewed (ARI, RFC 9773).

    Renewals are then due, and planned, when the CA asks for them. No server is asked more often than it
    allows, so run this every hour.
    """
    from certforecast.execution.asking import ask

    settings = settings_of(context)
    with open_history(settings) as history, progress("Asking"):
        told = ask(history, settings)
    if as_json:
        print_json(told)
    else:
        print_table(
            "When CAs ask for renewals",
            [
                ("name", lambda one: one.name),
                ("issuer", lambda one: one.issuer),
                ("from", lambda one: f"{one.window.start:%Y-%m-%d %H:%M}" if one.window else ""),
                ("until", lambda one: f"{one.window.end:%Y-%m-%d %H:%M}" if one.window else ""),
                ("chosen", lambda one: f"{one.window.moment:%Y-%m-%d %H:%M}" if one.window else ""),
                (
                    "says",
                    lambda one: "; ".join(
                        word
                        for word in (
                            "early, as before a revocation" if one.early else "",
                            (one.window.url or "") if one.window else "",
                            one.problem or "",
                        )
                        if word
                    ),
                ),
            ],
            told,
            caption="" if told else "no certificate in use is of an issuer that says when to renew",
        )
        early = sum(one.early for one in told)
        if early:
            say(f"{early} to be replaced early: 'certforecast plan' puts them first")
    if check and any(one.early for one in told):
        raise typer.Exit(1)
