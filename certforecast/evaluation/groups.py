"""A plot of calibration by group: for which issuers, owners and lifetimes forecasts are off."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Self

import pandas as pd

from certforecast.displays import COLOURS, GREY, Display
from certforecast.errors import InputError
from certforecast.evaluation.reliability import GROUPS, Group, calibration_by_group
from certforecast.evaluation.result import BacktestResult, came

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["GroupCalibrationDisplay"]

#: The colour of what is to be expected.
NOISE: Final = "#E3E8EC"

_HEADINGS: Final = {"issuer": "by issuer", "owner": "by owner", "validity": "by lifetime"}


class GroupCalibrationDisplay(Display):
    """Observed share less mean forecast: a point with its interval for each group, over what chance may do.

    A point outside its grey band is more than noise: the group comes to the outcome more (right) or less
    (left) often than forecast. Of as many groups as are drawn, one in ten does so by chance.

    Parameters
    ----------
    groups : DataFrame
        As given by :func:`~certforecast.evaluation.calibration_by_group`, one below the other.
    model, outcome : str
        For the title.

    Attributes
    ----------
    ax_, figure_ : Axes, Figure
        Set by :meth:`plot`.
    """

    def __init__(self, groups: pd.DataFrame, model: str, outcome: str) -> None:
        self.groups, self.model, self.outcome = groups, model, outcome

    @classmethod
    def from_backtest(
        cls,
        result: BacktestResult,
        outcome: str = "failed",
        model: str | None = None,
        groups: Sequence[Group] = GROUPS,
        limit: int = 8,
    ) -> Self:
        """Take the `limit` largest groups of each kind, of one model (default the first).

        Raises
        ------
        InputError
            If the outcome did not come about, there is no such model or group, no group is asked for, or
            `limit` is under 1.
        """
        if not len(groups) or limit < 1:
            raise InputError("give at least one kind of group, and a limit of 1 or more")
        chosen = model or result.models[0]
        if not came(result.rows_of(chosen), outcome).any():
            raise InputError(f"nothing to plot: no renewal of the backtest came out as {outcome!r}")
        tables = [calibration_by_group(result, group, outcome, chosen).head(limit) for group in groups]
        return cls(pd.concat(tables, ignore_index=True), chosen, outcome)

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of a figure that has room for every group, in inches."""
        return 7.6, 1.3 + 0.26 * (len(self.groups) + 1.6 * self.groups["group"].nunique())

    def plot(self, ax: "Axes | None" = None) -> Self:
        """Draw, on new axes if none are given."""
        kinds = list(self.groups["group"].unique())
        ax = self._begin(ax, self.size)
        ax.axvline(0, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        place, places, labels = 0.0, [], []
        told = ax.get_yaxis_transform()  # across in parts of the axes, up and down in rows
        for number, kind in enumerate(kinds):
            place -= 1.3 if number else 0.0
            ax.text(
                0.0,
                place,
                f"  {_HEADINGS[kind]}",
                transform=told,
                weight="bold",
                va="center",
                fontsize="small",
            )
            for row in self.groups[self.groups["group"] == kind].to_dict("records"):
                place -= 1.0
                colour = COLOURS[number % len(COLOURS)]
                ax.hlines(
                    place, 100 * row["noise_low"], 100 * row["noise_high"], color=NOISE, linewidth=9, zorder=0
                )
                ax.hlines(place, 100 * row["low"], 100 * row["high"], color=colour, linewidth=1.6, alpha=0.6)
                ax.plot(100 * row["difference"], place, "o", color=colour, markersize=5)
                _note(ax, place, f"{row['forecast']:.1%} → {row['observed']:.1%}", f"{row['renewals']:,}")
                places.append(place)
                labels.append(row["value"])
        _note(ax, 0.0, "forecast → observed", "renewals")
        who = self.outcome.replace("_", "-").capitalize()
        ax.set(
            ylim=(place - 0.8, 0.9),
            xlabel="observed less forecast, in percentage points, with 90 % interval\n"
            "(grey: where nine of ten would be if forecasts were right)",
            title=f"{who} renewals: calibration of {self.model} by group",
        )
        ax.set_yticks(places, labels)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        return self


def _note(ax: "Axes", place: float, shares: str, renewals: str) -> None:
    """Write two columns right of the axes."""
    told = ax.get_yaxis_transform()
    for across, text in ((1.3, shares), (1.47, renewals)):
        ax.text(across, place, text, transform=told, ha="right", va="center", fontsize="small", color=GREY)
