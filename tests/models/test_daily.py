"""The reference for forecasts of when."""

import numpy as np
import pandas as pd
import pytest

from certforecast.models.daily import DailyShares
from certforecast.models.training import fit_rows
from certforecast.policy import RenewalPolicy
from tests.evaluation.conftest import make_frame


def test_shares_by_day_by_hand() -> None:
    ended = pd.DataFrame({"duration": [5.0, 10.0, 20.0, 30.0]})
    y = ["on_time", "on_time", "failed", "retired"]
    model = DailyShares().fit(None, y, [2, 1, 1, 0], landmarks=ended)
    X = pd.DataFrame(index=[7, 9])
    assert model.proba_frame(X).loc[7].tolist() == [0.75, 0, 0.25, 0]
    given = model.predict_incidence(X, [1, 5, 25])
    assert given.shape == (2, 4, 3)
    np.testing.assert_allclose(given[0], [[0, 0.5, 0.75], [0, 0, 0], [0, 0, 0.25], [0, 0, 0]])
    with pytest.raises(ValueError, match="duration"):
        DailyShares().fit(None, y)


def test_it_is_told_when_renewals_ended() -> None:
    frame = make_frame()
    rows = frame[frame["outcome"] != "open"]
    model = fit_rows(DailyShares(), rows, RenewalPolicy())
    given = model.predict_incidence(rows.head(1), [1, 30, 1000])[0]
    assert (np.diff(given, axis=1) >= 0).all()
    np.testing.assert_allclose(given[:, -1], list(model.shares_.values()))
    assert given.sum(axis=0)[-1] == pytest.approx(1)
