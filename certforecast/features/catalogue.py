"""The description of every feature: what it is, in which unit, and what null means."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Feature", "category", "flag", "number"]

Kind = Literal["number", "category", "flag"]


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature.

    Attributes
    ----------
    name : str
        Column name.
    group : str
        issuer, validity, lag, churn, operations or calendar.
    kind : {"number", "category", "flag"}
        Flags are numbers 0 and 1.
    unit : str
        For example ``"days"``, ``"share"`` (0 to 1), ``"a day"``.
    doc : str
        What it says, its window, and what null means.
    """

    name: str
    group: str
    kind: Kind
    unit: str
    doc: str


def number(group: str, name: str, unit: str, doc: str) -> Feature:
    """Describe a number."""
    return Feature(name, group, "number", unit, doc)


def category(group: str, name: str, doc: str) -> Feature:
    """Describe a category."""
    return Feature(name, group, "category", "", doc)


def flag(group: str, name: str, doc: str) -> Feature:
    """Describe a flag: 1.0 for yes, 0.0 for no."""
    return Feature(name, group, "flag", "", doc)
