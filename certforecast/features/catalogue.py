"""The description of every feature: what it is, in which unit, and what null means."""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["READS", "Feature", "category", "flag", "number"]

Kind = Literal["number", "category", "flag"]

#: What a feature may be computed from, beside `as_of` and the certificate itself.
READS: Final = {
    "certificate": "the certificate itself",
    "lineage": "earlier certificates of its lineage",
    "successor": "the successor, as far as it is known",
    "looks": "looks at the endpoints that served it",
    "attempts": "failed attempts since it was issued",
    "successes": "what its client did with success",
    "rehearsals": "rehearsals since it was issued",
    "inventory": "the inventory row of its host",
    "issuer": "resolved renewals of its issuer",
    "domain": "renewals in its registered domain",
    "owner": "renewals of its owner",
    "live": "the other live certificates",
    "calendar": "the calendar",
}


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature.

    Attributes
    ----------
    name : str
        Column name.
    group : str
        issuer, validity, lag, churn, operations, neighbours or calendar.
    kind : {"number", "category", "flag"}
        Flags are numbers 0 and 1.
    unit : str
        For example ``"days"``, ``"share"`` (0 to 1), ``"a day"``.
    doc : str
        What it says, its window, and what null means.
    reads : str
        The rows it is computed from, one of `READS`.
    """

    name: str
    group: str
    kind: Kind
    unit: str
    doc: str
    reads: str = "certificate"


def number(group: str, name: str, unit: str, doc: str, reads: str = "certificate") -> Feature:
    """Describe a number."""
    return Feature(name, group, "number", unit, doc, reads)


def category(group: str, name: str, doc: str, reads: str = "certificate") -> Feature:
    """Describe a category."""
    return Feature(name, group, "category", "", doc, reads)


def flag(group: str, name: str, doc: str, reads: str = "certificate") -> Feature:
    """Describe a flag: 1.0 for yes, 0.0 for no."""
    return Feature(name, group, "flag", "", doc, reads)
