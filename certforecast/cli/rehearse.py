"""The command that rehearses renewals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certforecast.cli.app import AsOf, Json, Model, app, model_of, moment, open_history, settings_of
from certforecast.cli.output import print_json, print_table, progress, say

if TYPE_CHECKING:
    from certforecast.execution.rehearsal import Rehearsal
    from certforecast.planning import Candidate


@app.command()
def rehearse(
    context: typer.Context,
    top: Annotated[int, typer.Option(min=1, help="How many, most worthwhile first.")] = 20,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Rehearse this one, worthwhile or not: a name, or 8 or more digits of a fingerprint. "
            "May be given more than once.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say which would be rehearsed, and why.")
    ] = False,
    as_of: AsOf = None,
    model: Model = None,
    as_json: Json = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 if anything was found.")] = False,
) -> None:
    """Rehearse renewals long before they are due; nothing is installed.

    Checks the account, the clock, DNS, CAA, the challenge, files, space, configuration and reload, and orders
    at the CA's staging directory. What is found is stored, and forecasts know of it.
    """
    from certforecast.errors import InputError
    from certforecast.execution.rehearsal import rehearse as rehearse_all
    from certforecast.planning import choose_rehearsals, named_rehearsals

    if as_of is not None and not dry_run:
        raise InputError("--as-of goes with --dry-run: what is rehearsed is rehearsed now")
    settings, at = settings_of(context), moment(as_of)
    with open_history(settings) as history:
        if name:
            candidates = named_rehearsals(history, name, at, settings)
        else:
            from certforecast.models import forecast

            with progress("Forecasting"):
                chosen = model_of(settings, model, at)
                forecasts = forecast(history, chosen, at, settings.policy)
                candidates = choose_rehearsals(history, forecasts, at, settings, top)
        if dry_run:
            _show_candidates(candidates, as_json=as_json)
            return
        done: list[tuple[Candidate, Rehearsal]] = []
        with progress("Rehearsing", len(candidates)) as advance:
            for each in rehearse_all(candidates, settings, history):
                done.append(each)
                advance(len(done))
    place = {candidate.fingerprint: place for place, candidate in enumerate(candidates)}
    done.sort(key=lambda each: place[each[0].fingerprint])
    if as_json:
        print_json(
            [
                {**candidate.model_dump(mode="json"), **made.model_dump(mode="json")}
                for candidate, made in done
            ]
        )
    else:
        _show([made for _, made in done])
    if check and any(made.findings for _, made in done):
        raise typer.Exit(1)


def _show_candidates(candidates: "Sequence[Candidate]", *, as_json: bool) -> None:
    if as_json:
        print_json(candidates)
        return
    print_table(
        "Would be rehearsed",
        [
            ("averts", lambda one: "" if one.gain is None else f"{one.gain:,.1f}"),
            ("costs", lambda one: f"{one.cost:,.1f}"),
            ("expires", lambda one: f"{one.not_after:%Y-%m-%d}"),
            ("issuer", lambda one: one.issuer or "none"),
            ("name, and because", lambda one: f"{one.name}\n{'; '.join(one.reasons)}"),
        ],
        candidates,
        caption=_nothing(candidates),
    )


def _show(done: "Sequence[Rehearsal]") -> None:
    """Print a row for each finding, and one for each rehearsal without."""
    shown: list[tuple[str, str, str, str]] = []
    for made in done:
        left = [result for result in made.checks if result.status == "left_out"]
        shown += [(made.name, check, found.code, found.message) for check, found in made.findings]
        if not made.findings:
            passed = len(made.checks) - len(left)
            shown.append((made.name, "all", "", f"{passed} checks passed"))
        if left:
            reasons: dict[str, list[str]] = {}
            for result in left:
                reasons.setdefault(result.detail, []).append(result.check)
            text = "; ".join(f"{', '.join(checks)} ({reason})" for reason, checks in reasons.items())
            shown.append((made.name, "left out", "", text))
    columns: list[tuple[str, Any]] = [
        (heading, lambda row, place=place: row[place])
        for place, heading in enumerate(("name", "check", "code", "what, and what to do"))
    ]
    print_table("Rehearsals", columns, shown, caption=_nothing(done))
    bad = sum(bool(made.findings) for made in done)
    if done:
        say(f"{bad} of {len(done)} rehearsals found something; nothing was installed")


def _nothing(rows: Sequence[Any]) -> str:
    return "" if rows else "nothing is worth a rehearsal now, or no issuer and installer are set"
