"""The few reasons that moved a forecast, in words a person can act on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.features.sentences import Told
    from certforecast.models.contributions import Contributions

__all__ = ["Reason", "reasons"]

#: What moves a probability by less is no reason: a fifth of a percentage point, a twentieth of the largest.
_LEAST: Final = 0.002
_LEAST_SHARE: Final = 0.05

#: A second sentence of a topic has to be worth this share of the first.
_WORTH: Final = 0.35


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    Attributes
    ----------
    topic : str
        One of :data:`certforecast.features.topics.TOPICS`.
    points : float
        Percentage points that it adds to the probability; negative if it lowers it.
    words : str
        What is so.
    """

    topic: str
    points: float
    words: str

    def __str__(self) -> str:
        return f"{self.points:+.1f} points: {self.words}"


def reasons(
    told: "Contributions",
    *,
    among: "pd.DataFrame | None" = None,
    margins: Mapping[str, Sequence[float]] | None = None,
    lineages: "pd.Series[str] | None" = None,
    most: int = 4,
) -> list[list[Reason]]:
    """Say of each row what moved its forecast most.

    Contributions of features that say the same are summed: a reason is a topic, and its words are those of
    the features that weigh most in it.

    Parameters
    ----------
    told : Contributions
        As given by :func:`certforecast.models.explain`.
    among : DataFrame of shape (n_renewals, n_columns), optional
        Features of the whole fleet, to compare with (default those that were explained).
    margins : mapping of str to sequence of float, optional
        Of past renewals by lineage, as :func:`certforecast.renewals.margins.past_margins` gives them.
    lineages : Series of str, shape (n_rows,), optional
        The rows' lineages, to find their margins.
    most : int
        Reasons to give of each row at most.

    Returns
    -------
    list of list of Reason
        For each row: those that raise the probability, most first; last the one that lowers it most.
        Empty if nothing moved it by a fifth of a percentage point. What moved it by less than a twentieth of
        the largest is left out.
    """
    from certforecast.features.sentences import Told, usual
    from certforecast.features.topics import topic_of

    compared = usual(told.features if among is None else among)
    topics = told.by_topic()
    members = {
        topic: [name for name in told.values if topic_of(str(name)) == topic] for topic in topics.columns
    }
    rows = told.features.to_dict("records")
    names = [""] * len(rows) if lineages is None else lineages.tolist()
    given = []
    for place, (row, lineage) in enumerate(zip(rows, names, strict=True)):
        facts = Told(_plain(row), compared, (margins or {}).get(lineage, ()))
        moved = topics.iloc[place]
        parts = told.values.iloc[place]
        given.append(
            [
                Reason(
                    topic, 100 * float(moved[topic]), _words(parts[members[topic]], moved[topic] > 0, facts)
                )
                for topic in _chosen(moved, most)
            ]
        )
    return given


def _chosen(moved: "pd.Series[float]", most: int) -> list[str]:
    """Choose topics: those that raise, most first, and the one that lowers most."""
    least = max(_LEAST, _LEAST_SHARE * float(moved.abs().max()))
    ordered = moved[moved.abs() >= least].sort_values(ascending=False)
    up, down = ordered[ordered > 0].index.tolist(), ordered[ordered < 0].index.tolist()[-1:]
    return [*up[: most - len(down)], *down]


def _words(parts: "pd.Series[float]", up: bool, facts: "Told") -> str:
    """Say what is so about the features of a topic that moved the forecast its way."""
    from certforecast.features.sentences import sentence, subject

    ordered = (parts if up else -parts).sort_values(ascending=False)
    said: dict[str, str] = {}
    for feature, part in ordered.items():
        if said and (part < _WORTH * ordered.iloc[0] or len(said) == 2):
            break
        said.setdefault(subject(str(feature)), sentence(str(feature), facts))
    return "; ".join(said.values())


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(name): None if value != value else value for name, value in row.items()}
