"""Landmark rows of simulated fleets for benchmarks, kept in a folder once played."""

from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed  # noqa: TID253 (a script of its own)

from certforecast.models.training import trainable
from certforecast.policy import RenewalPolicy
from certforecast.simulation import Fleet, Rates
from certforecast.simulation.frames import fleet_frame

__all__ = ["fleet_rows", "fleet_start", "settled_rows"]

#: How far rates are drawn apart, as in benchmarks/accuracy.py.
SPREAD = 0.6


def fleet_rows(
    seed: int, count: int, lineages: int, cache: Path, every_days: float = 42.0
) -> list[pd.DataFrame]:
    """Give the landmark rows of fleets that share the rates of `seed`, one frame a fleet.

    Parameters
    ----------
    seed : int
        Of the rates; the fleets' own are ``1000 * seed + number``.
    count : int
        How many.
    lineages : int
        Of each fleet.
    cache : Path
        Folder of ``SEED-NUMBER.parquet``; what is missing is played, some 35 s for 360 lineages on one core.
    every_days : float
        Distance of the landmarks.
    """
    cache.mkdir(parents=True, exist_ok=True)
    rates = Rates.varied(seed, SPREAD)
    paths = [cache / f"{seed}-{number}.parquet" for number in range(count)]
    missing = [(1000 * seed + number, path) for number, path in enumerate(paths) if not path.exists()]
    if missing:
        Parallel(n_jobs=-1)(delayed(_play)(own, lineages, rates, every_days, path) for own, path in missing)
    return [pd.read_parquet(path) for path in paths]


def settled_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Give the rows whose outcome would be known by the end whatever it is."""
    return frame[trainable(frame, frame["resolved_at"].max(), RenewalPolicy())].reset_index(drop=True)


def fleet_start() -> pd.Timestamp:
    """Give the first day of a fleet's history: what is older was learned from logs."""
    return pd.Timestamp(Fleet(0, 10, years=3.0).start).as_unit("us")


def _play(seed: int, lineages: int, rates: Rates, every_days: float, path: Path) -> None:
    fleet_frame(Fleet(seed, lineages, rates=rates), every_days).to_parquet(path)
