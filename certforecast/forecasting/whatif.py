"""The same fleet before and after: what new rules, authorities or ways of working do to the load."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from certforecast.clock import as_utc
from certforecast.forecasting.load import MEASURES, LoadForecast, play_load, stood_at, weeks_of
from certforecast.forecasting.scenario import Scenario
from certforecast.forecasting.world import set_out
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables
from certforecast.settings import EffortSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["WhatIf", "what_if"]

#: By then most certificates of before are gone: the last weeks of a horizon show what stays.
_LAST_WEEKS: Final = 26
#: What is told by the week; the rest is rare and told by the year.
_WEEKLY: Final = ("renewals", "hours")
_YEAR_WEEKS: Final = 52.1775


@dataclass(frozen=True)
class WhatIf:
    """Load before and after.

    Attributes
    ----------
    scenario : Scenario
    before, after : LoadForecast
        Of the same fleet, moment and weeks. Both leave out shocks that many lineages share, which are
        the same for both: intervals of a single week are those of :func:`forecast_load`.
    """

    scenario: Scenario
    before: LoadForecast
    after: LoadForecast

    @property
    def last_weeks(self) -> int:
        """How many weeks at the end of the horizon show what stays."""
        return min(_LAST_WEEKS, self.weeks)

    @property
    def weeks(self) -> int:
        """How many weeks were played."""
        return int(self.before.draws["renewals"].shape[2])

    def summary(self) -> "pd.DataFrame":
        """Sum up.

        Returns
        -------
        DataFrame of shape (12, 6)
            ``measure``, ``per`` (week or year), ``weeks`` (how many, counted from the horizon's end),
            ``before``, ``after``, and ``ratio``, NaN where nothing was before.
        """
        import pandas as pd

        rows = []
        for weeks in (self.weeks, self.last_weeks) if self.weeks else ():
            for name in MEASURES:
                scale = (1.0 if name in _WEEKLY else _YEAR_WEEKS) / weeks
                old, new = (
                    float(made.total(name, weeks).mean()) * scale for made in (self.before, self.after)
                )
                per = "week" if name in _WEEKLY else "year"
                rows.append((name, per, weeks, old, new, new / old if old > 0 else np.nan))
        return pd.DataFrame(rows, columns=["measure", "per", "weeks", "before", "after", "ratio"])

    def frame(self, level: float = 0.9) -> "pd.DataFrame":
        """Give both forecasts, as :meth:`LoadForecast.frame` does, under ``world``: before and after."""
        import pandas as pd

        parts = (("before", self.before), ("after", self.after))
        return pd.concat([made.frame(level).assign(world=name) for name, made in parts], ignore_index=True)

    def plot(self, *, marks: "dict[datetime, str] | None" = None) -> Any:
        """Draw it; as :func:`certforecast.forecasting.plots.draw_what_if`."""
        from certforecast.forecasting.plots import draw_what_if

        return draw_what_if(self, marks=marks)


def what_if(
    history: HasTables,
    model: Any,
    as_of: datetime,
    scenario: Scenario,
    horizon: "str | int" = "104w",
    *,
    by: str | None = None,
    policy: RenewalPolicy | None = None,
    effort: EffortSettings | None = None,
    draws: int | None = None,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> WhatIf:
    """Play a fleet on twice: as it is, and as a scenario has it.

    Parameters
    ----------
    history, model, as_of, horizon, by, policy, effort, draws, seed, progress
        As for :func:`certforecast.forecasting.forecast_load`.
    scenario : Scenario
        As given by :func:`certforecast.forecasting.read_scenario`.

    Raises
    ------
    InputError
        If `by` or `horizon` is unknown, or the scenario names an issuer or owner that the fleet lacks.
    """
    policy, effort, now = policy or RenewalPolicy(), effort or EffortSettings(), as_utc(as_of)
    weeks, told = weeks_of(horizon), progress or (lambda _: None)
    [situation], rows = stood_at(history, [now], model, by, policy, told)
    made = []
    plain = Scenario(title="before", before=scenario.before, delays_keep=scenario.delays_keep)
    for number, chosen in enumerate((plain, scenario), 1):
        world = set_out(situation, chosen, effort)
        made.append(
            play_load(
                situation,
                world,
                weeks,
                by=by,
                policy=policy,
                effort=effort,
                hours=chosen.hours,
                draws=draws,
                seed=seed,
                model=model,
                rows=rows,
            )
        )
        told(0.5 + number / 4)
    return WhatIf(scenario, *made)


def week_starts(made: LoadForecast) -> list[datetime]:
    """Say when each week begins."""
    return [made.as_of + timedelta(weeks=week) for week in range(made.draws["renewals"].shape[2])]
