"""A made-up fleet whose failures depend on two features, and plain models of it."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import pandas as pd
import pytest

from certforecast.evaluation import BacktestResult, backtest, default_cutoffs
from certforecast.features import FEATURES

START = pd.Timestamp("2024-01-01", tz="UTC").as_unit("us")
OUTCOMES = np.array(["on_time", "slipped", "failed", "retired"])
P_COLUMNS = [f"p_{name}" for name in OUTCOMES]


def days(numbers: object) -> pd.TimedeltaIndex:
    return pd.to_timedelta(numbers, unit="D").round("us").as_unit("us")


def make_frame(seed: int = 0, lineages: int = 60) -> pd.DataFrame:
    """Make landmark rows like those of `training_frame`: 90-day certificates, a landmark every 20 days."""
    rng = np.random.default_rng(seed)
    number = np.repeat(np.arange(lineages), 6)
    issued = rng.uniform(0, 90, lineages)[number] + np.tile(np.arange(6) * 85.0, lineages)
    danger = rng.random(lineages)[number]
    failed = 0.5 * danger**2
    shares = np.column_stack([0.9 - failed, np.full(len(number), 0.08), failed, np.full(len(number), 0.02)])
    outcome = OUTCOMES[(rng.random(len(number))[:, None] > shares.cumsum(axis=1)).sum(axis=1).clip(max=3)]
    resolved = issued + np.where(outcome == "on_time", 60 + 20 * rng.random(len(number)), 91.0)
    renewals = pd.DataFrame(
        {
            "fingerprint": [f"f{row:04d}" for row in rng.permutation(len(number))],
            "lineage": [f"l{row}" for row in number],
            "name": "a.example",
            "not_before": START + days(issued),
            "not_after": START + days(issued + 90),
            "due": START + days(issued + 60),
            **dict.fromkeys(FEATURES, 0.0),
            "outcome": outcome,
            "resolved_at": START + days(resolved),
            "intervention": rng.random(len(number)) < 0.05,
        }
    )
    renewals["lineage_failed_rate"] = danger
    renewals["in_service_at"] = renewals["resolved_at"].where(np.isin(outcome, ["on_time", "slipped"]))
    renewals["issuer_org"] = np.where(number % 3 == 0, "Rare Trust", "Common Trust")
    renewals["owner"] = np.where(danger > 0.7, "careless", np.where(danger < 0.1, None, "careful"))
    renewals["criticality"] = np.where(number % 2 == 0, 0.2, np.nan)
    renewals["validity_profile"] = "90 days"
    moments = pd.DataFrame({"as_of": START + days(np.arange(0, 600, 20.0))})
    frame = moments.merge(renewals, how="cross")
    frame = frame[(frame["as_of"] >= frame["not_before"]) & (frame["as_of"] < frame["resolved_at"])]
    frame["days_left"] = (frame["not_after"] - frame["as_of"]) / pd.Timedelta(days=1)
    frame["days_to_slip"] = frame["days_left"] - 9
    until = START + days([560])[0]
    frame = frame[frame["as_of"] <= until].reset_index(drop=True)
    unknown = frame["resolved_at"] > until
    frame.loc[unknown, "outcome"] = "open"
    frame.loc[unknown, ["resolved_at", "in_service_at"]] = pd.NaT
    return frame


class Shares:
    """The overall shares of the outcomes, scaled by how dangerous the lineage is beside the mean."""

    def fit(self, X: pd.DataFrame, y: np.ndarray, sample_weight: np.ndarray | None = None) -> Self:
        self.shares = np.array([np.average(y == name, weights=sample_weight) for name in OUTCOMES])
        self.danger = float(np.average(X["lineage_failed_rate"], weights=sample_weight))
        return self

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        failed = (self.shares[2] * X["lineage_failed_rate"].to_numpy() / self.danger).clip(0, 1)
        rest = self.shares / (1 - self.shares[2])
        table = (1 - failed)[:, None] * rest
        table[:, 2] = failed
        return pd.DataFrame(table, X.index, P_COLUMNS)


class Constant(Shares):
    """The overall shares, for every row."""

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(np.tile(self.shares, (len(X), 1)), X.index, P_COLUMNS)


class Timed(Shares):
    """As often as `Shares` says; what is renewed is so between 10 and 30 days before the expiry, evenly."""

    def predict_incidence(self, X: pd.DataFrame, times: Sequence[float]) -> np.ndarray:
        left = X["days_left"].to_numpy()[:, None]
        renewed = np.clip((np.asarray(times) - (left - 30)) / np.minimum(20, left), 0, 1)
        over = np.asarray(times) >= left
        parts = np.stack([renewed, over, over, over], axis=1)
        return self.proba_frame(X).to_numpy()[:, :, None] * parts

    def predict_interval(self, X: pd.DataFrame) -> pd.DataFrame:
        left = X["days_left"]
        return pd.DataFrame({"low": (left - 29).clip(0), "median": left - 20, "high": left - 11})


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return make_frame()


@pytest.fixture(scope="session")
def result(frame: pd.DataFrame) -> BacktestResult:
    return backtest(frame, {"danger": Shares, "constant": Constant}, default_cutoffs(frame, 3), k=5)


@pytest.fixture(scope="session")
def timed(frame: pd.DataFrame) -> BacktestResult:
    return backtest(frame, {"timed": Timed, "constant": Constant}, default_cutoffs(frame, 3), k=5)
