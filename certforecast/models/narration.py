"""The few reasons that moved a forecast, in words a person can act on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from certforecast.models.contributions import Contributions, explain
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables, renewals

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.features.sentences import Told
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["Reason", "explain_forecasts", "reasons"]

#: What moves a probability by less is no reason: a fifth of a percentage point, a twentieth of the largest.
_LEAST: Final = 0.002
_LEAST_SHARE: Final = 0.05

#: A second sentence of a topic has to be worth this share of the first.
_WORTH: Final = 0.35

#: Whether more of an outcome is bad (1) or good (-1).
_BAD: Final = {"failed": 1, "slipped": 1, "late": 1, "on_time": -1}


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
        return f"{self.words} ({self.points:+.1f} points)"


def explain_forecasts(
    history: HasTables,
    model: "OutcomePool | OutcomeClassifier",
    forecasts: "pd.DataFrame",
    outcome: str = "failed",
    *,
    among: "pd.DataFrame | None" = None,
    policy: RenewalPolicy | None = None,
    most: int = 4,
) -> tuple[Contributions, list[list[Reason]]]:
    """Explain forecasts, in numbers and in words.

    Parameters
    ----------
    history : History
        The store: what came before is told from it.
    model : OutcomePool or OutcomeClassifier
        The one that made the forecasts.
    forecasts : DataFrame of shape (n_rows, n_columns)
        Rows of what :func:`certforecast.models.forecast` gave, all for the same `as_of`.
    outcome : {"failed", "slipped", "late", "on_time", "retired"}
        ``late`` is slipped or failed.
    among : DataFrame, optional
        The whole fleet's forecasts, to compare with (default `forecasts`).
    policy : RenewalPolicy, optional
        Thresholds.
    most : int
        Reasons to give of each row at most.

    Returns
    -------
    Contributions
    list of list of Reason
        As :func:`reasons` gives them.

    Raises
    ------
    InputError
        If the outcome is none of these.
    ModelError
        If it is unknown how a part of the model comes to its probabilities.
    """
    from certforecast.renewals.margins import past_margins

    told = explain(model, forecasts, outcome)
    if forecasts.empty:
        return told, []
    margins = past_margins(renewals(history, forecasts["as_of"].iloc[0].to_pydatetime(), policy))
    own = [margins.get(lineage, []) for lineage in forecasts["lineage"]]
    return told, reasons(told, among=among, margins=own, most=most)


def reasons(
    told: Contributions,
    *,
    among: "pd.DataFrame | None" = None,
    margins: Sequence[Sequence[float]] | None = None,
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
    margins : sequence of sequence of float, optional
        Of the past renewals of each row's lineage, in days, the latest last, as
        :func:`certforecast.renewals.margins.past_margins` gives them.
    most : int
        Reasons to give of each row at most.

    Returns
    -------
    list of list of Reason
        For each row: those that raise the probability, most first; last the one that lowers it most. What
        moved it by less than a fifth of a percentage point, or a twentieth of the largest, is left out. Of
        one reason, it is the one that moved it most.

    Raises
    ------
    ValueError
        If `most` is negative.
    """
    if most < 0:
        raise ValueError(f"most is {most}; give a number of reasons, from 0 on")
    from certforecast.features.sentences import Told, usual
    from certforecast.features.topics import topic_of

    compared = usual(told.features if among is None else among)
    topics = told.by_topic()
    members = {topic: [topic_of(str(name)) == topic for name in told.values] for topic in topics}
    bad = _BAD.get(told.outcome, 0)
    given = []
    for place, row in enumerate(told.features.to_dict("records")):
        facts = Told(_plain(row), compared, margins[place] if margins is not None else ())
        moved, parts = topics.iloc[place], told.values.iloc[place]
        found = []
        for topic in _chosen(moved, most):
            points = 100 * float(moved[topic])
            found.append(Reason(topic, points, _words(parts[members[topic]], points > 0, bad, facts)))
        given.append(_merged(found))
    return given


def _chosen(moved: "pd.Series[float]", most: int) -> list[str]:
    """Choose topics: those that raise, most first, and the one that lowers most."""
    least = max(_LEAST, _LEAST_SHARE * float(moved.abs().max()))
    ordered = moved[moved.abs() >= least].sort_values(ascending=False)
    up, down = ordered[ordered > 0].index.tolist(), ordered[ordered < 0].index.tolist()[-1:]
    if most < 2:
        return [str(topic) for topic in ordered.abs().sort_values(ascending=False).index[:most]]
    return [*up[: most - len(down)], *down]


def _merged(found: Sequence[Reason]) -> list[Reason]:
    """Say once what is unknown to several topics: the points of the first are those of all."""
    once: dict[tuple[str, bool], Reason] = {}
    for reason in found:
        key = (reason.words, reason.points > 0)
        before = once.get(key)
        once[key] = reason if before is None else replace(before, points=before.points + reason.points)
    return list(once.values())


def _words(parts: "pd.Series[float]", up: bool, bad: int, facts: "Told") -> str:
    """Say what is so about the features of a topic that moved the forecast its way."""
    from certforecast.features.sentences import sentence, subject, tone

    ordered = (parts if up else -parts).sort_values(ascending=False)
    said: dict[str, str] = {}
    for feature, part in zip(map(str, ordered.index), ordered, strict=True):
        if said and (part < _WORTH * ordered.iloc[0] or len(said) == 2):
            break
        # A model need not take a good record for a good sign.
        against = bad * tone(feature, facts) == (-1 if up else 1)
        words = sentence(feature, facts)
        if words not in said.values():  # what is unknown is so for many features alike
            said.setdefault(subject(feature), f"although {words}" if against else words)
    return "; ".join(said.values())


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    import pandas as pd

    return {str(name): None if pd.isna(value) else value for name, value in row.items()}
