"""A plot of one lineage: its certificates over time, what became of each, and what its endpoints served."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Self

from certforecast.displays import COLOURS, GREY, Display

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from certforecast.renewals.story import Story

__all__ = ["LineageDisplay"]

_BLUE, _RED, _GREEN, _PINK, _SKY, _ORANGE, _ = COLOURS
_OUTCOMES: Final = {
    "on_time": _GREEN,
    "slipped": _ORANGE,
    "failed": _RED,
    "retired": GREY,
    "open": _BLUE,
}
#: Shades that tell one certificate from the next on an endpoint.
_SERVED: Final = ("#4d4d4d", "#a6a6a6")

_IN_SERVICE: Final[dict[str, Any]] = {
    "marker": "D",
    "markersize": 4.5,
    "color": "none",
    "markerfacecolor": "white",
    "markeredgecolor": "black",
    "markeredgewidth": 0.8,
}

#: More than this cannot be read in one plot.
_MOST_CERTIFICATES, _MOST_ENDPOINTS = 24, 10


class LineageDisplay(Display):
    """Certificates as bars from issue to expiry, coloured by outcome; endpoints by what they served.

    Parameters
    ----------
    story : Story
        The lineage. Its latest 24 certificates and the ten endpoints seen last are drawn.

    Attributes
    ----------
    ax_, endpoints_ax_, figure_ : Axes, Axes, Figure
        Set by :meth:`plot`; `endpoints_ax_` only if it was seen on endpoints.
    """

    endpoints_ax_: "Axes"

    def __init__(self, story: "Story") -> None:
        self.story = story

    @property
    def certificates(self) -> "pd.DataFrame":
        """The certificates that are drawn, the latest last."""
        return self.story.renewals.tail(_MOST_CERTIFICATES)

    @property
    def endpoints(self) -> "list[tuple[tuple[Any, ...], pd.DataFrame]]":
        """The endpoints that are drawn, each with its spells of certificates that are drawn."""
        spells = self.story.spells
        spells = spells[spells["fingerprint"].isin(self.certificates["fingerprint"])]
        groups = list(spells.sort_values("first_seen").groupby(["host", "port"], sort=False))
        latest = sorted(groups, key=lambda group: group[1]["last_seen"].max())[-_MOST_ENDPOINTS:]
        return sorted(latest, key=lambda group: group[1]["first_seen"].min())

    def plot(self, ax: "Axes | None" = None, endpoints_ax: "Axes | None" = None) -> Self:
        """Draw, on new axes if none are given; on given ones the endpoints need their own."""
        certificates, endpoints = self.certificates, self.endpoints
        if ax is None:
            from matplotlib import pyplot

            high, low = 0.28 * len(certificates) + 0.4, 0.3 * len(endpoints) + 0.3
            size = (9.6, 1.5 + high + (low if endpoints else 0))
            figure = pyplot.figure(figsize=size, layout="constrained")
            if endpoints:
                ax, endpoints_ax = figure.subplots(2, 1, sharex=True, height_ratios=(high, low))
            else:
                ax = figure.subplots()
        ax = self._begin(ax)
        for place, row in enumerate(certificates.itertuples()):
            self._bar(ax, place, row)
        left = len(self.story.renewals) - len(certificates)
        ax.set(ylim=(len(certificates) - 0.4, -0.6))
        ax.set_yticks(range(len(certificates)), [f"{one[:8]}" for one in certificates["fingerprint"]])
        ax.tick_params(axis="y", length=0, labelsize="small", labelfontfamily="monospace")
        title = self.story.name + (
            f" (the last {len(certificates)} of {left + len(certificates)})" if left else ""
        )
        ax.set_title(title, loc="left")
        self._dates(ax)
        self._attempts(ax)
        self._legend(ax)
        if endpoints and endpoints_ax is not None:
            self._endpoints(endpoints_ax)
        return self

    def _bar(self, ax: "Axes", place: int, row: Any) -> None:
        colour = _OUTCOMES[row.outcome]
        ax.barh(
            place, row.not_after - row.not_before, left=row.not_before, height=0.62, color=colour, alpha=0.35
        )
        # From due on it is time; what is left of the bar is the time that remains.
        if row.due < row.not_after:
            ax.barh(place, row.not_after - row.due, left=row.due, height=0.62, color=colour, alpha=0.8)
        if row.in_service_at == row.in_service_at:  # else NaT
            ax.plot(row.in_service_at, place, **_IN_SERVICE, zorder=3)

    def _dates(self, ax: "Axes") -> None:
        import matplotlib.dates

        dates: Any = matplotlib.dates  # without types of its own
        locator = dates.AutoDateLocator(maxticks=9)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator, show_offset=False))
        now = dates.date2num(self.story.as_of)
        ax.axvline(now, color=GREY, linewidth=1, linestyle=(0, (4, 3)), zorder=0)

    def _attempts(self, ax: "Axes") -> None:
        """Mark failed attempts on the certificate that was current at the time."""
        rows, events = self.certificates, self.story.events
        failed = events[events["kind"].str.endswith("_failed")]
        for at in failed["at"]:
            begun = (rows["not_before"] <= at).to_numpy().nonzero()[0]
            if len(begun):
                ax.plot(at, begun[-1], "x", color="black", markersize=4, markeredgewidth=0.9, zorder=4)

    def _endpoints(self, ax: "Axes") -> None:
        self.endpoints_ax_ = ax
        ax.spines[["top", "right"]].set_visible(False)
        order = {one: place for place, one in enumerate(self.certificates["fingerprint"])}
        expiry = dict(zip(self.certificates["fingerprint"], self.certificates["not_after"], strict=True))
        endpoints = self.endpoints
        for place, (_, spells) in enumerate(endpoints):
            row: Any
            for row in spells.itertuples():
                colour = _SERVED[order[row.fingerprint] % 2]
                end = max(row.last_seen, row.first_seen + timedelta(hours=12))
                ax.barh(place, end - row.first_seen, left=row.first_seen, height=0.5, color=colour)
                if end > expiry[row.fingerprint]:
                    start = max(expiry[row.fingerprint], row.first_seen)
                    ax.barh(place, end - start, left=start, height=0.5, color=_RED)
        ax.set_yticks(range(len(endpoints)), [f"{host}:{port}" for (host, port), _ in endpoints])
        ax.set(ylim=(len(endpoints) - 0.4, -0.6))
        ax.tick_params(axis="y", length=0, labelsize="small")
        more = self.story.spells[["host", "port"]].drop_duplicates().shape[0] - len(endpoints)
        text = "seen in service; the shade changes with the certificate, red is after its expiry"
        ax.set_title(text + (f"; {more} more endpoints" if more > 0 else ""), loc="left", fontsize="small")

    def _legend(self, ax: "Axes") -> None:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        present = self.certificates["outcome"].unique()
        handles: list[Any] = [
            Patch(color=colour, alpha=0.8, label=outcome.replace("_", " "))
            for outcome, colour in _OUTCOMES.items()
            if outcome in present
        ]
        handles += [
            Patch(color=GREY, alpha=0.25, label="before due"),
            Line2D([], [], **_IN_SERVICE, label="successor in service"),
            Line2D(
                [],
                [],
                marker="x",
                color="none",
                markeredgecolor="black",
                markersize=4,
                label="failed attempt",
            ),
            Line2D([], [], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="as of"),
        ]
        ax.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(1.01, 1),
            frameon=False,
            fontsize="small",
            alignment="left",
        )
