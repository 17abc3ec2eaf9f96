"""Rolling-origin backtests: train on what was known, score on what came after, and go on."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd

from certforecast.clock import as_utc
from certforecast.errors import InputError, ModelError, SchemaError
from certforecast.evaluation.result import PROBABILITIES, BacktestResult, Timing, require_capacity
from certforecast.features import FEATURES
from certforecast.models.durations import CENSORED, durations
from certforecast.models.interventions import intervention_weights
from certforecast.models.training import fit_rows, settling, trainable
from certforecast.policy import RenewalPolicy

__all__ = ["DAYS", "Forecaster", "backtest", "default_cutoffs"]

#: Days ahead for which models that say when are asked.
DAYS: Final = (1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 14.0, 21.0, 30.0, 45.0, 60.0, 75.0, 90.0)

#: The part of the rows, at their end, over which default cutoffs are spread.
_TESTED_SHARE = 0.4

#: How often models are trained anew unless told otherwise: so many times, or so often, but not over so many.
_CUTOFFS, _LONGEST, _MOST_CUTOFFS = 5, pd.Timedelta(days=183), 20

#: Probabilities, and their sums, may be off by so much: rounding, as of single precision, is no fault.
_ROUNDED: Final = 1e-4

_KEY = ["as_of", "fingerprint"]
_LABELS = ["lineage", "not_after", "outcome", "resolved_at", "intervention"]


#: What is told of a row beside its forecasts, and the column of the frame that it comes from.
_FACTS = {
    **{name: name for name in ("not_after", "days_left", "days_to_slip", "owner", "criticality")},
    "issuer": "issuer_org",
    "validity": "validity_profile",
}


class Forecaster(Protocol):
    """A model or a rule.

    One that says when, too, has ``predict_incidence(X, times)``, giving the probability that each outcome has
    come about by some days ahead, of shape (n, 4, n_times), and may have ``predict_interval(X)``, giving
    ``low``, ``median`` and ``high``; both as :class:`certforecast.OutcomePool`.
    """

    def fit(self, X: pd.DataFrame, y: Any, sample_weight: Any = None) -> Any:
        """Learn from features of shape (n, n_features) and outcomes of shape (n,)."""
        ...

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give ``p_on_time``, ``p_slipped``, ``p_failed`` and ``p_retired`` on the index of `X`."""
        ...


def backtest(
    frame: pd.DataFrame,
    models: Mapping[str, Callable[[], Forecaster]],
    cutoffs: Sequence[datetime],
    *,
    policy: RenewalPolicy | None = None,
    given: Mapping[str, pd.DataFrame] | None = None,
    k: int = 10,
    progress: Callable[[float], None] | None = None,
) -> BacktestResult:
    """Fit each model at each cutoff on what was known then; score it on the rows up to the next cutoff.

    A row may be learned from by the rule of :func:`certforecast.models.training.trainable`, applied at the
    cutoff. The same rule, applied when the last outcome of `frame` became known, says which rows are
    scored: those whose outcome would be known by then whatever it is. To score every row that happens to
    be resolved would leave out the late failures of the last months and keep their on-time neighbours.

    What was changed by an action of ours is not scored. Those that were held out from it count for the others
    in every measure, by the weights that training takes, too
    (:func:`certforecast.models.interventions.intervention_weights`). Where nothing was held out, only the
    safer rest is scored, and :attr:`BacktestResult.caveat` says so.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        As given by :func:`certforecast.features.training_frame`. Models see its feature columns only.
    models : mapping of str to callable
        What makes a new, unfitted model, by name. Estimator classes will do.
    cutoffs : sequence of datetime
        When to train. The last window ends with the last row.
    policy : RenewalPolicy, optional
        Gives the grace period.
    given : mapping of str to DataFrame, optional
        Probabilities to be scored as they are, by name: ``as_of`` and ``fingerprint`` (columns or index)
        and ``p_*``, for example the true ones of a simulated fleet; what they lack to 1 is said of no
        outcome. Everything is then scored on exactly the rows that all of them cover.
    k : int
        Renewals that can be looked into at each moment.
    progress : callable, optional
        Called with the share that is done so far, 1 at the end.

    Raises
    ------
    SchemaError
        If a column is missing.
    InputError
        If a name stands for two models, there are no models or no cutoffs, `k` is no number of looks, the
        frame has a row twice or moments without a time zone, or something given is no probability.
    ModelError
        If a model gives what is no probability, there is nothing to train on at a cutoff, or nothing to score
        at all.
    """
    policy, given, progress = policy or RenewalPolicy(), given or {}, progress or (lambda _: None)
    _require_columns(frame, [*_KEY, *_LABELS], "the frame")
    if shared := models.keys() & given.keys():
        raise InputError(f"{', '.join(sorted(shared))} is both in models and in given; rename one")
    if not len(cutoffs) or not (models or given):
        raise InputError("a backtest needs at least one cutoff and one model; see default_cutoffs")
    if any(pd.isna(cutoff) for cutoff in cutoffs):
        raise InputError("a cutoff is no moment; see default_cutoffs")
    if frame["as_of"].dt.tz is None:
        raise InputError("as_of of the frame has no time zone: make it UTC with dt.tz_localize('UTC')")
    if (twice := frame.duplicated(_KEY)).any():
        raise InputError(
            f"the frame has {twice.sum():,} rows twice, by as_of and fingerprint; keep one of each"
        )
    require_capacity(k)

    starts = sorted({as_utc(cutoff) for cutoff in cutoffs})
    ready = {name: _keyed(name, table) for name, table in given.items()}
    rows = _rows_to_forecast(frame, starts[0], policy, ready)
    inputs = [name for name in FEATURES if name in frame]
    tables: list[pd.DataFrame] = []
    windows: list[pd.DataFrame] = []
    timings: list[dict[str, Timing]] = []
    for number, start in enumerate(starts):
        window = rows[rows["as_of"] >= start]
        if number + 1 < len(starts):
            window = window[window["as_of"] < starts[number + 1]]
        key = pd.MultiIndex.from_frame(window[_KEY])
        forecasts = {name: table.loc[key].set_axis(window.index) for name, table in ready.items()}
        timed: dict[str, Timing] = {}
        if models and len(window):
            known = _training_rows(frame, start, policy)
            for done, (name, make) in enumerate(models.items(), 1):
                model = fit_rows(make(), known, policy)
                told = model.proba_frame(window[inputs])
                if fault := _fault(told):
                    raise ModelError(
                        f"{name!r}, trained as of {start:%Y-%m-%d}, gave {fault}; mend it, or leave it out"
                    )
                forecasts[name] = told
                if says_when(model):
                    timed[name] = _timing(model, window[inputs])
                progress((number + done / len(models)) / len(starts))
        labels = window[[*_KEY, "lineage", "outcome", "weight", "scored"]].assign(cutoff=start)
        tables += [
            pd.concat([labels.assign(model=name), forecast[PROBABILITIES]], axis=1)
            for name, forecast in forecasts.items()
        ]
        if len(window):
            windows.append(window)
            timings.append(timed)
        progress((number + 1) / len(starts))
    table = pd.concat(tables, ignore_index=True)
    columns = ["cutoff", *_KEY, "lineage", "model", *PROBABILITIES]
    predictions = table.loc[table["scored"], [*columns, "outcome", "weight"]].reset_index(drop=True)
    unscored = table.loc[~table["scored"], columns].reset_index(drop=True)
    return BacktestResult(
        predictions,
        unscored,
        cutoffs=tuple(starts),
        k=k,
        policy=policy,
        facts=_facts(pd.concat(windows), _last_known(frame), policy),
        timing={name: Timing.joined([part[name] for part in timings]) for name in timings[0]},
    )


def says_when(model: Any) -> bool:
    """Whether a fitted model gives incidences; an `OutcomePool` does if it was fitted with `times`."""
    return hasattr(model, "predict_incidence") and getattr(model, "times_", model) is not None


def default_cutoffs(
    frame: pd.DataFrame, n: int | None = None, policy: RenewalPolicy | None = None
) -> list[datetime]:
    """Spread cutoffs evenly over the time of the last 40 % of the rows that can be scored.

    None lies before there are two different outcomes to learn from, and each has a window of equal length.

    Parameters
    ----------
    frame : DataFrame
        As given by :func:`certforecast.features.training_frame`.
    n : int, optional
        How many, 1 or more. Default: 5, or as many as it takes for no window to be longer than half a year,
        but not over 20. Who trains once in years is judged on forecasts that nobody would go by.
    policy : RenewalPolicy, optional
        Gives the grace period.

    Raises
    ------
    InputError
        If `n` is under 1.
    ModelError
        If no moment with rows to score comes after there is something to learn from.
    """
    if n is not None and n < 1:
        raise InputError(f"n is {n}; give a number of cutoffs, 1 or more")
    policy = policy or RenewalPolicy()
    known = frame[trainable(frame, _last_known(frame), policy)]
    second = settling(known, policy)["settled"].groupby(known["outcome"]).min().sort_values()[1:2]
    last = known["as_of"].max()
    if second.empty or second.iloc[0] >= last:
        raise ModelError(
            f"too little history for a backtest: of {frame['fingerprint'].nunique()} renewals, "
            f"{known['fingerprint'].nunique()} are resolved with their grace period over, and none comes up "
            "after two different outcomes are known; import older history (certforecast ingest)"
        )
    tested = known["as_of"].quantile(1 - _TESTED_SHARE, interpolation="nearest")
    start = max(tested, second.iloc[0].ceil("s"))
    if n is None:
        n = min(max(_CUTOFFS, math.ceil((last - start) / _LONGEST)), _MOST_CUTOFFS)
    return [as_utc((start + (last - start) * (number / n)).to_pydatetime()) for number in range(n)]


def _last_known(frame: pd.DataFrame) -> datetime:
    """Give the moment of the last outcome: until then the frame is complete for sure."""
    moment = frame["resolved_at"].max()
    if pd.isna(moment):
        raise ModelError("no renewal of the frame is resolved; import older history (certforecast ingest)")
    return as_utc(moment.to_pydatetime())


def _rows_to_forecast(
    frame: pd.DataFrame, start: datetime, policy: RenewalPolicy, given: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """Take every row at the moments at which something is scored; ``scored`` says which rows are.

    ``weight`` says for how many each stands. Of those still open all that is known by now counts.
    """
    known = _last_known(frame)
    so_far = frame.assign(resolved_at=frame["resolved_at"].fillna(known))
    rows = frame.assign(scored=trainable(frame, known, policy), weight=intervention_weights(so_far, policy))[
        frame["as_of"] >= start
    ]
    if not rows["scored"].any():
        raise ModelError(
            f"nothing to score: no renewal of {start:%Y-%m-%d} or later has its outcome known and its grace "
            f"period over by {known:%Y-%m-%d}; choose earlier cutoffs"
        )
    for name, table in given.items():
        rows = rows[pd.MultiIndex.from_frame(rows[_KEY]).isin(table.index)]
        if not rows["scored"].any():
            raise ModelError(
                f"nothing to score: given {name!r} covers none of the rows that are left; its as_of must be "
                "moments of the frame at or after the first cutoff, to the microsecond"
            )
    return rows[rows["as_of"].isin(rows.loc[rows["scored"], "as_of"])]


def _timing(model: Any, X: pd.DataFrame) -> Timing:
    incidence = np.asarray(model.predict_incidence(X, DAYS), dtype=np.float32)
    interval = model.predict_interval(X) if hasattr(model, "predict_interval") else None
    return Timing(DAYS, incidence, None if interval is None else interval.reset_index(drop=True))


def _facts(rows: pd.DataFrame, known: datetime, policy: RenewalPolicy) -> pd.DataFrame:
    """Tell what there is to tell of each row beside its forecasts."""
    facts = rows[[*_KEY, "lineage", "outcome", "scored", "weight"]].assign(
        **{name: rows.get(column, np.nan) for name, column in _FACTS.items()},
        acted=rows["intervention"].astype(bool),
        held_days=np.nan,
    )
    if "held_out_at" in rows:
        held_out_at = rows["held_out_at"].where(rows["weight"] > 1)
        facts["held_days"] = (held_out_at - rows["as_of"]).dt.total_seconds() / 86_400
    if "in_service_at" in rows:
        # Until then all is known, of what ended in any way: what is open is censored, whatever will end it.
        seen = (known - timedelta(days=policy.grace_days) - rows["as_of"]).dt.total_seconds() / 86_400
        ended = durations(rows, known)
        facts["event"] = ended["event"].where(ended["duration"] <= seen, CENSORED)
        facts["duration"] = np.minimum(ended["duration"], seen).where(seen > 0)
    return facts.reset_index(drop=True)


def _training_rows(frame: pd.DataFrame, cutoff: datetime, policy: RenewalPolicy) -> pd.DataFrame:
    rows = frame[trainable(frame, cutoff, policy)]
    if rows["outcome"].nunique() < 2:
        raise ModelError(
            f"too little to train on at the cutoff {cutoff:%Y-%m-%d}: {rows['fingerprint'].nunique()} "
            "renewals are resolved by then with their grace period over, and two different outcomes are "
            "needed; choose later cutoffs, or import older history (certforecast ingest)"
        )
    return rows


def _keyed(name: str, table: pd.DataFrame) -> pd.DataFrame:
    if not set(_KEY) <= set(table.columns):
        table = table.reset_index()
    _require_columns(table, [*_KEY, *PROBABILITIES], f"given {name!r}")
    moments = pd.to_datetime(table["as_of"], utc=True).dt.as_unit("us")
    keyed = table.assign(as_of=moments).set_index(_KEY)[PROBABILITIES]
    if keyed.index.has_duplicates:
        raise InputError(f"given {name!r} has more than one row for an as_of and fingerprint; keep one")
    if fault := _fault(keyed, whole=False):
        raise InputError(f"given {name!r} holds {fault}; mend them, or leave such rows out")
    return keyed


def _fault(told: pd.DataFrame, *, whole: bool = True) -> str:
    """Say what is wrong with the outcomes' probabilities; "" if nothing is.

    Each lies within 0 and 1, and those of a row sum to 1, or to less where they need not be `whole`.
    """
    try:
        values = told[PROBABILITIES].to_numpy(dtype=np.float64)
    except (ValueError, TypeError):
        return "probabilities that are no numbers"
    sound = ((values >= -_ROUNDED) & (values <= 1 + _ROUNDED)).all(axis=1)
    total = values.sum(axis=1)
    sound &= (total <= 1 + _ROUNDED) & (total >= 1 - _ROUNDED if whole else True)
    if sound.all():
        return ""
    place = int(np.argmin(sound))
    said = ", ".join(f"{name} {value:.4g}" for name, value in zip(PROBABILITIES, values[place], strict=True))
    return f"{(~sound).sum():,} rows that are no probabilities of the outcomes, such as {said}"


def _require_columns(table: pd.DataFrame, names: Sequence[str], what: str) -> None:
    if missing := [name for name in names if name not in table]:
        raise SchemaError(f"{what} lacks {', '.join(missing)}; has {', '.join(map(str, table.columns))}")
