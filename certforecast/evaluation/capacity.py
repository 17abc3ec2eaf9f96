"""What somebody with time for so many renewals would have found, how early, and what that is worth."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from certforecast.errors import InputError
from certforecast.evaluation.metrics import mean, median, places
from certforecast.evaluation.resampling import Lineages, interval, ratio
from certforecast.evaluation.result import (
    SCORED,
    BacktestResult,
    chance,
    days_to_deadline,
    require_capacity,
    require_outcome,
    weights_of,
)
from certforecast.loss import expected_loss
from certforecast.settings import CostSettings, EffectSettings

__all__ = ["at_capacity", "found_by_looks", "looked_into", "money"]

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

#: Days of warning that leave time to act within working hours. An assumption.
ENOUGH_DAYS: Final = 7.0


def looked_into(
    score: "pd.Series[float]", moments: "pd.Series[pd.Timestamp]", ids: "pd.Series[str]", k: int
) -> Flags:
    """Say at which rows a person looks who takes, at each moment, the `k` highest not looked into before.

    Parameters
    ----------
    score : Series of float, shape (n_rows,)
        Rows without one are passed over. Of equal ones the order of the ids decides, as if by lot.
    moments, ids : Series, shape (n_rows,)
        When the row was forecast, and which renewal it is about.
    k : int
        Looks at each moment.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
        True once for each renewal at most.

    Raises
    ------
    InputError
        If `k` is no number of looks.
    """
    require_capacity(k)
    values = score.to_numpy(dtype=np.float64)
    codes, when = places(ids), places(moments)
    order = np.lexsort((codes, -values, when))
    order = order[~np.isnan(values[order])]
    seen = np.zeros(codes.max(initial=-1) + 1, dtype=bool)
    looks = np.zeros(len(values), dtype=bool)
    for group in np.split(order, np.flatnonzero(np.diff(when[order])) + 1):
        fresh = group[~seen[codes[group]]][:k]
        seen[codes[fresh]] = True
        looks[fresh] = True
    return looks


def at_capacity(result: BacktestResult, outcome: str = "failed", k: int | None = None) -> pd.DataFrame:
    """Compare what somebody finds in time who looks into `k` renewals at each moment, each of them once.

    At each moment the likeliest are taken that were not looked into before. One is caught if it was looked
    into before it was too late: its expiry, or, for ``slipped`` and ``late``, its slip point. (``caught`` in
    :meth:`BacktestResult.summary` takes the first `k` of each moment whether looked into before or not.)

    Numbers of renewals are of those that were seen; in shares and medians, held-out renewals count for those
    that they stand for.

    Parameters
    ----------
    result : BacktestResult
    outcome : str
        As for :meth:`BacktestResult.summary`.
    k : int, optional
        Default: that of the backtest.

    Returns
    -------
    DataFrame of shape (n_models, 15)
        ``model``; ``came``, renewals with the outcome; ``looks``, at renewals whose outcome is known;
        ``found``, those with the outcome; ``false_alarms``, the other looks; ``caught``, the share found,
        ``precision``, the share of looks that found something, ``warning_days``, the median of the days
        between look and deadline over all with the outcome, 0 for those not found, and ``in_time``, the share
        of all that were found 7 days before or more: the share ones with ``..._low`` and ``..._high``, and
        ``false_alarms_low`` and ``..._high``.
    """
    require_outcome(outcome)
    records = []
    for model in result.models:
        each = _by_renewal(result.described(model, every=True), outcome, result.k if k is None else k)
        enough = each["found"] & (each["warning"] >= ENOUGH_DAYS)
        alarms = each["look"] & ~each["event"]
        number = int(each["event"].sum())
        figures = {
            "caught": _by_weight(each, each["found"], each["event"]),
            "precision": _by_weight(each, each["found"], each["look"]),
            "in_time": _by_weight(each, enough, each["event"]),
            "false_alarms": (int(alarms.sum()), Lineages(each["lineage"]).totals(alarms)),
        }
        record = {
            "model": model,
            "came": number,
            "looks": int(each["look"].sum()),
            "found": int(each["found"].sum()),
            "warning_days": median(each.loc[each["event"], "warning"], each.loc[each["event"], "weight"]),
        }
        for name, (figure, drawn) in figures.items():
            low, high = interval(drawn)
            record |= {name: figure, f"{name}_low": low, f"{name}_high": high}
        records.append(record)
    return pd.DataFrame.from_records(records)


def found_by_looks(
    result: BacktestResult, outcome: str = "failed", looks: Sequence[int] = (1, 2, 5, 10, 20)
) -> pd.DataFrame:
    """Say what share each model finds in time, by how many renewals can be looked into at each moment.

    Parameters
    ----------
    result : BacktestResult
    outcome : str
        As for :func:`at_capacity`.
    looks : sequence of int

    Returns
    -------
    DataFrame of shape (n_models * n_looks, 3)
        ``model``, ``looks``, ``caught``.
    """
    require_outcome(outcome)
    records = []
    for model in result.models:
        table = result.described(model, every=True)
        for k in looks:
            each = _by_renewal(table, outcome, k)
            event = each["event"]
            share = mean(each.loc[event, "found"], each.loc[event, "weight"])
            records.append({"model": model, "looks": k, "caught": share})
    return pd.DataFrame.from_records(records)


def money(
    result: BacktestResult,
    costs: CostSettings | None = None,
    effects: EffectSettings | None = None,
    *,
    ahead: str | None = None,
    k: int | None = None,
) -> pd.DataFrame:
    """Compare what looking into `k` renewals at each moment, each of them once, would have averted.

    Every model and rule ranks by the loss it expects, by the same costs and the same criticality of hosts. A
    look averts the share ``effects.escalate`` of what the renewal came to cost: of an outage if it failed,
    of unplanned work if it slipped, unless the slip point had passed. Held-out renewals count for those that
    they stand for, in all sums of money; looks are counted as they are.

    Parameters
    ----------
    result : BacktestResult
    costs, effects : CostSettings, EffectSettings, optional
        Default: those of the settings, which are assumptions.
    ahead : str, optional
        The model whose lead over each other is given. Default: the first.
    k : int, optional
        Default: that of the backtest.

    Returns
    -------
    DataFrame of shape (n_models, 12)
        ``model``; ``looks``; ``loss``, what all renewals came to cost; ``averted``, with its interval; its
        ``share`` of what looks at everything would have averted; ``lead``, of the model `ahead` over this
        one, on the same renewals, with its interval; ``paying_looks`` and ``net``: the looks that are worth
        their cost by the forecast itself, as ``certforecast plan`` takes them, and what they avert less what
        they cost. In the currency of `costs`.

    Raises
    ------
    InputError
        If `ahead` was not part of the backtest.
    """
    costs, effects = costs or CostSettings(), effects or EffectSettings()
    ahead, k = ahead or result.models[0], result.k if k is None else k
    if ahead not in result.models:
        raise InputError(f"{ahead!r} was not part of the backtest; there are {', '.join(result.models)}")
    tables = {model: result.described(model, every=True) for model in result.models}
    first = tables[ahead]
    known = first["scored"].to_numpy(dtype=bool)
    slipped = (first["outcome"] == "slipped").astype(float).where(known, 0.0)
    failed = (first["outcome"] == "failed").astype(float).where(known, 0.0)
    weight = pd.Series(weights_of(first), first.index)
    came_to = weight * _loss(first, slipped, failed, costs)
    loss = float(came_to.groupby(first["fingerprint"]).max().sum())
    avertible = effects.escalate * came_to
    lineages = Lineages(first["lineage"])

    def looks_by(score: "pd.Series[float]") -> Flags:
        return looked_into(score, first["as_of"], first["fingerprint"], k)

    averted, gains, records = {}, {}, []
    for model, table in tables.items():
        expected = effects.escalate * _loss(table, table["p_slipped"], table["p_failed"], costs)
        looks = looks_by(expected) & known
        paying = looks_by(expected.where(expected > costs.escalate)) & known
        averted[model] = lineages.totals(avertible * looks)
        gains[model] = float(avertible[looks].sum())
        low, high = interval(averted[model])
        records.append(
            {
                "model": model,
                "looks": int(looks.sum()),
                "loss": loss,
                "averted": gains[model],
                "averted_low": low,
                "averted_high": high,
                "share": _share(gains[model], effects.escalate * loss),
                "paying_looks": int(paying.sum()),
                "net": float(avertible[paying].sum() - costs.escalate * weight[paying].sum()),
            }
        )
    for model, record in zip(tables, records, strict=True):
        low, high = interval(averted[ahead] - averted[model])
        record |= {"lead": gains[ahead] - gains[model], "lead_low": low, "lead_high": high}
    return pd.DataFrame.from_records(records)


def _by_renewal(table: pd.DataFrame, outcome: str, k: int) -> pd.DataFrame:
    """Say of each renewal whether it came out so, was looked into, was found, and how long before."""
    lead = days_to_deadline(table, outcome)
    looks = looked_into(chance(table, outcome).where(lead > 0), table["as_of"], table["fingerprint"], k)
    looks &= table["scored"].to_numpy(dtype=bool)
    event = table["outcome"].isin(SCORED[outcome]) & table["scored"]
    rows = pd.DataFrame(
        {
            "event": event,
            "look": looks,
            "found": event & looks,
            "warning": lead.where(event & looks, 0.0),
            "weight": weights_of(table),
        }
    )
    names = table["fingerprint"]
    each: pd.DataFrame = rows.groupby(names).max().join(table.groupby(names)["lineage"].first())
    return each


def _by_weight(each: pd.DataFrame, part: "pd.Series[bool]", whole: "pd.Series[bool]") -> tuple[float, Floats]:
    """Give the share of some renewals among others, and that of every resample."""
    weight = each["weight"]
    lineages = Lineages(each["lineage"], weight.to_numpy())
    return (
        _share(weight[part].sum(), weight[whole].sum()),
        ratio(lineages.totals(part), lineages.totals(whole)),
    )


def _loss(
    table: pd.DataFrame, slipped: "pd.Series[float]", failed: "pd.Series[float]", costs: CostSettings
) -> "pd.Series[float]":
    criticality = table["criticality"].astype(float).fillna(costs.default_criticality)
    still = ~(table["days_to_slip"] <= 0)
    return expected_loss(slipped.where(still, 0.0), failed, criticality, costs)


def _share(part: float, whole: float) -> float:
    return float(part / whole) if whole else np.nan
