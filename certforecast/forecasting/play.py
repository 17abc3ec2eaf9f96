"""Futures of a fleet, played renewal by renewal: a renewal process for each lineage, in many draws."""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from certforecast.forecasting.habits import Habits
from certforecast.policy import RenewalPolicy

if TYPE_CHECKING:
    import pandas as pd

    from certforecast.forecasting.first import FirstRenewals

__all__ = ["Events", "Limit", "Rules", "play"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

#: Renewals of one generation that are held in memory at a time.
_AT_ONCE: Final = 2_000_000
#: A certificate is not replaced before so much of its lifetime is over.
_EARLIEST: Final = 0.02
#: Draws of a past renewal to find one that fits what is known: that it has not happened yet.
_TRIES: Final = 12


@dataclass(frozen=True)
class Limit:
    """The longest validity by the day of issue, for some rows: steps at `since` (shape (k,)) to `days`."""

    since: Floats
    days: Floats
    rows: Flags

    def on(self, issued: Floats) -> Floats:
        """Give the limit on some days; without one before the first step."""
        step = np.searchsorted(self.since, issued, side="right")
        return np.concatenate([[np.inf], self.days])[step]


@dataclass(frozen=True)
class Rules:
    """What holds while a fleet is played; rows are those of the table, times days from now.

    Attributes
    ----------
    limits : list of Limit
    switches : list of (float, ndarray of int)
        From a day on, what is issued follows another row of the table.
    replacements : list of (float, float, ndarray of bool)
        Everything in some rows that lives at a day is replaced in the days (so many) before it.
    freezes : list of (float, float, ndarray of bool)
        Between two days, rows put off what can wait.
    keep : float
        How far delays keep their days when lifetimes shrink: :meth:`Habits.margins`.
    """

    limits: list[Limit] = field(default_factory=list)
    switches: list[tuple[float, Ints]] = field(default_factory=list)
    replacements: list[tuple[float, float, Flags]] = field(default_factory=list)
    freezes: list[tuple[float, float, Flags]] = field(default_factory=list)
    keep: float = 1.0

    def lifetime(self, rows: Ints, wish: Floats, issued: Floats) -> Floats:
        """Give the lifetime of what is issued: the wish, within the limits in force."""
        found = wish.copy()
        for limit in self.limits:
            here = limit.rows[rows]
            found[here] = np.minimum(found[here], limit.on(issued[here]))
        return found

    def row(self, rows: Ints, issued: Floats) -> Ints:
        """Give the rows that what is issued follows."""
        for since, to in self.switches:
            rows = np.where(issued >= since, to[rows], rows)
        return rows


@dataclass(frozen=True)
class Events:
    """Renewals that were played, each of shape (n_events,), times in days from now.

    Attributes
    ----------
    draw, row, next_row : ndarray of int
        `next_row` is the row of the table that the successor follows.
    begin, end : ndarray of float
        Of the certificate that was replaced.
    at, issued : ndarray of float
        Successor in service, and issued.
    lifetime : ndarray of float
        Of the successor.
    slipped, failed : ndarray of bool
    fresh : ndarray of bool
        The successor's authority has not issued for these names before.
    arrival : ndarray of bool
        Not a renewal: a new lineage's first certificate.
    """

    draw: Ints
    row: Ints
    next_row: Ints
    begin: Floats
    end: Floats
    at: Floats
    issued: Floats
    lifetime: Floats
    slipped: Flags
    failed: Flags
    fresh: Flags
    arrival: Flags

    @classmethod
    def joined(cls, parts: "list[Events]") -> "Events":
        """Put parts together; at least one."""
        names = [each.name for each in fields(cls)]
        return cls(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def play(
    table: "pd.DataFrame",
    arrivals_a_day: Floats,
    habits: Habits,
    rules: Rules,
    policy: RenewalPolicy,
    *,
    horizon: float,
    draws: int,
    seed: int,
    first: "FirstRenewals | None" = None,
) -> Iterator[Events]:
    """Play a fleet on, and yield its renewals, some draws at a time.

    Parameters
    ----------
    table : DataFrame of shape (n_rows, n_columns)
        ``kind`` (live, newcomer or variant), ``begin, end, lifetime, issuer, replaced, overdue``.
    arrivals_a_day : ndarray of shape (draws,)
        New lineages; each is like one of the rows of kind newcomer.
    habits : Habits
        Of the table.
    rules : Rules
    policy : RenewalPolicy
    horizon : float
        Days to play.
    draws : int
    seed : int
    first : FirstRenewals, optional
        What becomes of what is live; without it, that too is drawn from habits.
    """
    live = np.flatnonzero((table["kind"] == "live").to_numpy())
    templates = np.flatnonzero((table["kind"] == "newcomer").to_numpy())
    at_once = max(1, _AT_ONCE // max(len(live), 1))
    for start in range(0, draws, at_once):
        some = np.arange(start, min(start + at_once, draws))
        rng = np.random.default_rng([seed, start])
        player = _Player(table, habits, rules, policy, horizon, rng)
        yield player.played(live, templates, some, arrivals_a_day, first)


class _Player:
    def __init__(
        self,
        table: "pd.DataFrame",
        habits: Habits,
        rules: Rules,
        policy: RenewalPolicy,
        horizon: float,
        rng: np.random.Generator,
    ) -> None:
        self.habits, self.rules, self.policy, self.horizon, self.rng = habits, rules, policy, horizon, rng
        self.begin = table["begin"].to_numpy(np.float64)
        self.end = table["end"].to_numpy(np.float64)
        self.wish = table["lifetime"].to_numpy(np.float64)
        self.replaced = table["replaced"].to_numpy(bool)
        self.overdue = table["overdue"].to_numpy(np.float64)
        self.issuer = np.unique(table["issuer"].to_numpy(str), return_inverse=True)[1]

    def played(
        self, live: Ints, templates: Ints, draws: Ints, arrivals: Floats, first: "FirstRenewals | None"
    ) -> Events:
        draw, row = np.repeat(draws, len(live)), np.tile(live, len(draws))
        begin, end = self.begin[row], self.end[row]
        # What expired in use is renewed at some time soon; whether it was in use is not always known.
        use = (self.overdue[row] == 0) | (self.rng.random(len(row)) < self.overdue[row])
        draw, row, begin, end = draw[use], row[use], begin[use], end[use]
        late = self.overdue[row] > 0
        at, issued, gone = self._renewed(row, begin, end, now=True)
        at = np.where(late, self.rng.exponential(np.mean(self.habits.outages), len(row)), at)
        issued = np.where(late, at, issued)
        if first is not None:
            at, issued, gone = self._as_told(first, row, begin, end, at, issued, gone, late)
        issued = np.where((issued <= 0) & ~self.replaced[row], np.minimum(at, 0.0), issued)
        parts = [self._arrivals(templates, draws, arrivals)]
        new = parts[0]
        events, on = self._events(draw, row, begin, end, at, issued, gone)
        on &= ~self.replaced[events.row]  # the successor of those is live itself
        parts.append(events)
        draw, row = np.append(events.draw[on], new.draw), np.append(events.next_row[on], new.row)
        begin = np.append(events.issued[on], new.issued)
        end = begin + np.append(events.lifetime[on], new.lifetime)
        while len(draw):
            at, issued, gone = self._renewed(row, begin, end, now=False)
            events, on = self._events(draw, row, begin, end, at, issued, gone)
            parts.append(events)
            draw, row, begin = events.draw[on], events.next_row[on], events.issued[on]
            end = begin + events.lifetime[on]
        return Events.joined(parts)

    def _as_told(
        self,
        first: "FirstRenewals",
        row: Ints,
        begin: Floats,
        end: Floats,
        at: Floats,
        issued: Floats,
        gone: Flags,
        late: Flags,
    ) -> tuple[Floats, Floats, Flags]:
        """Let the model say what becomes of each, and habits when, as far as they know of such an end."""
        outcome, told_at, retired = first.draw(row, self.rng, self.habits.outages)
        asked = first.known[row] & ~late
        slip = end - self._slip(begin, end)

        def fits(at: Floats, some: Ints) -> Flags:
            kind = np.where(at > end[some], 2, np.where(at > slip[some], 1, 0))
            return np.asarray((kind == outcome[some]) & (at > 0))

        at, issued = at.copy(), issued.copy()
        wrong = np.flatnonzero(asked & ~fits(at, np.arange(len(at))))
        for _ in range(_TRIES):
            wrong = wrong[~retired[wrong]]
            if not len(wrong):
                break
            again, when, _ = self._renewed(row[wrong], begin[wrong], end[wrong], now=True)
            good = fits(again, wrong)
            at[wrong[good]], issued[wrong[good]] = again[good], when[good]
            wrong = wrong[~good]
        at[wrong] = told_at[wrong]
        issued[wrong] = np.minimum(issued[wrong], at[wrong])
        return at, np.minimum(issued, at), np.where(asked, retired, gone & ~late)

    def _slip(self, begin: Floats, end: Floats) -> Floats:
        return np.minimum((end - begin) * self.policy.slip_fraction, self.policy.slip_cap_days)

    def _renewed(self, row: Ints, begin: Floats, end: Floats, *, now: bool) -> tuple[Floats, Floats, Flags]:
        """Say when certificates are replaced, when the successor was issued, and which services end first."""
        lifetime = end - begin
        drawn = self.habits.draw(row, self.rng)
        at = end - self.habits.margins(drawn, lifetime, self.rules.keep)
        if now:  # it has not happened yet
            for _ in range(_TRIES):
                again = np.flatnonzero(at <= 0)
                if not len(again):
                    break
                drawn[again] = self.habits.draw(row[again], self.rng)
                margins = self.habits.margins(drawn[again], lifetime[again], self.rules.keep)
                at[again] = end[again] - margins
            at = np.where(at <= 0, np.maximum(end, 0.0) * self.rng.random(len(at)), at)
        at = np.maximum(at, begin + _EARLIEST * lifetime)
        # How long an outage lasts has to do with who notices, not with the lifetime.
        other = np.abs(lifetime / self.habits.lifetime[drawn] - 1.0) >= 0.02
        outage = self.rng.choice(self.habits.outages, len(at))
        at = np.where((at > end) & (other | now), end + outage, at)
        at = self._replaced(row, begin, self._thawed(row, at, end))
        issued = np.maximum(at - self.habits.issue_gap[drawn], begin + _EARLIEST / 2 * lifetime)
        since = np.maximum(begin, 0.0) if now else begin
        scale = 1.0 / np.maximum(self.habits.retirement[row], 1e-12)
        return at, issued, since + self.rng.exponential(scale) < at

    def _thawed(self, row: Ints, at: Floats, end: Floats) -> Floats:
        for start, stop, rows in self.rules.freezes:
            waits = rows[row] & (at >= start) & (at < stop) & (end > stop)
            at = np.where(waits, stop + self.rng.random(len(at)) * np.minimum(7.0, end - stop), at)
        return at

    def _replaced(self, row: Ints, begin: Floats, at: Floats) -> Floats:
        for day, notice, rows in self.rules.replacements:
            when = np.maximum(day - notice * self.rng.random(len(at)), 0.0)
            at = np.where(rows[row] & (begin < when) & (at > when), when, at)
        return at

    def _arrivals(self, templates: Ints, draws: Ints, a_day: Floats) -> Events:
        numbers = (
            self.rng.poisson(a_day[draws] * self.horizon) if len(templates) else np.zeros(len(draws), int)
        )
        draw = np.repeat(draws, numbers)
        row = self.rng.choice(templates, len(draw)) if len(draw) else np.zeros(0, np.int64)
        at = self.rng.random(len(draw)) * self.horizon
        row = self.rules.row(row, at)
        lifetime = self.rules.lifetime(row, self.wish[row], at)
        yes, no = np.ones(len(draw), bool), np.zeros(len(draw), bool)
        return Events(draw, row, row, at, at, at, at, lifetime, no, no, yes, yes)

    def _events(
        self, draw: Ints, row: Ints, begin: Floats, end: Floats, at: Floats, issued: Floats, gone: Flags
    ) -> tuple[Events, Flags]:
        """Keep what happens within the horizon; the flags say which lineages go on."""
        failed = at > end
        seen = ~gone & (np.where(failed, end, at) < self.horizon)
        draw, row, failed = draw[seen], row[seen], failed[seen]
        begin, end, at, issued = begin[seen], end[seen], at[seen], issued[seen]
        to = self.rules.row(row, np.maximum(issued, 0.0))
        lifetime = self.rules.lifetime(to, self.wish[to], issued)
        fresh = self.issuer[to] != self.issuer[row]
        slipped = ~failed & (at > end - self._slip(begin, end))
        no = np.zeros(len(at), bool)
        events = Events(draw, row, to, begin, end, at, issued, lifetime, slipped, failed, fresh, no)
        return events, issued < self.horizon
