"""A fleet of services whose renewals have known true probabilities."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa

from certforecast.errors import InputError
from certforecast.policy import RenewalPolicy
from certforecast.simulation.calendars import Calendar, day_of, moment_of
from certforecast.simulation.columns import Flags
from certforecast.simulation.issuances import issuances
from certforecast.simulation.journal import Journal
from certforecast.simulation.mechanisms import OUTCOMES, Happenings, Outcome, World, begin, introduce, step
from certforecast.simulation.naming import fingerprint
from certforecast.simulation.population import Population, populate
from certforecast.simulation.rates import Rates
from certforecast.simulation.shocks import Shocks
from certforecast.simulation.tables import render
from certforecast.simulation.truth import futures
from certforecast.simulation.views import seen

__all__ = ["Fleet"]

_YEAR_DAYS: Final = 365.25
#: A snapshot of the world is kept every so many days, so that `truth` need not replay from the start.
_SNAPSHOT_DAYS: Final = 30
#: Days beyond the end for which the calendar is laid out: the longest validity and the batch after it.
_CALENDAR_MARGIN: Final = 1100

# Independent random streams of one seed.
_POPULATION, _DAY, _FUTURE = range(3)


class Fleet:
    """Services and their certificates, played day by day.

    Parameters
    ----------
    seed : int
        The same seed and arguments give the same bytes.
    lineages : int
        How many services, besides the few that splits add.
    years : float
        How long the fleet is played.
    end : datetime
        The last moment of the history; taken to the midnight (UTC) at or before it.
    rates : Rates
        How often things happen; all assumptions.
    policy : RenewalPolicy
        What counts as slipped.

    Raises
    ------
    InputError
        If `lineages` is under 10, `years` is not above 0, or `seed` is negative.

    Notes
    -----
    A day's chances depend on the seed, the day and the fleet's state only: two fleets that begin on the same
    day with the same arguments agree up to the earlier of their ends.
    """

    def __init__(
        self,
        seed: int = 7,
        lineages: int = 360,
        years: float = 3.0,
        end: datetime = datetime(2026, 10, 1, tzinfo=UTC),
        rates: Rates | None = None,
        policy: RenewalPolicy | None = None,
    ) -> None:
        if seed < 0 or lineages < 10 or not 1 / _YEAR_DAYS <= years <= 100:
            raise InputError(
                f"cannot simulate seed {seed}, {lineages} lineages, {years:g} years: give a seed "
                "of 0 or more, 10 lineages or more, and a day to 100 years"
            )
        self.seed = seed
        self.rates = rates or Rates()
        self.policy = policy or RenewalPolicy()
        self.last_day = day_of(end)
        self.first_day = self.last_day - round(years * _YEAR_DAYS)
        self.population: Population = populate(lineages, self.rates, self._rng(_POPULATION))
        self.journal = Journal()
        self._snapshots: dict[int, World] = {}
        self._play()

    @property
    def start(self) -> datetime:
        """The first moment of the history."""
        return moment_of(self.first_day)

    @property
    def end(self) -> datetime:
        """The last moment of the history."""
        return moment_of(self.last_day)

    def tables(self) -> dict[str, pa.Table]:
        """Give the four tables of :mod:`certforecast.history.schema`, by name."""
        return render(self.journal, self.population, self.rates, self.seed, self.first_day, self.last_day)

    def lineages(self) -> pd.DataFrame:
        """Give the true lineage of every certificate that :meth:`tables` gives.

        Returns
        -------
        pandas.DataFrame
            `fingerprint`; `lineage`, a number; `number` of the certificate in its lineage, from 0; `parent`,
            the lineage that a split took this one from, null for most. Where a service has two certificates
            at a time, RSA and ECDSA, each series is a lineage; :meth:`outcomes` and :meth:`truth` tell of the
            first only, which is the one served.
        """
        issued = issuances(self.journal, self.population, self.seed)
        issued = issued[issued["known"] <= self.last_day]
        twin = (issued["lineage"] - issued["primary"]).to_numpy()
        parent = self.population.parent[issued["primary"]]
        return pd.DataFrame(
            {
                "fingerprint": self._fingerprints(issued["lineage"], issued["number"]),
                "lineage": issued["lineage"].to_numpy(),
                "number": issued["number"].to_numpy(),
                "parent": pd.Series(parent + twin).astype("Int64").where(parent >= 0),
            }
        )

    def write(self, folder: Path, view: str = "everything") -> list[Path]:
        """Write the tables as ``certificates.parquet`` and so on; give the files.

        Parameters
        ----------
        folder : Path
            Made if it is not there.
        view : str
            What of them: one of :data:`certforecast.simulation.views.VIEWS`.

        Raises
        ------
        InputError
            If `folder` is a file, or there is no such view.
        """
        from pyarrow import parquet

        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file; name a folder to write the tables to")
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, table in seen(self.tables(), view, self.seed).items():
            path = folder / f"{name}.parquet"
            parquet.write_table(table, path, compression="zstd", compression_level=19)
            written.append(path)
        return written

    def outcomes(self) -> pd.DataFrame:
        """Give how each renewal ended that ended by the fleet's end.

        Returns
        -------
        pandas.DataFrame
            `fingerprint`, `outcome` and `resolved_at`, in the order of `resolved_at`. A service that is
            retired takes every certificate with it that had no successor in service: `retired`, not `failed`.
        """
        columns = ["lineage", "number", "outcome", "at"]
        frame = pd.concat([self.journal.frame("resolved"), self._retired_unserved()])[columns]
        frame = frame[frame["at"] < self.last_day].sort_values(["at", "lineage", "number"])
        return pd.DataFrame(
            {
                "fingerprint": self._fingerprints(frame["lineage"], frame["number"]),
                "outcome": [OUTCOMES[code] for code in frame["outcome"]],
                "resolved_at": _moments(frame["at"]),
            }
        )

    def truth(self, as_of: datetime, draws: int = 400, *, settled: bool = False) -> pd.DataFrame:
        """Give the true probabilities of the outcomes of every renewal that is open at `as_of`.

        The fleet is played on from the midnight (UTC) at or before `as_of`, `draws` times, with everything
        known that its state holds then (a dead timer, a ticket not filed, an outage) and nothing of what is
        yet to come. The probabilities' standard error is at most ``0.5 / sqrt(draws)``.

        Parameters
        ----------
        as_of : datetime
            The moment.
        draws : int
            How many futures are played.
        settled : bool
            Add the renewals that are over by then, with probability 1 for what became of them. Whoever sees
            only the tables may not know yet that they are over; to compare with a model, they belong in.

        Returns
        -------
        pandas.DataFrame
            `fingerprint`, `p_on_time`, `p_slipped`, `p_failed`, `p_retired`: a row for every certificate that
            is valid at that midnight and has neither a successor in service nor been retired.

        Raises
        ------
        InputError
            If `as_of` lies outside the fleet's history, or `draws` is under 1.
        """
        day = day_of(as_of)
        if not self.first_day <= day <= self.last_day:
            raise InputError(f"as_of {as_of} lies outside the fleet's history, {self.start} to {self.end}")
        if draws < 1:
            raise InputError(f"draws is {draws}; give at least 1")
        lineage, number, outcomes = futures(self.world(day), day, draws, self._rng(_FUTURE, day, draws))
        shares = {f"p_{name}": (outcomes == code).mean(axis=1) for code, name in enumerate(OUTCOMES)}
        open_ = pd.DataFrame({"fingerprint": self._fingerprints(lineage, number), **shares})
        if not settled:
            return open_
        over = self.outcomes()
        over = over[(over["resolved_at"] <= moment_of(day)) & ~over["fingerprint"].isin(open_["fingerprint"])]
        known = {f"p_{name}": (over["outcome"] == name).astype("float64") for name in OUTCOMES}
        return pd.concat([open_, over[["fingerprint"]].assign(**known)], ignore_index=True)

    def world(self, day: int) -> World:
        """Give the world at the beginning of a day, as a copy that may be played on."""
        nearest = max(snapshot for snapshot in self._snapshots if snapshot <= day)
        world = self._snapshots[nearest].copied()
        for passed in range(nearest, day):
            self.live(world, passed)
        return world

    def live(
        self, world: World, day: int, journal: Journal | None = None, split: Flags | None = None
    ) -> Happenings:
        """Let the fleet live through one day, newcomers included.

        Parameters
        ----------
        world : World
            At the beginning of the day; changed in place.
        day : int
            Days since 1970.
        journal : Journal, optional
            Where it is written down.
        split : ndarray of bool, shape (lineages,), optional
            Lineages that somebody else has split today.
        """
        today = step(world, day, self._rng(_DAY, day))
        if journal is not None:
            journal.write(world.state, world.traits, today)
        birth = self.population.birth
        since = day - self.first_day
        present = birth < 0 if since == 0 else np.zeros(len(birth), bool)
        parent = self.population.parent
        splits = today.split if split is None else today.split | split
        from_split = (parent >= 0) & splits[parent]
        newcomers = ~world.state.born & (present | (np.floor(birth) == since) | from_split)
        if newcomers.any():
            not_before = introduce(world, newcomers, np.where(present, self.population.age, 0.0), day)
            if journal is not None:
                journal.enter(world.state, world.traits, newcomers, not_before)
        return today

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, *stream])

    def _play(self) -> None:
        population = self.population
        world = World(
            begin(population),
            population.traits.take(np.arange(len(population))),
            Shocks.begin(population, self.rates),
            Calendar(self.first_day, self.last_day + _CALENDAR_MARGIN),
            self.rates,
            self.policy,
        )
        for day in range(self.first_day, self.last_day):
            if (day - self.first_day) % _SNAPSHOT_DAYS == 0:
                self._snapshots[day] = world.copied()
            self.live(world, day, self.journal)
        self._snapshots[self.last_day] = world.copied()

    def _retired_unserved(self) -> pd.DataFrame:
        """Give certificates that were issued, never served, and had their service retired."""
        issued, retired = self.journal.frame("issued"), self.journal.frame("retired")
        served = self.journal.frame("installed")[["lineage", "number"]].assign(served=True)
        merged = issued.merge(served, on=["lineage", "number"], how="left")
        merged = merged[merged["served"].isna()].merge(
            retired[["lineage", "at"]], on="lineage", suffixes=("", "_end")
        )
        merged["at"] = np.maximum(merged["not_before"], merged["at_end"])
        return merged.assign(outcome=int(Outcome.RETIRED))

    def _fingerprints(
        self, lineage: "pd.Series[int] | np.ndarray", number: "pd.Series[int] | np.ndarray"
    ) -> list[str]:
        return [fingerprint(self.seed, int(one), int(n)) for one, n in zip(lineage, number, strict=True)]


def _moments(days: "pd.Series[float]") -> pd.DatetimeIndex:
    seconds = np.round(days.to_numpy(dtype=float) * 86400).astype("datetime64[s]")
    return pd.DatetimeIndex(seconds.astype("datetime64[us]"), tz=UTC)
