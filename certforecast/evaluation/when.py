"""How well models say when: the Brier score over the days ahead, and how often intervals cover what came."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from certforecast.errors import InputError
from certforecast.evaluation.metrics import median
from certforecast.evaluation.reliability import Group, grouped
from certforecast.evaluation.resampling import Lineages, interval, ratio
from certforecast.evaluation.result import (
    HORIZONS,
    SCORED,
    BacktestResult,
    chance,
    require_outcome,
    weights_of,
)
from certforecast.models.durations import CENSORED
from certforecast.models.survival import coverage, mean_over_time, weighted_misses
from certforecast.renewals import OUTCOMES

__all__ = ["coverage_by_group", "timing"]

Floats = npt.NDArray[np.float64]

#: Those that came before the expiry, and so have a day to be covered.
_RENEWED = SCORED["on_time"] + SCORED["slipped"]


def timing(result: BacktestResult, outcome: str = "failed") -> pd.DataFrame:
    """Score the forecasts of whether an outcome has come about by each day of the next 90.

    All rows count, also those whose outcome is not known yet: they are censored when everything was last
    known, and inverse weights make up for it (:func:`~certforecast.evaluation.brier_by_time`). What we acted
    upon is censored then; if some was held out from that, it counts for those like it from that day on, as in
    :func:`certforecast.models.interventions.at_risk`, and else the same weights have to do. A failure
    comes at the expiry, so every model says when ``failed`` comes about; of other outcomes those only that
    do.

    Parameters
    ----------
    result : BacktestResult
    outcome : str
        As for :meth:`BacktestResult.summary`.

    Returns
    -------
    DataFrame of shape (n_models, 9)
        ``model``; ``ibs``, the integrated Brier score, with ``ibs_low`` and ``ibs_high``, a 90 % interval by
        resampling lineages; ``brier_1`` to ``brier_30``, the Brier scores at 1, 3, 7, 14 and 30 days ahead.
        Best first; empty if no model says when.

    Raises
    ------
    InputError
        If there is no such outcome.
    """
    require_outcome(outcome)
    records = []
    for model in result.models if result.timing else ():
        incidence = _incidence(result, model, outcome)
        if incidence is not None:
            days = next(iter(result.timing.values())).days
            scores, drawn = _brier(result.facts, outcome, incidence, days)
            low, high = interval(mean_over_time(drawn, days))
            at = {f"brier_{h}": float(scores[days.index(h)]) for h in HORIZONS if h in days}
            ibs = float(mean_over_time(scores, days))
            records.append({"model": model, "ibs": ibs, "ibs_low": low, "ibs_high": high, **at})
    columns = ["model", "ibs", "ibs_low", "ibs_high", *(f"brier_{h}" for h in HORIZONS)]
    return pd.DataFrame(records, columns=columns).sort_values("ibs", ignore_index=True, kind="stable")


def resampled_ibs(result: BacktestResult, model: str, outcome: str) -> Floats:
    """Compute the integrated Brier score of a model anew for each resample; shape (n_resamples,).

    Raises
    ------
    InputError
        If the model was not part of the backtest, or says nothing of when the outcome comes about.
    """
    result.rows_of(model)
    incidence = _incidence(result, model, outcome) if result.timing else None
    if incidence is None:
        raise InputError(
            f"{model!r} does not say when {outcome!r} comes about; backtest models that do, such as "
            "OutcomePool(times=...)"
        )
    days = next(iter(result.timing.values())).days
    return mean_over_time(_brier(result.facts, outcome, incidence, days)[1], days)


def coverage_by_group(
    result: BacktestResult, group: Group | None = None, model: str | None = None
) -> pd.DataFrame:
    """Say how often what was renewed before its expiry was so within its 90 % interval.

    Every look counts, as elsewhere in a backtest: an interval is shown for what is open at a moment, not for
    what is over, of which the late ones were looked at more often, and are harder to cover.

    Parameters
    ----------
    result : BacktestResult
    group : {"issuer", "owner", "validity"}, optional
        Default: all together.
    model : str, optional
        Default: the first.

    Returns
    -------
    DataFrame of shape (n_groups, 7)
        ``group``, ``value``, ``renewals``, ``coverage`` with ``coverage_low`` and ``coverage_high``, its 90 %
        interval by resampling lineages, and ``width``, the median width of the intervals in days. Largest
        first. Held-out renewals count for those that they stand for, too. Empty where none was renewed.

    Raises
    ------
    InputError
        If the model gave no intervals, or there is no such group or model.
    """
    model = model or result.models[0]
    said = result.timing.get(model)
    if said is None or said.interval is None:
        raise InputError(
            f"{model!r} gave no intervals; backtest one that does, such as OutcomePool(times=...)"
        )
    table = grouped(result, group or "issuer", model)
    table = table.assign(value="all" if group is None else table["value"]).join(said.interval)
    table = table[table["outcome"].isin(_RENEWED)]
    if table.empty:
        columns = ("renewals", "coverage", "coverage_low", "coverage_high", "width")
        return pd.DataFrame(columns=["group", "value", *columns])
    within = (table["low"] <= table["duration"]) & (table["duration"] <= table["high"])
    codes, values = pd.factorize(table["value"])
    inside = (codes[:, None] == np.arange(len(values))) * table["weight"].to_numpy()[:, None]
    lineages = Lineages(table["lineage"])
    drawn = ratio(lineages.totals(inside * within.to_numpy()[:, None]), lineages.totals(inside))
    records = []
    for number, value in enumerate(values):
        rows = table[codes == number]
        low, high = interval(drawn[:, number])
        share = coverage(rows["low"], rows["high"], rows["duration"], rows["weight"])
        records.append(
            {
                "group": group or "all",
                "value": value,
                "renewals": rows["fingerprint"].nunique(),
                "coverage": share,
                "coverage_low": low,
                "coverage_high": high,
                "width": median(rows["high"] - rows["low"], weights_of(rows)),
            }
        )
    found = pd.DataFrame.from_records(records)
    return found.sort_values(["renewals", "value"], ascending=[False, True], ignore_index=True)


def _incidence(result: BacktestResult, model: str, outcome: str) -> Floats | None:
    """Give the probability that an outcome has come about by each day; shape (n_rows, n_days)."""
    if model in result.timing:
        parts = [OUTCOMES.index(name) for name in SCORED[outcome]]
        return np.asarray(result.timing[model].incidence[:, parts].sum(axis=1, dtype=np.float64))
    if outcome != "failed":
        return None
    table = result.described(model, every=True)
    days = np.asarray(next(iter(result.timing.values())).days)
    over = table["days_left"].to_numpy(np.float64)[:, None] <= days
    return np.asarray(chance(table, outcome).to_numpy(np.float64)[:, None] * over)


def _brier(
    facts: pd.DataFrame, outcome: str, incidence: Floats, days: tuple[float, ...]
) -> tuple[Floats, Floats]:
    """Give the Brier score by day, and of every resample; shapes (n_days,) and (n_resamples, n_days)."""
    seen = facts["duration"].notna().to_numpy()
    rows = facts[seen]
    lost = rows["event"] == CENSORED
    event = rows["outcome"].isin(SCORED[outcome]) & ~lost
    stands_for, acted = _stands_for(rows, days)
    weights, missed = weighted_misses(event, rows["duration"], lost, incidence[seen], days, stands_for, acted)
    scores = ratio((weights * missed).sum(axis=0), weights.sum(axis=0))
    lineages = Lineages(rows["lineage"])
    return scores, ratio(lineages.totals(weights * missed), lineages.totals(weights))


def _stands_for(
    facts: pd.DataFrame, days: tuple[float, ...]
) -> tuple[Floats | None, npt.NDArray[np.bool_] | None]:
    """Say for how many each row stands by each day, and whose censoring that makes up for; None if nothing.

    A held-out row stands for itself until it is held out. Then those like it are acted upon, and leave.
    """
    if "held_days" not in facts or not (held := facts["held_days"] < facts["duration"]).any():
        return None, None
    since = facts["held_days"].where(held, np.inf).to_numpy(np.float64)
    left_alone = since[:, None] <= np.asarray(days)
    return np.where(left_alone, weights_of(facts)[:, None], 1.0), facts["acted"].to_numpy(bool)
