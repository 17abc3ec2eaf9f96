"""What 'predict --explain' and 'predict --reasons' show: why a forecast is what it is."""

import re
from typing import TYPE_CHECKING, Any

from certforecast.cli.output import print_json, print_table

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.models.contributions import Contributions
    from certforecast.models.narration import Reason

__all__ = ["because", "find_row", "show_explanation"]

_DIGEST = re.compile(r"~?[0-9a-f]{8,64}")


def find_row(frame: "pd.DataFrame", which: str, moment: str) -> "pd.DataFrame":
    """Find the one forecast that a person means; shape (1, n_columns).

    Parameters
    ----------
    frame : DataFrame of shape (n_open, n_columns)
        As given by :func:`certforecast.models.forecast`.
    which : str
        A name, or 8 or more digits of a fingerprint.
    moment : str
        When, in words.

    Raises
    ------
    InputError
        If it is none of the open renewals, or more than one.
    """
    from certforecast.errors import InputError

    wanted = which.strip().lower()
    found = frame[frame["name"].str.lower() == wanted]
    if found.empty and _DIGEST.fullmatch(wanted):
        found = frame[frame["fingerprint"].str.startswith(wanted)]
    if found.empty:
        raise InputError(
            f"--explain {which}: no open renewal {moment} has this name, or a fingerprint of which these are "
            "the first 8 digits or more; 'certforecast renewals' lists what there is"
        )
    if len(found) > 1:
        some = ", ".join(found["fingerprint"].str[:12].head(5))
        raise InputError(
            f"--explain {which}: {len(found)} open renewals are called so; give a fingerprint: {some}"
        )
    return found


def because(found: "list[Reason]") -> str:
    """Say the reasons in a cell of a table: the two that raise most, or else what lowers."""
    raising = [reason for reason in found if reason.points > 0][:2]
    return "\n".join(f"{reason.points:+.0f}: {reason.words}" for reason in raising or found[:1])


def show_explanation(
    row: "pd.DataFrame", told: "Contributions", found: "list[Reason]", *, as_json: bool
) -> None:
    """Show one explanation: the reasons in words, and what every topic and feature adds."""
    from certforecast.features.topics import TOPICS, topic_of

    one = row.iloc[0]
    parts = [
        {
            "feature": name,
            "topic": topic_of(name),
            "value": _plain(told.features[name].iloc[0]),
            "adds": float(part),
        }
        for name, part in zip(map(str, told.values), told.values.iloc[0], strict=True)
    ]
    probability, topics = float(told.probability.iloc[0]), told.by_topic().iloc[0]
    if as_json:
        print_json(
            {
                **{name: one[name] for name in ("as_of", "name", "fingerprint", "lineage", "not_after")},
                "outcome": told.outcome,
                "probability": probability,
                "base": told.base,
                "reasons": found,
                "topics": topics.to_dict(),
                "features": sorted(parts, key=lambda part: -abs(part["adds"])),
            }
        )
        return
    print_table(
        f"{one['name']} ({one['fingerprint'][:12]}), expires {one['not_after']:%Y-%m-%d}: "
        f"P({told.outcome.replace('_', ' ')}) is {probability:.1%} as of {one['as_of']:%Y-%m-%d %H:%M} UTC",
        [("points", lambda reason: f"{reason.points:+.1f}"), ("because", lambda reason: reason.words)],
        found,
        caption=f"in percentage points, from {told.base:.1%}: what it would be if nothing were known of it",
    )
    print()
    moved = topics[topics.abs() >= 0.0005].sort_values(key=abs, ascending=False)
    base, rest, whole = (100 * part for part in (told.base, topics.sum() - moved.sum(), probability))
    print_table(
        "All that moved it",
        [
            ("points", lambda topic: f"{100 * moved[topic]:+.1f}"),
            ("topic", lambda topic: topic),
            ("what it is about", lambda topic: TOPICS[topic]),
            ("of this", lambda topic: _most(parts, topic)),
        ],
        list(moved.index),
        caption=f"{base:.1f} and these and {rest:+.1f} of others make {whole:.1f}; --json has every feature",
    )


def _most(parts: list[dict[str, Any]], topic: str) -> str:
    own = sorted((part for part in parts if part["topic"] == topic), key=lambda part: -abs(part["adds"]))
    return ", ".join(f"{part['feature']} {100 * part['adds']:+.1f}" for part in own[:3])


def _plain(value: Any) -> Any:
    """Give a value as Python's own; None where it is unknown."""
    return None if value is None or value != value else value if isinstance(value, str) else float(value)
