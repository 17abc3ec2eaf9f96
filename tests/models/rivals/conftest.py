"""Renewals whose fate is known to follow from two features."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from certforecast.features import FEATURES
from certforecast.models.training import fit_rows
from certforecast.policy import RenewalPolicy

START = pd.Timestamp("2025-01-01", tz="UTC")


class Renewals(NamedTuple):
    """Landmark rows, as `training_frame` gives them, with the few features drawn."""

    frame: pd.DataFrame

    @property
    def inputs(self) -> pd.DataFrame:
        return self.frame[[name for name in FEATURES if name in self.frame]]

    def fitted(self, model: Any) -> Any:
        return fit_rows(model, self.frame, RenewalPolicy())


def drawn(rows: int, seed: int) -> Renewals:
    """Draw rows 30 to 60 days before the expiry. The issuer "Slow" renews 25 days later than "Fast"; what is
    renewed by the expiry is not failed, else 3 of 4 are.
    """
    rng = np.random.default_rng(seed)
    left = rng.uniform(30, 60, rows)
    slow = rng.random(rows) < 0.5
    lag = np.clip(rng.gamma(4, 4, rows) + np.where(slow, 25, 0), 0.1, None)
    retired = rng.random(rows) < 0.25
    slip = left - 9
    outcome = np.where(
        lag < slip, "on_time", np.where(lag < left, "slipped", np.where(retired, "retired", "failed"))
    )
    as_of = START + pd.to_timedelta(np.sort(rng.uniform(0, 700, rows)), "D")

    def days(count: np.ndarray) -> pd.Series:
        return pd.Series(as_of + pd.to_timedelta(count, "D")).astype("datetime64[us, UTC]")

    frame = pd.DataFrame(
        {
            "as_of": pd.Series(as_of).astype("datetime64[us, UTC]"),
            "not_after": days(left),
            "fingerprint": [*map(str, range(rows))],
            "days_left": left,
            "days_to_slip": slip,
            "margin_last": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows)),
            "issuer_org": pd.Series(np.where(slow, "Slow", "Fast"), dtype="str"),
            "attempts_failed_month": rng.poisson(1, rows).astype(float),
            "outcome": outcome,
            "resolved_at": days(np.minimum(lag, left)),
            "in_service_at": days(lag).where(lag < left),
            "intervention": False,
        }
    )
    return Renewals(frame)


@pytest.fixture(scope="session")
def renewals() -> Renewals:
    return drawn(500, seed=0)


@pytest.fixture(scope="session")
def later() -> Renewals:
    return drawn(400, seed=1)
