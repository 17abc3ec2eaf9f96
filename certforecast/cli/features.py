"""The command that shows features: of all open renewals, or of one with where each comes from."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certforecast.cli.app import AsOf, Json, app, moment, open_history, settings_of
from certforecast.cli.output import print_json, print_table, say

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.features.explanation import Explanation, Origin

#: What is worth seeing of the rows that a feature came from, of columns that are there.
_WORTH = {
    "certificate": (
        "name_set_id",
        "issuer_org",
        "not_before",
        "not_after",
        "key_algorithm",
        "source",
        "known_at",
    ),
    "looks": ("observed_at", "host", "port", "fingerprint", "chain_status", "error", "source"),
    "attempts": ("at", "kind", "code"),
    "successes": ("at", "kind", "code"),
    "inventory": ("host", "owner", "environment", "automation", "criticality", "valid_from"),
    "calendar": ("due", "expires"),
}
_RENEWAL = ("name", "fingerprint", "not_before", "not_after", "renewal_lag_days", "margin_days", "outcome")


@app.command()
def features(
    context: typer.Context,
    as_of: AsOf = None,
    explain: Annotated[
        str | None,
        typer.Option(
            metavar="FINGERPRINT",
            help="Show those of one certificate and the rows each came from; 8 digits or more.",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the frame to this .parquet or .csv file.")
    ] = None,
    country: Annotated[str, typer.Option(help="ISO code of the country whose public holidays count.")] = "US",
    limit: Annotated[int, typer.Option(min=1, help="With --explain: rows to show of each origin.")] = 5,
    as_json: Json = False,
) -> None:
    """Compute the features of every open renewal; docs/features.md lists them."""
    from certforecast.errors import InputError
    from certforecast.features import features as compute
    from certforecast.features.explanation import explain as explained

    if output is not None and (explain is not None or output.suffix not in {".parquet", ".csv"}):
        raise InputError(
            f"--output {output}: the whole frame can be written, without --explain, as .parquet or .csv"
        )
    settings, at = settings_of(context), moment(as_of)
    with open_history(settings) as history:
        if explain is not None:
            found = explained(history, explain, at, settings.policy, country=country, limit=limit)
            _show(found, as_json)
            return
        frame = compute(history, at, settings.policy, country=country)
    if output is not None:
        _write(frame, output)
    if as_json:
        print_json(frame)
    elif output is None:
        _describe(frame, f"Features as of {at:%Y-%m-%d %H:%M} UTC")


def _write(frame: "pd.DataFrame", path: Path) -> None:
    from certforecast.errors import InputError

    try:
        frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    except OSError as error:
        raise InputError(f"--output {path} cannot be written: {error.strerror or error}") from error
    say(f"{len(frame):,} rows of {frame.shape[1]} columns written to {path}")


def _describe(frame: "pd.DataFrame", title: str) -> None:
    from certforecast.features import FEATURES

    def spread(name: str) -> tuple[str, str, str]:
        values = frame[name].dropna()
        if FEATURES[name].kind == "category":
            common = ", ".join(f"{value} {count}" for value, count in values.value_counts().head(3).items())
            return "", common, ""
        low, middle, high = (f"{values.quantile(q):.4g}" if len(values) else "" for q in (0.05, 0.5, 0.95))
        return low, middle, high

    rows = [
        (feature.group, feature.name, feature.unit, *spread(feature.name), frame[feature.name].isna().mean())
        for feature in FEATURES.values()
    ]
    print_table(
        title,
        [
            ("group", lambda row: row[0]),
            ("feature", lambda row: row[1]),
            ("unit", lambda row: row[2]),
            ("5 %", lambda row: row[3]),
            ("median, or most common", lambda row: row[4]),
            ("95 %", lambda row: row[5]),
            ("unknown", lambda row: f"{row[6]:.0%}"),
        ],
        rows,
        caption=f"{len(frame):,} open renewals; --explain FINGERPRINT shows one and where it comes from",
    )


def _show(found: "Explanation", as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    origins = found.origins
    print_table(
        f"{found.name} ({found.fingerprint[:12]}) as of {found.as_of:%Y-%m-%d %H:%M} UTC",
        [
            ("group", lambda row: row.group),
            ("feature", lambda row: row.feature),
            ("value", lambda row: _value(row.value)),
            ("unit", lambda row: row.unit),
            ("computed from", lambda row: _from(origins[row.reads])),
        ],
        list(found.features.itertuples()),
    )
    for origin in origins.values():
        if origin.count:
            _show_rows(origin)


def _show_rows(origin: "Origin") -> None:
    wanted = _WORTH.get(origin.reads, _RENEWAL)
    rows = origin.rows[[name for name in wanted if name in origin.rows]]
    print()
    print_table(
        f"From {origin.doc}",
        [(name.replace("_", " "), _cell(name)) for name in rows.columns],
        rows.to_dict("records"),
        caption=f"{len(rows)} of {origin.count:,}" if origin.count > len(rows) else "",
    )


def _cell(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda row: _value(row[name])


def _from(origin: "Origin") -> str:
    if origin.reads in {"certificate", "calendar"}:
        return origin.doc
    return f"{origin.doc} ({origin.count:,} {'row' if origin.count == 1 else 'rows'})"


def _value(value: Any) -> str:
    if value is None or value != value:
        return ""
    if hasattr(value, "strftime"):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text[:12] if len(text) == 64 else text
