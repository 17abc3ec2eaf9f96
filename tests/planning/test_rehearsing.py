"""Which renewals are worth a rehearsal, and in which order."""

import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.features import features
from certforecast.history import History
from certforecast.planning import Candidate, choose_rehearsals, named_rehearsals
from certforecast.planning.rehearsing import gain
from certforecast.settings import CostSettings, EffectSettings, RehearsalSettings, Settings
from tests.timeline import Timeline, day

SETTINGS = Settings(
    issuers={"ca": {"kind": "embedded", "directory": "ca"}, "other": {"kind": "embedded", "directory": "x"}},
    installers={"web": {"kind": "files", "certificate": "/x/{name}.pem", "key": "/x/{name}.key"}},
    executor={"issuer": "ca", "installer": "web"},
)

days = st.floats(-200, 200)
Four = tuple[float, float, float, float]


def forecasts(history: History, at: float, probabilities: dict[str, Four] | None = None) -> pd.DataFrame:
    """Give a small history forecasts (on time, slipped, failed, retired) by fingerprint."""
    frame = features(history, day(at))
    given = [(probabilities or {}).get(key, (0.4, 0.2, 0.4, 0.0)) for key in frame["fingerprint"]]
    columns = ["p_on_time", "p_slipped", "p_failed", "p_retired"]
    return pd.concat([frame, pd.DataFrame(given, columns=columns)], axis=1)


def choose(timeline: Timeline, at: float, probabilities: dict[str, Four] | None = None) -> list[Candidate]:
    with timeline.history() as history:
        return choose_rehearsals(history, forecasts(history, at, probabilities), day(at), SETTINGS)


def names(chosen: list[Candidate]) -> list[str]:
    return [candidate.name for candidate in chosen]


def test_the_likeliest_to_fail_come_first_and_what_is_not_worth_it_is_left_out() -> None:
    timeline = Timeline()
    keys = {label: timeline.certificate(label, f"{label}.test", 0) for label in "abcd"}
    odds: dict[str, Four] = {
        keys["a"]: (0.9, 0.0, 0.1, 0.0),
        keys["b"]: (0.1, 0.0, 0.9, 0.0),
        keys["c"]: (1.0, 0.0, 0.0, 0.0),
        keys["d"]: (0.5, 0.0, 0.5, 0.0),
    }
    chosen = choose(timeline, 40, odds)
    assert names(chosen) == ["b.test", "d.test", "a.test"]
    first = chosen[0]
    assert (first.issuer, first.installer, first.cost) == ("ca", "web", SETTINGS.costs.rehearse)
    assert first.reasons == (
        "slips or fails with 90%, which is expected to cost 450",
        "due in 20 days",
        "not rehearsed yet",
    )
    assert first.gain == pytest.approx(450 * 0.5 * 0.8 * math.exp(-20 / 30))


def test_how_critical_it_is_and_what_its_host_uses_come_from_the_inventory() -> None:
    timeline = Timeline()
    for label in "ab":
        timeline.certificate(label, f"{label}.test", 0)
    timeline.batch.hosts.append(
        {"host": "b.test", "criticality": 1.0, "issuer": "other", "valid_from": day(0), "known_at": day(0)}
    )
    chosen = choose(timeline, 40)
    assert [(one.name, one.issuer) for one in chosen] == [("b.test", "other"), ("a.test", "ca")]


def test_who_was_rehearsed_lately_waits_and_is_told_apart() -> None:
    timeline = Timeline()
    for label in "abc":
        timeline.certificate(label, f"{label}.test", 0)
    timeline.event(39, "a.test", "rehearsed")
    timeline.event(20, "b.test", "rehearsed", code="caa")
    chosen = choose(timeline, 40)
    assert names(chosen) == ["c.test", "b.test", "a.test"]
    assert "its last rehearsal, 20 days ago, found something" in chosen[1].reasons
    assert "last rehearsed 1 day ago" in chosen[2].reasons
    # What was known later is not known yet.
    assert all("not rehearsed yet" in one.reasons for one in choose(timeline, 19))


def test_ties_are_broken_the_same_way_whatever_the_order() -> None:
    timeline = Timeline()
    for label in "abcdefgh":
        timeline.certificate(label, f"{label}.test", 0)
    with timeline.history() as history:
        rows = forecasts(history, 40)
        expected = choose_rehearsals(history, rows, day(40), SETTINGS)
        assert len(expected) == 8
        assert choose_rehearsals(history, rows, day(40), SETTINGS, 3) == expected[:3]
        shuffled = rows.sample(frac=1.0, random_state=7)
        assert choose_rehearsals(history, shuffled, day(40), SETTINGS) == expected
        # What has neither issuer nor installer cannot be rehearsed.
        assert choose_rehearsals(history, rows, day(40), Settings()) == []


def test_a_lineage_is_rehearsed_once() -> None:
    timeline = Timeline()
    old = timeline.certificate("old", "a.test", 0)
    timeline.looks(1, 75, old)
    timeline.certificate("new", "a.test", 65)  # issued, not served: both are open
    assert names(choose(timeline, 70)) == ["a.test"]


def test_by_name_the_latest_certificate_is_found_however_it_is_called() -> None:
    timeline = Timeline()
    timeline.certificate("old", ["a.test", "b.test"], 0)
    new = timeline.certificate("new", ["a.test", "b.test"], 60)
    with timeline.history() as history:

        def found(*wanted: str) -> list[str]:
            return [one.fingerprint for one in named_rehearsals(history, wanted, day(70), SETTINGS)]

        assert found("b.test") == found("A.test") == found(new[:8]) == found("a.test", "b.test") == [new]
        with pytest.raises(InputError, match=r"c\.test"):
            found("a.test", "c.test")
        (one,) = named_rehearsals(history, ["b.test"], day(70), SETTINGS)
        assert (one.gain, one.names) == (None, ("a.test", "b.test"))


def settings_with(lasting: float, rehearse: float, fix: float) -> Settings:
    return Settings(
        effects=EffectSettings(rehearse=rehearse, fix=fix),
        rehearsal=RehearsalSettings(lasting_days=lasting),
        costs=CostSettings(),
    )


@pytest.mark.parametrize(
    ("to_due", "to_slip", "since", "averted"),
    [
        (0.0, 20.0, None, 45.0),
        (-10.0, 10.0, None, 22.5),  # half-way from due to the slip point
        (-20.0, 0.0, None, 0.0),
        (30.0, 50.0, None, 45.0 / math.e),
        (0.0, 20.0, 30.0, 45.0 * (1 - 1 / math.e)),
        (0.0, 20.0, 0.0, 0.0),
    ],
)
def test_what_a_rehearsal_averts(to_due: float, to_slip: float, since: float | None, averted: float) -> None:
    settings = settings_with(lasting=30.0, rehearse=0.5, fix=0.9)
    known = {"days_to_due": to_due, "days_to_slip": to_slip, "since_rehearsal": since}
    assert gain(100.0, **known, settings=settings) == pytest.approx(averted)  # type: ignore[arg-type]


@given(
    loss=st.floats(0, 1e6),
    due=days,
    until_slip=st.floats(0.01, 100),
    since=st.none() | st.floats(0, 400),
    lasting=st.floats(0.5, 100),
)
def test_a_rehearsal_never_averts_more_than_there_is_and_less_the_less_it_can_tell(
    loss: float, due: float, until_slip: float, since: float | None, lasting: float
) -> None:
    settings = settings_with(lasting, 0.5, 0.9)

    def averted(**changes: Any) -> float:
        values = {"days_to_due": due, "days_to_slip": due + until_slip, "since_rehearsal": since} | changes
        return gain(loss, settings=settings, **values)

    value = averted()
    assert 0.0 <= value <= 0.45 * loss
    assert value <= averted(since_rehearsal=None)  # a rehearsal before only takes away
    if since is not None:
        assert value <= averted(since_rehearsal=since + 1.0)
    assert averted(days_to_slip=-0.1) == 0.0
    # Later is less, once it is due.
    if due <= 0:
        assert averted(days_to_due=due - 1.0, days_to_slip=due - 1.0 + until_slip) <= value
