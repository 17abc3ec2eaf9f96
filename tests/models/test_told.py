"""What a prior says, as columns, and read back from them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from certforecast.models.told import TOLD, Told, told


def test_what_is_told_can_be_read_back() -> None:
    X = pd.DataFrame({"x": np.linspace(-3, 3, 60)}, index=range(7, 67))
    model = LogisticRegression().fit(X, np.where(X["x"] > 0, "failed", "on_time"))
    columns = told(model, X)
    assert list(columns) == [f"{TOLD}failed", f"{TOLD}on_time"]
    assert (columns.index == X.index).all()
    read = Told(["failed", "on_time"])
    assert read.predict_proba(columns) == pytest.approx(model.predict_proba(X), abs=1e-4)
    assert list(read.classes_) == list(model.classes_)
    assert told(model, X.iloc[:0]).shape == (0, 2)


def test_the_impossible_is_told_as_unlikely() -> None:
    X = pd.DataFrame({"x": [-50.0, 50.0] * 10})
    model = LogisticRegression(C=1e6).fit(X, ["a", "b"] * 10)
    assert told(model, X).to_numpy().min() >= np.log(1e-4)
