"""What 'predict --by' says: how likely each renewal is to have come by a date."""

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from certforecast.errors import InputError, ModelError
from certforecast.features import FEATURES
from certforecast.history import History
from certforecast.models import OutcomeClassifier, OutcomePool, forecast, save_model
from certforecast.models.forecasting import chances_by
from certforecast.models.timing import RenewalTimes
from tests.cli.conftest import Shell
from tests.models.test_saved import fitted
from tests.timeline import Timeline, day

__all__ = ["fitted"]

AS_OF = f"{day(70):%Y-%m-%d}"
BY = f"{day(80):%Y-%m-%d}"


def first_day() -> OutcomePool:
    """A pool that has learned nothing yet, and says when."""
    nothing = pd.DataFrame(columns=list(FEATURES), dtype="float64")
    known = pd.DataFrame(columns=["as_of", "settled", "fingerprint", "event", "duration"])
    return OutcomePool(times=RenewalTimes()).fit(nothing, [], landmarks=known)


def small() -> Timeline:
    """Three certificates; of one the expiry comes before `BY`, at day 75."""
    timeline = Timeline()
    for label, issued in (("a", 20), ("b", 5), ("c", -15)):
        timeline.certificate(label, f"{label}.test", issued)
    return timeline


@pytest.fixture
def stocked(empty: Shell) -> Shell:
    with History(empty.home / "history.duckdb") as history:
        history.append(small().batch)
    save_model(first_day(), empty.home / "models" / "champion.skops", key=empty.home)
    return empty


def test_the_chances_by_a_date_are_those_of_the_model(stocked: Shell) -> None:
    rows = stocked.json("predict", "--as-of", AS_OF, "--by", BY)
    assert len(rows) == 3
    with History(stocked.home / "history.duckdb") as history:
        model = first_day()
        made = forecast(history, model, day(70)).set_index("fingerprint")
    incidence = dict(
        zip(made.index, model.predict_incidence(made[list(FEATURES)], [10.0])[:, :, 0], strict=True)
    )
    for row in rows:
        on_time, slipped, failed, retired = incidence[row["fingerprint"]]
        assert row["renewed_by"] == pytest.approx(on_time + slipped)
        assert (row["failed_by"], row["retired_by"]) == pytest.approx((failed, retired))
    over = [row for row in rows if row["name"] == "c.test"]
    assert over[0]["failed_by"] == pytest.approx(over[0]["p_failed"])
    assert {row["failed_by"] for row in rows if row["name"] != "c.test"} == {0.0}
    shown = stocked("predict", "--as-of", AS_OF, "--by", BY, "--limit", "2")
    assert f"renewed by {BY}\n" in shown
    assert f" {rows[0]['renewed_by']:.1%}\n" in shown


def test_what_has_no_answer_is_refused(
    stocked: Shell, tmp_path: Path, fitted: tuple[OutcomeClassifier, pd.DataFrame]
) -> None:
    for by in (AS_OF, "2020-01-01"):
        said = stocked.complaint("predict", "--as-of", AS_OF, "--by", by)
        assert f"--by {by} does not come after {AS_OF} 00:00 UTC: give a later time" in said
    assert "--by 'friday' is not an ISO 8601 time" in stocked.complaint("predict", "--by", "friday")
    both = stocked.complaint("predict", "--as-of", AS_OF, "--by", BY, "--explain", "a.test")
    assert "give one of them at a time" in both
    save_model(fitted[0], tmp_path / "untimed.skops", key=stocked.home)
    untimed = ("--model", str(tmp_path / "untimed.skops"))
    said = stocked.complaint("predict", "--as-of", AS_OF, "--by", BY, *untimed, expected=3)
    assert "this OutcomeClassifier says what becomes of renewals, not when: train one that does" in said


def test_in_the_end_everything_has_come_about_and_of_nothing_there_are_no_chances() -> None:
    model = first_day()
    with small().history() as history:
        made = forecast(history, model, day(70))
        none = forecast(history, model, day(400))
    assert none.empty
    sure = chances_by(model, made, day(5000))
    assert sure["renewed_by"].to_numpy() == pytest.approx(made["p_on_time"] + made["p_slipped"])
    assert list(chances_by(model, none, day(500))) == ["renewed_by", "failed_by", "retired_by"]
    with pytest.raises(InputError, match="does not come after 2025-03-12 00:00 UTC"):
        chances_by(model, made, datetime(2025, 3, 11, tzinfo=UTC))
    with pytest.raises(TypeError, match="'2025-04-01' is no datetime"):
        chances_by(model, made, "2025-04-01")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="not when"):
        chances_by(OutcomePool().fit(made[list(FEATURES)].iloc[:0], []), made, day(80))
