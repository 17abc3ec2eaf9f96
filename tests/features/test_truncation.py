"""The property everything rests on: what is known later changes nothing, to the last bit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import ibis
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certforecast.features import features, training_frame
from certforecast.history import History
from certforecast.history.schema import TABLES
from certforecast.history.sources import Batch
from certforecast.history.tables import Tables
from certforecast.renewals import renewals
from tests.timeline import Timeline, day

NAMES = ["a.shop.example", "b.shop.example", "c.other.example"]
HOSTS = ["h1", "h2", NAMES[0]]
SPAN = 400

ages = st.integers(0, SPAN).map(float)
delays = st.sampled_from([0.0, 0.0, 0.01, 1.0, 7.0, 90.0])
name_sets = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True)


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    """Draw a small, crowded history with late-arriving rows and an odd clock here and there."""
    timeline = Timeline()
    certificates = []
    for number in range(draw(st.integers(2, 8))):
        issued = draw(ages)
        certificates.append(
            timeline.certificate(
                f"c{number}",
                draw(name_sets),
                issued,
                days=draw(st.sampled_from([6.0, 47.0, 90.0, 398.0])),
                known=issued + draw(delays) - draw(st.sampled_from([0.0, 0.0, 2.0])),
                issuer_org=draw(st.sampled_from(["One", "Two"])),
                spki_hash=draw(st.sampled_from(["k1", "k2"])),
            )
        )
    for _ in range(draw(st.integers(0, 25))):
        at = draw(ages)
        served = draw(st.sampled_from([*certificates, None]))
        status = draw(st.sampled_from(["valid", "wrong_name"]))
        timeline.look(
            at,
            served,
            draw(st.sampled_from(HOSTS)),
            error=None if served else draw(st.sampled_from(["dns", "timeout"])),
            known=at + draw(delays),
            chain_status=status if served else None,
        )
    kinds = ["challenge_failed", "order_failed", "reload_failed", "retired", "issued"]
    for _ in range(draw(st.integers(0, 6))):
        at = draw(ages)
        timeline.event(
            at,
            draw(st.sampled_from(NAMES)),
            draw(st.sampled_from(kinds)),
            code=draw(st.sampled_from(["dns", "caa", None])),
            known_at=day(at + draw(delays)),
        )
    if draw(st.booleans()):
        at = draw(ages)
        timeline.event(
            at,
            NAMES[0],
            "order_created",
            source="executor",
            fingerprint=draw(st.sampled_from(certificates)),
            known_at=day(at + draw(delays)),
        )
    for host in draw(st.lists(st.sampled_from(HOSTS), unique=True)):
        start = draw(ages)
        timeline.batch.hosts.append(
            {
                "host": host,
                "owner": draw(st.sampled_from(["ops", "web"])),
                "criticality": draw(st.sampled_from([0.1, 0.9, None])),
                "automation": draw(st.sampled_from(["timer", None])),
                "valid_from": day(start),
                "valid_to": draw(st.sampled_from([None, day(start + 100)])),
                "known_at": day(start + draw(delays) - draw(st.sampled_from([0.0, 60.0]))),
            }
        )
    return timeline


def cut(history: History, as_of: float) -> History:
    """Copy the rows known by then into a store of their own: the store as it stood."""
    rows = {
        name: table.filter(table.known_at <= day(as_of)).to_pyarrow().to_pylist()
        for name, table in zip(TABLES, history.tables(), strict=True)
    }
    then = History(None)
    then.append(Batch(**rows))
    return then


@given(timelines(), st.integers(1, SPAN).map(lambda n: n + 0.5), st.integers(1, SPAN).map(float))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_known_later_changes_nothing(timeline: Timeline, as_of: float, other: float) -> None:
    with timeline.history() as everything, cut(everything, as_of) as past:
        pd.testing.assert_frame_equal(
            renewals(everything, day(as_of)), renewals(past, day(as_of)), check_exact=True
        )
        then = features(past, day(as_of))
        # In one pass with another moment, and among rows that come later: the same, bit for bit.
        both = training_frame(everything, [day(as_of), day(other)], until=day(SPAN * 2))
        now = both[both["as_of"] == day(as_of)][list(then.columns)].reset_index(drop=True)
        pd.testing.assert_frame_equal(now, then, check_exact=True)


def test_the_property_sees_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the gate left open, a row that is known later shows: the property above is no tautology."""
    timeline = Timeline()
    timeline.certificate("a", NAMES[0], 0)
    timeline.certificate("b", NAMES[0], 30, known=200)
    with timeline.history() as everything, cut(everything, 50) as past:
        honest = features(past, day(50))
        assert features(everything, day(50)).equals(honest)
        gate = Tables.at
        monkeypatch.setattr(Tables, "at", lambda tables, moments: _open_gate(gate, tables, moments))
        assert not features(everything, day(50)).equals(honest)


def _open_gate(gate: Any, tables: Tables, moments: Sequence[datetime]) -> Tables:
    long_ago = [
        table.mutate(really=table.known_at, known_at=table.known_at - ibis.interval(days=10_000))
        for table in tables
    ]
    return Tables(*(t.mutate(known_at=t.really).drop("really") for t in gate(Tables(*long_ago), moments)))
