"""What a backtest found: every forecast it made, and how good they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, Self

import numpy as np
import pandas as pd

from certforecast.errors import InputError
from certforecast.evaluation import metrics
from certforecast.evaluation.resampling import Lineages, interval, ratio
from certforecast.policy import RenewalPolicy
from certforecast.renewals import OUTCOMES

__all__ = [
    "HORIZONS",
    "MEASURES",
    "PROBABILITIES",
    "SCORED",
    "BacktestResult",
    "Difference",
    "Timing",
    "as_records",
    "came",
    "chance",
    "days_to_deadline",
    "drawn_scores",
    "pair",
    "require_capacity",
    "require_outcome",
    "told_apart",
    "weights_of",
]

#: The columns of forecasts.
PROBABILITIES = [f"p_{name}" for name in OUTCOMES]

#: What can be scored, and the outcomes that count as it: each by itself, and late of either kind.
SCORED: Final = {**{name: (name,) for name in OUTCOMES}, "late": ("slipped", "failed")}

#: The measures of a summary.
MEASURES: Final = ("auprc", "auroc", "brier", "log_loss", "calibration_error", "caught")

#: The measures of a difference.
COMPARED: Final = ("auprc", "log_loss", "ibs")

#: Days ahead by which :meth:`BacktestResult.by_horizon` asks.
HORIZONS: Final = (1, 3, 7, 14, 30)

_KEY: Final = ["as_of", "fingerprint"]


def came(rows: pd.DataFrame, outcome: str) -> "pd.Series[bool]":
    """Say of predictions whether an outcome, or late, came about; shape (n_rows,)."""
    return rows["outcome"].isin(SCORED[outcome])


def chance(rows: pd.DataFrame, outcome: str) -> "pd.Series[float]":
    """Give the forecast probabilities of an outcome, or of late; shape (n_rows,)."""
    return rows[[f"p_{name}" for name in SCORED[outcome]]].sum(axis=1)


def pair(rows: pd.DataFrame, outcome: str) -> tuple[metrics.Floats, metrics.Floats]:
    """Give what came about, as 0 and 1, and what was forecast for it; shape (n_rows,) each."""
    return (
        np.asarray(came(rows, outcome), dtype=np.float64),
        np.asarray(chance(rows, outcome), dtype=np.float64),
    )


def days_to_deadline(rows: pd.DataFrame, outcome: str) -> "pd.Series[float]":
    """Give the days until it is too late to change whether an outcome comes about; shape (n_rows,).

    Whether a renewal is late is decided at its slip point, and everything else at the expiry.

    Raises
    ------
    InputError
        If the frame of the backtest did not say.
    """
    name = "days_to_slip" if outcome in ("slipped", "late") else "days_left"
    if len(rows) and not rows[name].notna().any():
        raise InputError(
            f"the frame of this backtest had no {name}, by which {outcome!r} is too late to change: backtest "
            "one that training_frame gave"
        )
    return rows[name]


def weights_of(rows: pd.DataFrame) -> metrics.Floats:
    """Give for how many renewals each row stands: 1, unless it says otherwise; shape (n_rows,)."""
    if "weight" not in rows:
        return np.ones(len(rows))
    return np.asarray(rows["weight"], dtype=np.float64)


class Difference(NamedTuple):
    """How far one model is above another.

    Attributes
    ----------
    mean : float
        Over the resamples; negative if it is below.
    low, high : float
        A 90 % interval by resampling whole lineages, alike for both models.
    """

    mean: float
    low: float
    high: float

    @property
    def wins(self) -> bool:
        """Whether it is above by more than noise: the whole interval is above 0."""
        return self.low > 0


class Timing(NamedTuple):
    """What a model said of when.

    Attributes
    ----------
    days : tuple of float
        Days ahead that it was asked for.
    incidence : ndarray of shape (n_rows, 4, n_days)
        Probability that each outcome has come about by then, in the order of the outcomes.
    interval : DataFrame of shape (n_rows, 3) or None
        ``low``, ``median``, ``high``: when the renewal is to be expected, in days ahead; low to high is to
        cover 90 %.
    """

    days: tuple[float, ...]
    incidence: "np.ndarray[Any, np.dtype[np.float32]]"
    interval: pd.DataFrame | None

    @classmethod
    def joined(cls, parts: "Sequence[Timing]") -> Self:
        """Put those of several windows together."""
        tables = [part.interval for part in parts if part.interval is not None]
        whole = pd.concat(tables, ignore_index=True) if len(tables) == len(parts) else None
        return cls(parts[0].days, np.concatenate([part.incidence for part in parts]), whole)


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """The result of :func:`certforecast.evaluation.backtest`.

    Attributes
    ----------
    predictions : DataFrame of shape (n_models * n_rows, 11)
        ``cutoff`` (when the model was trained), ``as_of``, ``fingerprint``, ``lineage``, ``model``,
        ``p_on_time``, ``p_slipped``, ``p_failed``, ``p_retired``, ``outcome``; ``weight``, for how many
        renewals a row stands in every measure: 1, and more if it was held out from our actions
        (:func:`certforecast.models.interventions.intervention_weights`). All models have the same rows.
    unscored : DataFrame of shape (n_models * n_other_rows, 9)
        The same without ``outcome`` and ``weight``: the other renewals open at those moments, whose outcome
        cannot be known yet, or was changed by an action of ours. They take places among the first k, and
        count in nothing else.
    cutoffs : tuple of datetime
        When models were trained.
    k : int
        Renewals that can be looked into at each moment.
    policy : RenewalPolicy
        By which outcomes count as known.
    facts : DataFrame of shape (n_rows + n_other_rows, 17)
        Of every row, scored or not, once: ``as_of``, ``fingerprint``, ``lineage``, ``outcome``, ``scored``,
        ``not_after``, ``days_left``, ``days_to_slip``, ``owner``, ``criticality``, ``issuer``, ``validity``
        (class of lifetime, as the feature ``validity_profile``); ``event`` and ``duration`` as
        :func:`certforecast.models.durations.durations` gives them, censored where what ends could not be
        known yet whatever it is; ``weight``, ``held_days``, the days from ``as_of`` to when it was held out,
        and ``acted``, whether we acted upon it. What the frame did not tell is null.
    timing : mapping of str to Timing
        Of the models that say when, row by row as `facts`.
    """

    predictions: pd.DataFrame
    unscored: pd.DataFrame
    cutoffs: tuple[datetime, ...]
    k: int
    policy: RenewalPolicy
    facts: pd.DataFrame = field(default_factory=pd.DataFrame)
    timing: Mapping[str, Timing] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """The names of what was scored."""
        return list(self.predictions["model"].unique())

    @property
    def acted_upon(self) -> int:
        """How many renewals are not scored, as an action of ours changed them."""
        return (
            int(self.facts.loc[self.facts["acted"], "fingerprint"].nunique()) if "acted" in self.facts else 0
        )

    @property
    def held_out(self) -> int:
        """How many of the scored renewals were held out, and stand for such as we acted upon."""
        rows = self.rows_of(self.models[0])
        return int(rows.loc[weights_of(rows) > 1, "fingerprint"].nunique())

    @property
    def caveat(self) -> str | None:
        """What is wrong with every figure, if something is: that nothing stands for what we acted upon."""
        if not self.acted_upon or self.held_out:
            return None
        return (
            f"{self.acted_upon:,} renewals that we acted upon are not scored, and none was held out to stand "
            "for them: every figure is of the safer rest"
        )

    def summary(self, outcome: str = "failed") -> pd.DataFrame:
        """Compare the models on one outcome, best AUPRC first.

        Parameters
        ----------
        outcome : str
            One of ``on_time``, ``slipped``, ``failed``, ``retired``, or ``late`` for slipped or failed.

        Returns
        -------
        DataFrame of shape (n_models, 19)
            ``model``; ``auprc``; ``auroc``; ``brier``; ``log_loss`` of the outcome against all others;
            ``calibration_error``; ``caught`` (:func:`~certforecast.evaluation.caught_at_k` with the `k` of
            the backtest, ranked among all renewals open at the moment). Held-out renewals count for those
            that they stand for. Each is followed by ``..._low`` and
            ``..._high``, a 90 % interval by resampling whole lineages, the same for each model; that of the
            calibration error is free of the measure's bias, so it may lie below the error. NaN where the
            outcome did not come about.
        """
        require_outcome(outcome)
        records = []
        for model in self.models:
            rows, ranks = self.rows_of(model), self.ranks_of(model, outcome)
            found, drawn = self._scores(rows, outcome, ranks), self._resampled(rows, outcome, ranks)
            records.append({"model": model, **_with_intervals(found, drawn)})
        table = pd.DataFrame.from_records(records)
        return table.sort_values("auprc", ascending=False, ignore_index=True, kind="stable")

    def by_horizon(self, outcome: str = "failed", horizons: Sequence[float] = HORIZONS) -> pd.DataFrame:
        """Compare the models on what comes about within some days.

        Asked is whether the outcome comes about, of renewals for which that is decided within so many days
        after ``as_of``: whose certificate expires by then or, for ``slipped`` and ``late``, whose slip point
        comes by then and is not past. So a forecast of the end is one of the horizon. Of those that expire
        later nearly none can fail by then, and no model would miss that; nor that of those past their slip
        point nearly all are late that are not retired.

        Parameters
        ----------
        outcome : str
            As for :meth:`summary`.
        horizons : sequence of float
            In days.

        Returns
        -------
        DataFrame of shape (n_horizons * n_models, n_columns)
            ``horizon``, ``model``, ``rows``, ``renewals``, ``base_rate`` (share of the rows with the
            outcome), and ``auprc``, ``auroc``, ``brier``, ``log_loss``, ``calibration_error`` with their
            intervals as in :meth:`summary`.

        Raises
        ------
        InputError
            If there is no such outcome, no horizon, or the frame of the backtest had no ``days_left`` and
            ``days_to_slip``.
        """
        require_outcome(outcome)
        if not len(horizons):
            raise InputError("give at least one horizon, in days")
        records = []
        for model in self.models:
            table = self.described(model)
            ahead = days_to_deadline(table, outcome)
            if outcome in ("slipped", "late"):
                ahead = ahead.where(ahead > 0)
            for horizon in horizons:
                rows = table[ahead <= horizon]
                found = self._scores(rows, outcome, None)
                counts = {
                    "rows": len(rows),
                    "renewals": rows["fingerprint"].nunique(),
                    "base_rate": metrics.mean(came(rows, outcome), weights_of(rows)),
                }
                drawn = self._resampled(rows, outcome, None)
                records.append(
                    {"horizon": horizon, "model": model, **counts, **_with_intervals(found, drawn)}
                )
        table = pd.DataFrame.from_records(records)
        return table.sort_values("horizon", ignore_index=True, kind="stable")

    def by_cutoff(self, outcome: str = "failed") -> pd.DataFrame:
        """Compare the models window by window.

        Returns
        -------
        DataFrame of shape (n_cutoffs * n_models, 10)
            ``cutoff``, ``model``, ``rows``, ``renewals`` (with that outcome), ``auprc``, ``auroc``,
            ``brier``, ``log_loss``, ``calibration_error``, ``caught``. Windows without rows to score are left
            out.
        """
        require_outcome(outcome)
        ranks = {model: self.ranks_of(model, outcome) for model in self.models}
        records = [
            {
                "cutoff": cutoff,
                "model": model,
                "rows": len(rows),
                "renewals": rows.loc[came(rows, outcome), "fingerprint"].nunique(),
                **self._scores(rows, outcome, ranks[str(model)].loc[rows.index]),
            }
            for (cutoff, model), rows in self.predictions.groupby(["cutoff", "model"], sort=False)
        ]
        return pd.DataFrame.from_records(records)

    def rows_of(self, model: str) -> pd.DataFrame:
        """Give the predictions of one model.

        Raises
        ------
        InputError
            If it was not part of the backtest.
        """
        rows = self.predictions[self.predictions["model"] == model]
        if rows.empty:
            raise InputError(f"{model!r} was not part of the backtest; there are {', '.join(self.models)}")
        return rows

    def described(self, model: str, *, every: bool = False) -> pd.DataFrame:
        """Give the predictions of one model with the facts of their rows, in the order of `facts`.

        Parameters
        ----------
        model : str
            Its name.
        every : bool
            With the rows that cannot be scored yet.

        Raises
        ------
        InputError
            If it was not part of the backtest.
        """
        given = [self.rows_of(model), self.unscored[self.unscored["model"] == model]]
        forecasts = pd.concat([rows[[*_KEY, "cutoff", *PROBABILITIES]] for rows in given])
        table = self.facts.merge(forecasts, on=_KEY, how="left", validate="one_to_one")
        return table if every else table[table["scored"]]

    def ranks_of(self, model: str, outcome: str = "failed") -> "pd.Series[int]":
        """Give the place of each row of one model at its moment, from 1, among all renewals then open.

        Returns
        -------
        Series of int, shape (n_rows,)
            On the index of :meth:`rows_of`.
        """
        require_outcome(outcome)
        rows = self.rows_of(model)
        names = ["as_of", "fingerprint", *PROBABILITIES]
        others = self.unscored.loc[self.unscored["model"] == model, names]
        everything = pd.concat([rows[names], others])
        ranks = metrics.ranks_by_moment(
            chance(everything, outcome), everything["as_of"], everything["fingerprint"]
        )
        return pd.Series(ranks[: len(rows)], rows.index)

    def auprc(self, model: str, outcome: str = "failed") -> float:
        """Give the area under the precision-recall curve of one model for one outcome."""
        require_outcome(outcome)
        rows = self.rows_of(model)
        return metrics.auprc(came(rows, outcome), chance(rows, outcome), weights_of(rows))

    def difference(
        self,
        model_a: str,
        model_b: str,
        outcome: str = "failed",
        measure: Literal["auprc", "log_loss", "ibs"] = "auprc",
    ) -> Difference:
        """Say by how much one model is better than another, and whether beyond noise.

        Both are scored on the same resamples of whole lineages, so what is hard for both cancels out. That
        two intervals of :meth:`summary` overlap says much less.

        Parameters
        ----------
        model_a, model_b : str
            The difference is the AUPRC of `model_a` less that of `model_b`, or the log loss or the integrated
            Brier score of `model_b` less that of `model_a`, so that it is positive where `model_a` is better.
        outcome : str
            One of ``on_time``, ``slipped``, ``failed``, ``retired``, ``late``.
        measure : {"auprc", "log_loss", "ibs"}
            ``ibs`` is that of :func:`~certforecast.evaluation.timing`, on all rows.

        Returns
        -------
        Difference
            NaN where the outcome did not come about; the integrated Brier score is told then, too.

        Raises
        ------
        InputError
            If a model was not part of the backtest, there is no such outcome or measure, or, for ``ibs``, a
            model says nothing of when it comes about.
        """
        require_outcome(outcome)
        better, worse = (drawn_scores(self, model, outcome, measure) for model in (model_a, model_b))
        return told_apart(better, worse, measure)

    def best_rule(self, outcome: str, rules: Sequence[str]) -> str:
        """Say which of some models has the best AUPRC; the first of equal ones.

        Raises
        ------
        InputError
            If there are none, or one was not part of the backtest.
        """
        if not rules:
            raise InputError("name at least one rule to choose from")
        return max(rules, key=lambda rule: np.nan_to_num(self.auprc(rule, outcome), nan=-1.0))

    def describe(self) -> str:
        """Say in one line what was scored, and what is wrong with that."""
        counts = self._counts()
        came, caveat = counts["outcomes"], f"; {self.caveat}" if self.caveat else ""
        return (
            f"{counts['rows']:,} rows of {counts['renewals']:,} renewals, of which {came['failed']:,} failed "
            f"and {came['slipped']:,} slipped, at {counts['moments']:,} moments after {len(self.cutoffs)} "
            f"cutoffs{caveat}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give counts, settings and the summary for each outcome, ready for JSON; NaN becomes None."""
        return {
            **self._counts(),
            "acted_upon": self.acted_upon,
            "held_out": self.held_out,
            "caveat": self.caveat,
            "cutoffs": [cutoff.isoformat() for cutoff in self.cutoffs],
            "k": self.k,
            "grace_days": self.policy.grace_days,
            "summary": {outcome: as_records(self.summary(outcome)) for outcome in SCORED},
        }

    def _scores(self, rows: pd.DataFrame, outcome: str, ranks: "pd.Series[int] | None") -> dict[str, float]:
        y, p, weights = came(rows, outcome), chance(rows, outcome), weights_of(rows)
        found = {
            "auprc": metrics.auprc(y, p, weights),
            "auroc": metrics.auroc(y, p, weights),
            "brier": metrics.brier(y, p, weights),
            "log_loss": metrics.mean(_loss(y, p), weights),
            "calibration_error": metrics.calibration_error(y, p, weights=weights),
        }
        if ranks is not None:
            found["caught"] = metrics.caught_by_rank(y, ranks, rows["fingerprint"], self.k, weights)
        return found

    def _resampled(
        self, rows: pd.DataFrame, outcome: str, ranks: "pd.Series[int] | None"
    ) -> dict[str, metrics.Floats]:
        y, p = pair(rows, outcome)
        weights = weights_of(rows)
        lineages = Lineages(rows["lineage"], weights)
        number = lineages.totals(np.ones(len(rows)))
        found = {
            "auprc": metrics.auprc_resampled(y, p, lineages.weights()),
            "auroc": metrics.auroc_resampled(y, p, lineages.weights()),
            "brier": ratio(lineages.totals((p - y) ** 2), number),
            "log_loss": ratio(lineages.totals(_loss(y, p)), number),
            # Resampling adds the bias of the measure once more: reflected, it is taken out.
            "calibration_error": np.maximum(
                0.0,
                2 * metrics.calibration_error(y, p, weights=weights)
                - calibration_errors(y, p, lineages, weights),
            ),
        }
        if ranks is not None:
            ids = rows["fingerprint"]
            best = ranks.where(pd.Series(y == 1, rows.index)).groupby(ids).transform("min")
            once = ~ids.duplicated().to_numpy() & (y == 1)
            caught = once & (best <= self.k).to_numpy()
            found["caught"] = ratio(lineages.totals(caught), lineages.totals(once))
        return found

    def _counts(self) -> dict[str, Any]:
        rows = self.rows_of(self.models[0])
        renewals = rows.drop_duplicates("fingerprint")["outcome"].value_counts()
        return {
            "rows": len(rows),
            "renewals": int(renewals.sum()),
            "outcomes": {name: int(renewals.get(name, 0)) for name in OUTCOMES},
            "moments": int(rows["as_of"].nunique()),
        }


def as_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Give the rows of a table as plain values; NaN becomes None."""
    return [
        {str(name): None if value != value else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def require_outcome(outcome: str) -> None:
    """Raise `InputError` unless an outcome can be scored."""
    if outcome not in SCORED:
        raise InputError(f"{outcome!r} is no outcome; choose one of {', '.join(SCORED)}")


def require_capacity(k: int) -> None:
    """Raise `InputError` unless so many renewals can be looked into: a whole number from 1 on."""
    if not isinstance(k, (int, np.integer)) or isinstance(k, bool) or k < 1:
        raise InputError(f"k is {k!r}; give the renewals that can be looked into at each moment, 1 or more")


def calibration_errors(
    y: metrics.Floats, p: metrics.Floats, lineages: Lineages, weights: metrics.Floats
) -> metrics.Floats:
    """Compute the calibration error anew for each resample, in the same bins; shape (n_resamples,).

    `lineages` are to have the same weights.
    """
    bins = metrics.calibration_bins(p, weights=weights)
    excess = np.zeros((len(p), metrics.BINS))
    excess[np.arange(len(p)), bins] = p - y
    return ratio(np.abs(lineages.totals(excess)).sum(axis=1), lineages.totals(np.ones(len(p))))


def _with_intervals(found: Mapping[str, float], drawn: Mapping[str, metrics.Floats]) -> dict[str, float]:
    record: dict[str, float] = {}
    for name, figure in found.items():
        low, high = interval(drawn[name])
        record |= {name: figure, f"{name}_low": low, f"{name}_high": high}
    return record


def drawn_scores(result: BacktestResult, model: str, outcome: str, measure: str) -> metrics.Floats:
    """Score a model anew on each resample, by a measure of :meth:`BacktestResult.difference`.

    Raises
    ------
    InputError
        If it is another measure.
    """
    if measure not in COMPARED:
        raise InputError(f"{measure!r} is no measure of a difference; choose one of {', '.join(COMPARED)}")
    if measure == "ibs":
        from certforecast.evaluation.when import resampled_ibs

        return resampled_ibs(result, model, outcome)
    return _resampled(result.rows_of(model), outcome, measure)


def told_apart(better: metrics.Floats, worse: metrics.Floats, measure: str) -> Difference:
    """Say by how much the first scores are better than the second, draw by draw."""
    apart = better - worse if measure == "auprc" else worse - better
    low, high = interval(apart)
    known = apart[~np.isnan(apart)]
    return Difference(float(known.mean()) if len(known) else np.nan, low, high)


def _resampled(rows: pd.DataFrame, outcome: str, measure: str) -> metrics.Floats:
    y, p = came(rows, outcome), chance(rows, outcome)
    lineages = Lineages(rows["lineage"], weights_of(rows))
    if measure == "auprc":
        return metrics.auprc_resampled(y, p, lineages.weights())
    whole = lineages.totals(np.ones(len(rows))) * float(y.any())
    return ratio(lineages.totals(_loss(y, p)), whole)


def _loss(y: Any, p: Any) -> metrics.Floats:
    """Give the log loss of each row, in nats; probabilities are kept off 0, as metrics.log_loss does."""
    least = np.finfo(np.float64).eps
    told = np.where(y, p, 1.0 - p)
    return np.asarray(-np.log(np.clip(told, least, 1.0)), dtype=np.float64)
