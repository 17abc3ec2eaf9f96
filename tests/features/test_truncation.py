"""The property everything rests on: what is known later changes nothing, to the last bit."""

import random
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import certforecast.features.churn
import certforecast.features.lag
from certforecast.features import features, training_frame
from certforecast.features.context import Context
from certforecast.history import History
from certforecast.history.schema import TABLES
from certforecast.history.sources import Batch
from certforecast.history.tables import Tables
from certforecast.renewals import renewals
from certforecast.renewals.computing import forget
from certforecast.renewals.engine import keep
from tests.timeline import Timeline, day

SPAN = 400

#: Tables as lists of rows, as sources tell them: a fact may be told more than once.
Rows = dict[str, list[dict[str, Any]]]

ages = st.integers(0, SPAN).map(float)
delays = st.sampled_from([0.0, 0.0, 0.01, 1.0, 7.0, 90.0])
skews = st.sampled_from([0.0, 0.0, 0.0, 2.0])
kinds_of_key = st.sampled_from(["RSA", "ECDSA", None])
KINDS = [
    *("challenge_failed", "order_failed", "reload_failed", "installed", "verified", "retired", "revoked"),
    *("rehearsed", "rehearsed"),
]


@st.composite
def worlds(draw: st.DrawFn) -> Rows:
    """Draw several small, crowded histories side by side: five cost little more than one."""
    timeline = Timeline()
    for number in range(draw(st.integers(1, 5))):
        _world(draw, timeline, f"w{number}")
    rows: Rows = {name: list(getattr(timeline.batch, name)) for name in TABLES}
    _tell_again(draw, rows)
    return rows


def _world(draw: st.DrawFn, timeline: Timeline, world: str) -> None:
    shop = f"{world}-shop.example"
    names = [f"a.{shop}", f"b.{shop}", f"c.{shop}", f"*.{shop}", f"a.{world}-other.example"]
    hosts = [f"{world}-h1", f"{world}-h2", names[0]]
    clients = [names[0], f"{world}/client", names[1]]
    certificates = []
    for number in range(draw(st.integers(1, 7))):
        issued = draw(ages)
        certificates.append(
            timeline.certificate(
                f"{world}-c{number}",
                draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True)),
                issued,
                days=draw(st.sampled_from([6.0, 47.0, 90.0, 398.0])),
                known=issued + draw(delays) - draw(skews),
                issuer_org=draw(st.sampled_from(["One", "Two"])),
                key_algorithm=draw(kinds_of_key),
                spki_hash=draw(st.sampled_from([f"{world}-k1", f"{world}-k2", "shared", None])),
            )
        )
    for _ in range(draw(st.integers(0, 20))):
        at = draw(ages)
        served = draw(st.sampled_from([*certificates, None]))
        status = draw(st.sampled_from(["valid", "valid", "wrong_name"]))
        timeline.look(
            at,
            served,
            draw(st.sampled_from(hosts)),
            error=None if served else draw(st.sampled_from(["dns", "timeout"])),
            known=at + draw(delays) - draw(skews),
            chain_status=status if served else None,
        )
    for _ in range(draw(st.integers(0, 6))):
        at = draw(ages)
        timeline.event(
            at,
            draw(st.sampled_from(clients)),
            draw(st.sampled_from(KINDS)),
            code=draw(st.sampled_from(["dns", "caa", None])),
            host=draw(st.sampled_from([names[0], names[1], None])),
            known_at=day(at + draw(delays) - draw(skews)),
        )
    # What a client holds in one lineage, and what our own executor did, name their certificates.
    for about in draw(st.lists(st.sampled_from(certificates), max_size=4, unique=True)):
        at = draw(ages)
        ours = draw(st.booleans())
        timeline.event(
            at,
            draw(st.sampled_from(clients)),
            "order_created" if ours else "issued",
            source="executor" if ours else "test",
            fingerprint=about,
            known_at=day(at + draw(delays)),
        )
    for host in draw(st.lists(st.sampled_from(hosts), unique=True)):
        start = draw(ages)
        timeline.batch.hosts.append(
            {
                "host": host,
                "owner": draw(st.sampled_from(["ops", "web", None])),
                "criticality": draw(st.sampled_from([0.1, 0.9, None])),
                "automation": draw(st.sampled_from(["timer", None])),
                "valid_from": day(start),
                "valid_to": draw(st.sampled_from([None, day(start + 100)])),
                "known_at": day(start + draw(delays) - draw(st.sampled_from([0.0, 60.0]))),
            }
        )


def _tell_again(draw: st.DrawFn, rows: Rows) -> None:
    """Tell some facts a second time: later, or first of all in outline."""
    for name, told in rows.items():
        for row in [row for row in told if draw(st.integers(0, 4)) == 0]:
            again = row | {"known_at": row["known_at"] + (day(draw(delays)) - day(0))}
            if name == "certificates":  # the outline comes first, the details with the certificate itself
                told.remove(row)
                outline = row | {"key_algorithm": None, "spki_hash": None, "is_precertificate": True}
                told.append(outline)
            told.append(again)


def _when(row: dict[str, Any]) -> datetime:
    """Say from when on a row counts: the store lets nothing be known before it happened."""
    return max(row["known_at"], row.get("observed_at", row["known_at"]), row.get("at", row["known_at"]))


def imported(rows: Rows, *, order: int | None = None, until: datetime | None = None) -> History:
    """Put rows into a store in memory, one after the other, in an order drawn from a seed."""
    told = [
        (name, row) for name, some in rows.items() for row in some if until is None or _when(row) <= until
    ]
    pieces = 1
    if order is not None:
        shuffler = random.Random(order)
        shuffler.shuffle(told)
        pieces = shuffler.randint(1, 4)
    history = History(None)
    for piece in range(pieces):
        part = told[piece::pieces]
        history.append(Batch(**{name: [row for kind, row in part if kind == name] for name in TABLES}))
    assert history.quarantine().empty
    return history


def check(rows: Rows, order: int, as_of: float, other: float) -> None:
    """Compare what is computed from everything with what is computed from the store as it stood."""
    with imported(rows, order=order) as everything, imported(rows, until=day(as_of)) as past:
        pd.testing.assert_frame_equal(
            renewals(everything, day(as_of)), renewals(past, day(as_of)), check_exact=True
        )
        then = features(past, day(as_of))
        # In one pass with another moment, and among rows that come later: the same, bit for bit.
        both = training_frame(everything, [day(as_of), day(other)], until=day(SPAN * 2))
        now = both[both["as_of"] == day(as_of)][list(then.columns)].reset_index(drop=True)
        pd.testing.assert_frame_equal(now, then, check_exact=True)


moments = st.integers(1, SPAN).map(lambda number: number + 0.5)
orders = st.integers(0, 2**32 - 1)
unhurried = [HealthCheck.too_slow, HealthCheck.data_too_large]


@given(worlds(), orders, moments, ages)
@settings(max_examples=12, deadline=None, suppress_health_check=unhurried)
def test_what_is_known_later_changes_nothing(rows: Rows, order: int, as_of: float, other: float) -> None:
    check(rows, order, as_of, other)


@pytest.mark.campaign
@given(worlds(), orders, moments, ages)
@settings(max_examples=200, deadline=None, suppress_health_check=unhurried)
def test_what_is_known_later_changes_nothing_at_length(
    rows: Rows, order: int, as_of: float, other: float
) -> None:
    check(rows, order, as_of, other)


@pytest.fixture
def late() -> Rows:
    """Give a history of which one row is known late."""
    timeline = Timeline()
    found = timeline.certificate("a", "a.shop.example", 0)
    timeline.certificate("b", "a.shop.example", 30, known=200)
    timeline.look(20, found, "h1")
    timeline.look(40, found, "h2", known=200)
    return {name: list(getattr(timeline.batch, name)) for name in TABLES}


@pytest.fixture
def other_code() -> Iterator[None]:
    """Have programs put together anew, with the code as a test changed it."""
    forget()
    yield
    forget()


@pytest.mark.usefixtures("other_code")
def test_the_property_sees_a_leaking_feature(monkeypatch: pytest.MonkeyPatch, late: Rows) -> None:
    """One feature that reads all looks there are, not those known by then, is found and named."""
    check(late, 0, 50, 50)
    forget()
    honest = certforecast.features.churn.churn

    def leaking(context: Context) -> Any:
        every = context.known._everything.observations
        hosts = every.group_by("fingerprint").aggregate(hosts=every.host.nunique().cast("float64"))
        rows = honest(context).left_join(hosts, "fingerprint").drop("fingerprint_right")
        return rows.mutate(endpoints=rows.hosts).drop("hosts")

    monkeypatch.setattr(certforecast.features.churn, "churn", leaking)
    with pytest.raises(AssertionError, match=r'\(column name="endpoints"\)'):
        check(late, 0, 50, 50)


@pytest.mark.usefixtures("other_code")
def test_the_property_sees_an_open_gate(monkeypatch: pytest.MonkeyPatch, late: Rows) -> None:
    """With the gate left open, a row that is known later shows in the renewals."""
    gate = Tables.at
    monkeypatch.setattr(Tables, "at", lambda tables, *moments: _open_gate(gate, tables, *moments))
    with pytest.raises(AssertionError, match="DataFrame"):
        check(late, 0, 50, 50)


def _open_gate(gate: Any, tables: Tables, *moments: Any) -> Tables:
    long_ago = [
        table.mutate(really=table.known_at, known_at=table.known_at - ibis.interval(days=10_000))
        for table in tables
    ]
    return Tables(*(t.mutate(known_at=t.really).drop("really") for t in gate(Tables(*long_ago), *moments)))


@pytest.mark.usefixtures("other_code")
def test_the_order_in_which_rows_are_added_up_shows_in_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines take another order each time, on many threads. Lags and intervals are as crooked as can be."""
    timeline, rng = Timeline(), random.Random(7)
    for line in range(12):
        issued = rng.uniform(0, 30)
        for number in range(7):
            made = timeline.certificate(f"l{line}-{number}", f"{line}.shop.example", issued)
            timeline.look(issued + rng.uniform(0, 3), made, f"h{line}")
            issued += rng.uniform(40, 70)
    rows: Rows = {name: list(getattr(timeline.batch, name)) for name in TABLES}
    with imported(rows) as history:
        expected = features(history, day(330))
        assert expected["lag_spread"].notna().sum() > 6
        for step in (2, 3, 5):
            forget()
            shuffled = partial(_shuffled, step=step)
            monkeypatch.setattr(certforecast.features.lag, "keep", shuffled)
            pd.testing.assert_frame_equal(features(history, day(330)), expected, check_exact=True)


def _shuffled(table: ir.Table, step: int) -> ir.Table:
    return keep(table.order_by((table.position * step) % 7, table.fingerprint))
