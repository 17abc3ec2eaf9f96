"""Landmark rows of a simulated fleet, as a model is trained on."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from certforecast.simulation.fleet import Fleet

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fleet_frame"]


def fleet_frame(
    fleet: Fleet, every_days: float = 14.0, cache: Path | None = None, view: str = "everything"
) -> "pd.DataFrame":
    """Give the landmark rows of a fleet's whole history.

    Parameters
    ----------
    fleet : Fleet
        Played.
    every_days : float
        Distance of the landmarks, in days.
    cache : Path, optional
        Folder of :class:`~certforecast.features.cache.FeatureCache`.
    view : str
        What is known of it: one of :data:`certforecast.simulation.views.VIEWS`.

    Returns
    -------
    DataFrame of shape (n_rows, n_columns)
        As :func:`certforecast.features.training_frame` gives it, with outcomes as known at the fleet's end.
    """
    from certforecast.features import training_frame
    from certforecast.history import History
    from certforecast.history.sources.tables import TablesSource
    from certforecast.models import landmarks

    with TemporaryDirectory() as folder:
        fleet.write(Path(folder), view)
        with History(Path(folder) / "history.duckdb") as store:
            store.ingest(TablesSource(Path(folder)))
            moments = landmarks(store, fleet.end, every_days)
            return training_frame(store, moments, fleet.end, fleet.policy, cache=cache)
