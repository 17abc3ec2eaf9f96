"""The load ahead: renewals, slips and failures a week, made bottom-up from the forecasts of lineages."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from certforecast.clock import as_utc
from certforecast.errors import InputError
from certforecast.forecasting.collisions import waiting
from certforecast.forecasting.dispersion import dispersion, inflated
from certforecast.forecasting.first import first_renewals
from certforecast.forecasting.habits import learn
from certforecast.forecasting.play import Events, play
from certforecast.forecasting.scenario import Scenario
from certforecast.forecasting.situation import GROUPS, Situation, situations
from certforecast.forecasting.world import PLAIN, World, set_out
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables
from certforecast.settings import EffortSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MEASURES", "LoadForecast", "forecast_load", "observed_load", "play_load", "weeks_of"]

Floats = npt.NDArray[np.float64]

#: What is counted a week: successors put in service, those of them that came late, certificates that expired
#: in use, days of such outages, people's hours, and orders that have to wait for a rate limit.
MEASURES: Final = ("renewals", "slipped", "failed", "outage_days", "hours", "waiting")

#: Stands for everything together.
ALL: Final = "all"

_DRAWS: Final = (50, 400)
_PLAYED: Final = 10_000_000
_WEEK: Final = 7.0


@dataclass(frozen=True)
class LoadForecast:
    """Load a week, in draws.

    Attributes
    ----------
    as_of : datetime
        The first week begins here; nothing known later was used.
    by : str or None
    groups : list of str
        ``"all"`` without `by`.
    draws : dict of str to ndarray of shape (n_draws, n_groups, n_weeks)
        For each of `MEASURES`.
    dispersion : float
        Factor on the variance, learned from how far earlier forecasts of this fleet were off.
    """

    as_of: datetime
    by: str | None
    groups: list[str]
    draws: dict[str, Floats]
    dispersion: float = 1.0

    def frame(self, level: float = 0.9) -> "pd.DataFrame":
        """Give means and prediction intervals.

        Parameters
        ----------
        level : float
            Share of weeks that come within their interval.

        Returns
        -------
        DataFrame of shape (n_groups * n_weeks, 2 + 3 * n_measures)
            ``group``, ``week`` (when it begins), and for each measure its mean, ``_low`` and ``_high``.
        """
        import pandas as pd

        if not 0 < level < 1:
            raise InputError(f"level is {level}; give a share between 0 and 1")
        weeks = next(iter(self.draws.values())).shape[2]
        begins = [self.as_of + timedelta(weeks=week) for week in range(weeks)]
        columns: dict[str, Any] = {
            "group": np.repeat(np.array(self.groups, object), weeks),
            "week": pd.to_datetime(begins * len(self.groups), utc=True).as_unit("us"),
        }
        for name, values in self.draws.items():
            columns[name] = values.mean(axis=0).ravel()
            low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
            columns[f"{name}_low"], columns[f"{name}_high"] = low.ravel(), high.ravel()
        return pd.DataFrame(columns)

    def total(self, measure: str, last_weeks: int | None = None) -> Floats:
        """Sum a measure over groups and weeks, or the last of them; shape (n_draws,)."""
        values = self.draws[measure].sum(axis=1)
        return np.asarray(values[:, values.shape[1] - (last_weeks or values.shape[1]) :].sum(axis=1))


def weeks_of(horizon: "str | int") -> int:
    """Read a horizon: ``"26w"``, ``"180d"``, ``"2y"``, or a number of weeks; part of a week counts as one.

    Raises
    ------
    InputError
        If it is none of these, or more than ten years.
    """
    found = re.fullmatch(r"(\d{1,5})([dwy]?)", str(horizon).strip())
    if not found:
        raise InputError(f"horizon {horizon!r} is no span such as 26w, 180d or 2y")
    number, unit = int(found[1]), found[2] or "w"
    weeks = {"d": -(-number // 7), "w": number, "y": round(number * 52.1775)}[unit]
    if weeks > 522:
        raise InputError(f"horizon {horizon!r} is more than ten years: give 10y at most")
    return weeks


def forecast_load(
    history: HasTables,
    model: Any,
    as_of: datetime,
    horizon: "str | int" = "26w",
    *,
    by: str | None = None,
    policy: RenewalPolicy | None = None,
    effort: EffortSettings | None = None,
    scenario: Scenario = PLAIN,
    draws: int | None = None,
    seed: int = 0,
    origins: int = 6,
    progress: Callable[[float], None] | None = None,
) -> LoadForecast:
    """Forecast the load of each week ahead.

    What is open now is renewed when and as the model says. What follows is a renewal process: the
    successor's lifetime is what the lineage asks for within the limits in force on that day; how much of it
    is left at the next switch is drawn from the lineage's past renewals, or from those of ever wider groups;
    services end, and new ones come, at the rates of the past. Counts of many draws give the intervals [1]_.
    Shocks that many lineages share make weeks vary more than independent lineages would: how much more is
    learned from forecasts made at earlier moments, as of what was known then, and what came of them.

    Parameters
    ----------
    history : History
        The store.
    model : OutcomePool or None
        Fitted with times. None: what is open now follows the habits of the past, too.
    as_of : datetime
        Nothing known later is used.
    horizon : str or int
        Read by :func:`weeks_of`.
    by : str, optional
        One of :data:`~certforecast.forecasting.situation.GROUPS`. Default: all together.
    policy : RenewalPolicy, optional
        Thresholds.
    effort : EffortSettings, optional
        People's hours.
    scenario : Scenario, optional
        What comes to the fleet. Default: limits on validity, as published.
    draws : int, optional
        Default 400, fewer for large fleets.
    seed : int
        The same seed gives the same forecast.
    origins : int
        Earlier moments to learn dispersion from; 0: none, and intervals that are too narrow.
    progress : callable, optional
        Called with the share that is done.

    Returns
    -------
    LoadForecast

    Raises
    ------
    InputError
        If `by` or `horizon` is unknown, or the scenario names what the fleet does not have.
    ModelError
        If the model does not say when.

    References
    ----------
    .. [1] D. R. Cox (1962), Renewal Theory, Methuen.
    """
    policy, effort, now = policy or RenewalPolicy(), effort or EffortSettings(), as_utc(as_of)
    weeks, told = weeks_of(horizon), progress or (lambda _: None)
    earlier = [now - timedelta(weeks=13 * (number + 1)) for number in range(origins)]
    (*past, situation), rows = stood_at(history, [*reversed(earlier), now], model, by, policy, told)
    world = set_out(situation, scenario, effort)
    made = play_load(
        situation,
        world,
        weeks,
        by=by,
        policy=policy,
        effort=effort,
        hours=scenario.hours,
        draws=draws,
        seed=seed,
        model=model,
        rows=rows,
    )
    told(0.7)
    factor = dispersion(past, situation, _plainly(by, policy, effort, seed)) if past and weeks else 1.0
    told(1.0)
    rng = np.random.default_rng([seed, 2])
    spread = {name: inflated(values, factor, rng) for name, values in made.draws.items()}
    return LoadForecast(now, by, made.groups, spread, factor)


def stood_at(
    history: HasTables,
    moments: Sequence[datetime],
    model: Any,
    by: str | None,
    policy: RenewalPolicy,
    told: Callable[[float], object],
) -> "tuple[list[Situation], pd.DataFrame | None]":
    """Give how the fleet stood at some moments, and the features of the last one if there is a model.

    Raises
    ------
    InputError
        If `by` is no way to group.
    """
    if by is not None and by not in GROUPS:
        raise InputError(f"cannot tell load by {by!r}; give one of {', '.join(GROUPS)}")
    stood = situations(history, moments, policy)
    told(0.3)
    rows = None
    if model is not None:
        from certforecast.features import features

        rows = features(history, moments[-1], policy)
    told(0.5)
    return stood, rows


def _plainly(
    by: str | None, policy: RenewalPolicy, effort: EffortSettings, seed: int
) -> Callable[[Situation, int], LoadForecast]:
    def forecast(situation: Situation, weeks: int) -> LoadForecast:
        world = set_out(situation, PLAIN, effort)
        return play_load(situation, world, weeks, by=by, policy=policy, effort=effort, seed=seed, draws=100)

    return forecast


def play_load(
    situation: Situation,
    world: World,
    weeks: int,
    *,
    by: str | None,
    policy: RenewalPolicy,
    effort: EffortSettings,
    hours: "dict[str, float] | None" = None,
    draws: int | None = None,
    seed: int = 0,
    model: Any = None,
    rows: "pd.DataFrame | None" = None,
) -> LoadForecast:
    """Play a world on, and count; as :func:`forecast_load` does, without learning dispersion."""
    table = world.table
    if draws is None:
        draws = int(np.clip(_PLAYED // max(len(table), 1), *_DRAWS))
    groups = sorted(set(table[by])) if by is not None and len(table) else [ALL]
    counts = {name: np.zeros((draws, len(groups), weeks)) for name in MEASURES}
    if not len(table) or not weeks:
        return LoadForecast(situation.as_of, by, groups, counts)
    codes = np.zeros(len(table), np.int64)
    if by is not None:
        codes = np.searchsorted(groups, table[by].to_numpy(str)).astype(np.int64)
    first = None
    if model is not None and rows is not None and len(rows):
        first = first_renewals(table, rows, model)
    a_day = len(situation.newcomers) / situation.newcomer_days if situation.newcomer_days else 0.0
    rng = np.random.default_rng([seed, 1])
    # The rate itself is known from so many newcomers only.
    arrivals = rng.gamma(max(len(situation.newcomers), 1), 1.0, draws) * a_day
    arrivals = arrivals / max(len(situation.newcomers), 1)
    habits = learn(table, situation)
    work = effort.model_copy(update={"hours": {**effort.hours, **(hours or {})}})
    each = np.array([work.for_renewal(None if kind == "unknown" else kind) for kind in table["automation"]])
    for events in play(
        table,
        arrivals,
        habits,
        world.rules,
        policy,
        horizon=weeks * _WEEK,
        draws=draws,
        seed=seed,
        first=first,
    ):
        _count(counts, events, codes, each, work)
        counts["waiting"] += waiting(events, table, codes, counts["waiting"].shape)
    return LoadForecast(situation.as_of, by, groups, counts)


def _count(
    counts: dict[str, Floats],
    events: Events,
    codes: npt.NDArray[np.int64],
    each: Floats,
    work: EffortSettings,
) -> None:
    _, groups, weeks = counts["renewals"].shape
    renewed = ~events.arrival & (events.at < weeks * _WEEK)

    def add(name: str, which: npt.NDArray[np.bool_], group: Any, at: Floats, weight: Any = None) -> None:
        week = np.floor(at[which] / _WEEK).astype(np.int64)
        place = (events.draw[which] * groups + codes[group[which]]) * weeks + week
        size = counts[name].size
        part = None if weight is None else np.broadcast_to(weight, which.shape)[which]
        counts[name] += np.bincount(place, part, minlength=size).reshape(counts[name].shape)

    add("renewals", renewed, events.next_row, events.at)
    add("hours", renewed, events.next_row, events.at, each[events.next_row])
    slipped = renewed & events.slipped
    add("slipped", slipped, events.row, events.at)
    add("hours", slipped, events.row, events.at, work.slip_hours)
    failed = events.failed & (events.end >= 0)
    add("failed", failed, events.row, events.end)
    add("outage_days", failed, events.row, events.end, events.at - events.end)
    add("hours", failed, events.row, events.end, work.outage_hours)


def observed_load(
    history: HasTables,
    as_of: datetime,
    weeks: int,
    *,
    by: str | None = None,
    policy: RenewalPolicy | None = None,
) -> "pd.DataFrame":
    """Count the load of past weeks, as far as it is known.

    Parameters
    ----------
    history : History
        The store.
    as_of : datetime
        The last week ends here; nothing known later is used.
    weeks : int
        How many.
    by, policy
        As for :func:`forecast_load`.

    Returns
    -------
    DataFrame of shape (n_groups * weeks, 5)
        ``group, week`` (when it begins), ``renewals, slipped, failed``.
    """
    import pandas as pd

    now = as_utc(as_of)
    [situation] = situations(history, [now], policy)
    groups = [ALL] if by is None else sorted(set(situation.past[by]) | set(situation.live[by]))
    counts = observed_counts(situation, now - timedelta(weeks=weeks), weeks, by, groups)
    begins = [now - timedelta(weeks=weeks - week) for week in range(weeks)]
    return pd.DataFrame(
        {
            "group": np.repeat(np.array(groups, object), weeks),
            "week": pd.to_datetime(begins * len(groups), utc=True).as_unit("us"),
            **{name: values.ravel() for name, values in counts.items()},
        }
    )


def observed_counts(
    situation: Situation, start: datetime, weeks: int, by: str | None, groups: Sequence[str]
) -> dict[str, Floats]:
    """Count past renewals, slips and failures, each of shape (n_groups, weeks), from a moment on."""
    past = situation.past[situation.past["outcome"] != "retired"]
    shift = (situation.as_of - start).total_seconds() / 86_400
    place = {name: number for number, name in enumerate(groups)}
    codes = np.zeros(len(past), np.int64) if by is None else past[by].map(place).fillna(-1).to_numpy(np.int64)
    counts = {}
    for name, column, which in (
        ("renewals", "at", past["at"].notna()),
        ("slipped", "at", past["outcome"] == "slipped"),
        ("failed", "end", past["outcome"] == "failed"),
    ):
        week = np.floor((past[column].fillna(-1e9).to_numpy(np.float64) + shift) / _WEEK).astype(np.int64)
        within = which.to_numpy() & (week >= 0) & (week < weeks) & (codes >= 0)
        flat = np.bincount(codes[within] * weeks + week[within], minlength=len(groups) * weeks)
        counts[name] = flat.reshape(len(groups), weeks).astype(np.float64)
    return counts
