"""A small fleet has forecasts on its first day, and they are sane."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from certforecast.features import FEATURES
from certforecast.history import History
from certforecast.history.sources.tables import TablesSource
from certforecast.models import OutcomePool, forecast
from certforecast.simulation import Fleet


def test_thirty_services_nobody_knows_anything_of_are_forecast_sanely(tmp_path: Path) -> None:
    fleet = Fleet(41, 30, years=0.4)
    first = fleet.start + timedelta(days=21)
    fleet.write(tmp_path / "tables")
    with History(None) as history:
        history.ingest(TablesSource(tmp_path / "tables"))
        nothing = pd.DataFrame(columns=list(FEATURES), dtype="float64")
        rows = forecast(history, OutcomePool().fit(nothing, []), first)
    assert len(rows) >= 25
    truth = fleet.truth(first, 100, settled=True).set_index("fingerprint").reindex(rows["fingerprint"])
    late, truly = rows["p_slipped"] + rows["p_failed"], truth["p_slipped"] + truth["p_failed"]
    for said, true in ((rows["p_failed"], truth["p_failed"]), (late, truly)):
        assert said.between(0.0005, 0.95).all()
        assert said.nunique() > 10
        assert abs(said.mean() - true.mean()) < 0.08
    # The likelier half is truly the likelier: it knows how days left and lateness go with failure.
    worse = np.argsort(late.to_numpy())[len(rows) // 2 :]
    assert truly.to_numpy()[worse].mean() > truly.mean()
