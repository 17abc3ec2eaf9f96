"""Model files: what was saved comes back, what is not a model is refused before it is opened."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LinearRegression

from certforecast.errors import ModelError
from certforecast.features import FEATURES
from certforecast.models import OutcomeClassifier, load_model, model_metadata, save_model


@pytest.fixture(scope="module")
def fitted() -> tuple[OutcomeClassifier, pd.DataFrame]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            name: rng.choice(["x", "y"], 300) if feature.kind == "category" else rng.normal(size=300)
            for name, feature in FEATURES.items()
        }
    )
    y = np.where(frame["days_left"] < 0, "failed", "on_time")
    return OutcomeClassifier(max_iter=10).fit(frame, y), frame


@pytest.fixture
def saved(fitted: Any, tmp_path: Path) -> Path:
    path = tmp_path / "model.skops"
    save_model(fitted[0], path, {"as_of": "2026-10-01"})
    return path


def test_a_model_comes_back_bit_for_bit(fitted: Any, saved: Path) -> None:
    model, frame = fitted
    assert (load_model(saved).predict_proba(frame) == model.predict_proba(frame)).all()
    about = model_metadata(saved)
    assert about["as_of"] == "2026-10-01"
    assert about["features"] == list(FEATURES)


def rewrite(path: Path, change: Any) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(parts["certforecast.json"])
    change(about)
    parts["certforecast.json"] = json.dumps(about).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def test_what_is_no_model_is_refused(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no model at"):
        load_model(tmp_path / "missing.skops")
    garbage = tmp_path / "garbage.skops"
    garbage.write_bytes(b"garbage")
    with pytest.raises(ModelError, match="is not a model file"):
        load_model(garbage)
    foreign = tmp_path / "foreign.skops"
    skops.io.dump(LinearRegression(), foreign)
    with pytest.raises(ModelError, match="is not a model file"):
        load_model(foreign)


def test_a_newer_format_and_other_features_are_refused(saved: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer.skops"
    shutil.copy(saved, newer)
    rewrite(newer, lambda about: about.update(format=99))
    with pytest.raises(ModelError, match=r"format 99.*upgrade certforecast"):
        load_model(newer)
    rewrite(saved, lambda about: about["features"].append("moon_phase"))
    with pytest.raises(ModelError, match=r"other features.*moon_phase"):
        load_model(saved)


def test_a_file_that_says_nothing_sensible_of_its_features_is_refused(saved: Path) -> None:
    rewrite(saved, lambda about: about.pop("features"))
    with pytest.raises(ModelError, match="other features"):
        load_model(saved)
    rewrite(saved, lambda about: about.update(features=3))
    with pytest.raises(ModelError, match="is not a model file"):
        load_model(saved)


def test_a_type_that_has_no_place_in_a_model_is_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])
    schema["__module__"], schema["__class__"] = "subprocess", "Popen"
    parts["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(saved, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    with pytest.raises(ModelError, match=r"no place in a model: .*subprocess\.Popen"):
        load_model(saved)
