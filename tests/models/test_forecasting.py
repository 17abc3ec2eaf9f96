"""Forecasts for every open renewal, by models of today and of before."""

import pandas as pd

from certforecast.features import FEATURES, features
from certforecast.models import OutcomeClassifier, forecast
from tests.timeline import Timeline, day


def test_a_model_of_before_a_feature_was_added_forecasts_without_it() -> None:
    timeline = Timeline()
    for label in "abcdef":
        timeline.certificate(label, f"{label}.test", ord(label) - ord("a"))
    timeline.event(30, "a.test", "rehearsed", code="caa")
    with timeline.history() as history:
        frame = features(history, day(40))
        before = [name for name in FEATURES if name not in ("rehearsal_failed", "days_since_rehearsal")]
        known = pd.concat([frame[before]] * 20, ignore_index=True)
        model = OutcomeClassifier("boosted").fit(known, ["on_time", "failed"] * (len(known) // 2))
        made = forecast(history, model, day(40))
    assert list(made["rehearsal_failed"].notna()) == list(made["name"] == "a.test")
    pd.testing.assert_series_equal(made["p_failed"], model.proba_frame(frame[before])["p_failed"])
