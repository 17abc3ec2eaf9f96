"""What a backtest found: every forecast it made, and how good they were."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd

from certforecast.errors import InputError
from certforecast.evaluation import metrics
from certforecast.policy import RenewalPolicy
from certforecast.renewals import OUTCOMES

__all__ = ["PROBABILITIES", "SCORED", "BacktestResult", "Difference", "came", "chance"]

#: The columns of forecasts.
PROBABILITIES = [f"p_{name}" for name in OUTCOMES]

#: What can be scored, and the outcomes that count as it: each by itself, and late of either kind.
SCORED: Final = {**{name: (name,) for name in OUTCOMES}, "late": ("slipped", "failed")}

_RESAMPLES = 200
_INTERVAL = (0.05, 0.95)
_SEED = 0


def came(rows: pd.DataFrame, outcome: str) -> "pd.Series[bool]":
    """Say of predictions whether an outcome, or late, came about; shape (n_rows,)."""
    return rows["outcome"].isin(SCORED[outcome])


def chance(rows: pd.DataFrame, outcome: str) -> "pd.Series[float]":
    """Give the forecast probabilities of an outcome, or of late; shape (n_rows,)."""
    return rows[[f"p_{name}" for name in SCORED[outcome]]].sum(axis=1)


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


@dataclass(frozen=True, slots=True)
class BacktestResult:
    """The result of :func:`certforecast.evaluation.backtest`.

    Attributes
    ----------
    predictions : DataFrame of shape (n_models * n_rows, 10)
        ``cutoff`` (when the model was trained), ``as_of``, ``fingerprint``, ``lineage``, ``model``,
        ``p_on_time``, ``p_slipped``, ``p_failed``, ``p_retired``, ``outcome``. All models have the same rows.
    unscored : DataFrame of shape (n_models * n_other_rows, 9)
        The same without ``outcome``: the other renewals open at those moments, whose outcome cannot be known
        yet. They take places among the first k, and count in nothing else.
    cutoffs : tuple of datetime
        When models were trained.
    k : int
        Renewals that can be looked into at each moment.
    policy : RenewalPolicy
        By which outcomes count as known.
    """

    predictions: pd.DataFrame
    unscored: pd.DataFrame
    cutoffs: tuple[datetime, ...]
    k: int
    policy: RenewalPolicy

    @property
    def models(self) -> list[str]:
        """The names of what was scored."""
        return list(self.predictions["model"].unique())

    def summary(self, outcome: str = "failed") -> pd.DataFrame:
        """Compare the models on one outcome, best AUPRC first.

        Parameters
        ----------
        outcome : str
            One of ``on_time``, ``slipped``, ``failed``, ``retired``, or ``late`` for slipped or failed.

        Returns
        -------
        DataFrame of shape (n_models, 9)
            ``model``; ``auprc`` with ``auprc_low`` and ``auprc_high``, a 90 % interval by resampling whole
            lineages, the same for each model; ``auroc``; ``brier``; ``log_loss`` of the outcome against all
            others; ``calibration_error``; ``caught``
            (:func:`~certforecast.evaluation.caught_at_k` with the `k` of the backtest, ranked among all
            renewals open at the moment). NaN where the outcome did not come about.
        """
        _require_outcome(outcome)
        records = [
            {"model": model, **self._scores(rows, outcome, ranks), **_interval(rows, outcome)}
            for model in self.models
            for rows, ranks in [(self.rows_of(model), self.ranks_of(model, outcome))]
        ]
        columns = [
            "model",
            "auprc",
            "auprc_low",
            "auprc_high",
            "auroc",
            "brier",
            "log_loss",
            "calibration_error",
            "caught",
        ]
        table = pd.DataFrame.from_records(records)[columns]
        return table.sort_values("auprc", ascending=False, ignore_index=True, kind="stable")

    def by_cutoff(self, outcome: str = "failed") -> pd.DataFrame:
        """Compare the models window by window.

        Returns
        -------
        DataFrame of shape (n_cutoffs * n_models, 10)
            ``cutoff``, ``model``, ``rows``, ``renewals`` (with that outcome), ``auprc``, ``auroc``,
            ``brier``, ``log_loss``, ``calibration_error``, ``caught``. Windows without rows to score are left
            out.
        """
        _require_outcome(outcome)
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

    def ranks_of(self, model: str, outcome: str = "failed") -> "pd.Series[int]":
        """Give the place of each row of one model at its moment, from 1, among all renewals then open.

        Returns
        -------
        Series of int, shape (n_rows,)
            On the index of :meth:`rows_of`.
        """
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
        _require_outcome(outcome)
        rows = self.rows_of(model)
        return metrics.auprc(came(rows, outcome), chance(rows, outcome))

    def difference(
        self,
        model_a: str,
        model_b: str,
        outcome: str = "failed",
        measure: Literal["auprc", "log_loss"] = "auprc",
    ) -> Difference:
        """Say by how much one model is better than another, and whether beyond noise.

        Both are scored on the same resamples of whole lineages, so what is hard for both cancels out. That
        two intervals of :meth:`summary` overlap says much less.

        Parameters
        ----------
        model_a, model_b : str
            The difference is the AUPRC of `model_a` less that of `model_b`, or the log loss of `model_b` less
            that of `model_a`, so that it is positive where `model_a` is better.
        outcome : str
            One of ``on_time``, ``slipped``, ``failed``, ``retired``, ``late``.
        measure : {"auprc", "log_loss"}

        Returns
        -------
        Difference
            NaN where the outcome did not come about.

        Raises
        ------
        InputError
            If a model was not part of the backtest, or there is no such outcome.
        """
        _require_outcome(outcome)
        if measure == "auprc":
            apart = np.subtract(*(_resampled(self.rows_of(model), outcome) for model in (model_a, model_b)))
        else:
            apart = np.subtract(*(_losses(self.rows_of(model), outcome) for model in (model_b, model_a)))
        low, high = _quantiles(apart)
        known = apart[~np.isnan(apart)]
        return Difference(float(known.mean()) if len(known) else np.nan, low, high)

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
        """Say in one line what was scored."""
        counts = self._counts()
        return (
            f"{counts['rows']:,} rows of {counts['renewals']:,} renewals, of which "
            f"{counts['outcomes']['failed']:,} failed, at {counts['moments']:,} moments after "
            f"{len(self.cutoffs)} cutoffs"
        )

    def to_dict(self) -> dict[str, Any]:
        """Give counts, settings and the summary for each outcome, ready for JSON; NaN becomes None."""
        return {
            **self._counts(),
            "cutoffs": [cutoff.isoformat() for cutoff in self.cutoffs],
            "k": self.k,
            "grace_days": self.policy.grace_days,
            "summary": {
                outcome: [
                    {name: None if value != value else value for name, value in record.items()}
                    for record in self.summary(outcome).to_dict("records")
                ]
                for outcome in SCORED
            },
        }

    def _scores(self, rows: pd.DataFrame, outcome: str, ranks: "pd.Series[int]") -> dict[str, float]:
        y, p = came(rows, outcome), chance(rows, outcome)
        return {
            "auprc": metrics.auprc(y, p),
            "auroc": metrics.auroc(y, p),
            "brier": metrics.brier(y, p),
            "log_loss": float(np.mean(_loss(y, p))) if len(rows) else np.nan,
            "calibration_error": metrics.calibration_error(y, p),
            "caught": metrics.caught_by_rank(y, ranks, rows["fingerprint"], self.k),
        }

    def _counts(self) -> dict[str, Any]:
        rows = self.rows_of(self.models[0])
        renewals = rows.drop_duplicates("fingerprint")["outcome"].value_counts()
        return {
            "rows": len(rows),
            "renewals": int(renewals.sum()),
            "outcomes": {name: int(renewals.get(name, 0)) for name in OUTCOMES},
            "moments": int(rows["as_of"].nunique()),
        }


def _require_outcome(outcome: str) -> None:
    if outcome not in SCORED:
        raise InputError(f"{outcome!r} is no outcome; choose one of {', '.join(SCORED)}")


def _interval(rows: pd.DataFrame, outcome: str) -> dict[str, float]:
    low, high = _quantiles(_resampled(rows, outcome))
    return {"auprc_low": low, "auprc_high": high}


def _quantiles(figures: metrics.Floats) -> tuple[float, float]:
    known = figures[~np.isnan(figures)]
    low, high = np.quantile(known, _INTERVAL) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def _resampled(rows: pd.DataFrame, outcome: str) -> metrics.Floats:
    return metrics.auprc_resampled(came(rows, outcome), chance(rows, outcome), _draws(rows))


def _losses(rows: pd.DataFrame, outcome: str) -> metrics.Floats:
    if not came(rows, outcome).any():
        return np.full(_RESAMPLES, np.nan)
    loss = _loss(came(rows, outcome), chance(rows, outcome))
    return np.array([float(np.average(loss, weights=drawn)) for drawn in _draws(rows)])


def _loss(y: "pd.Series[bool]", p: "pd.Series[float]") -> metrics.Floats:
    """Give the log loss of each row, in nats; probabilities are kept off 0, as metrics.log_loss does."""
    least = np.finfo(np.float64).eps
    told = np.where(y, p, 1.0 - p)
    return np.asarray(-np.log(np.clip(told, least, 1.0)), dtype=np.float64)


def _draws(rows: pd.DataFrame) -> Iterator[metrics.Floats]:
    """Resample lineages, as the renewals of one are alike and its rows more so.

    Every model of a backtest has rows of the same lineages, and so the same draws.
    """
    lineages, names = pd.factorize(rows["lineage"], sort=True)
    rng = np.random.default_rng(_SEED)
    for _ in range(_RESAMPLES):
        drawn = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        yield drawn[lineages].astype(np.float64)
