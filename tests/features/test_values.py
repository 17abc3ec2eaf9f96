"""Every feature by value, worked out by hand from its definition, in one made-up fleet seen at one moment.

The services are independent: each has names, and mostly an issuer, of its own. Day 0 is Wednesday, 1 January
2025; the fleet is seen on day 200, a Sunday. Nobody looked at most of them, so issue stands for service.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pytest

from certforecast.features import FEATURES, features
from certforecast.renewals import renewals
from tests.timeline import Timeline, day, digest

NOW = 200.0
UNKNOWN = None

#: Features that were asked for, so that none is forgotten.
ASKED: set[str] = set()


def fleet() -> Timeline:
    timeline = Timeline()
    add = timeline.certificate

    # A ticket that comes a little later each time.
    for label, issued in (("l0", 0), ("l1", 62), ("l2", 127)):
        add(label, "lag.example", issued, issuer_org="Lag CA")
    # One at noon on a Sunday, one at midnight on a Wednesday.
    for label, issued in (("h0", 0), ("h1", 60.5), ("h2", 120.25)):
        add(label, "hours.example", issued, issuer_org="Hours CA")
    # The first of its kind, from an issuer nobody knows.
    add("first", "first.example", 170, days=47, issuer_org="New CA", key_algorithm="ECDSA", policy="DV")
    add("wild", "*.wild.example", 150, days=398, issuer_org="New CA")
    # From one issuer to another, with a shorter lifetime; the first renewal was late, the second failed.
    add("x0", "late.example", 0, issuer_org="Late CA")
    add("x1", "late.example", 85, issuer_org="Late CA")
    add("x2", "late.example", 180, days=45, issuer_org="Other CA")
    add("x3", "late2.example", 180, issuer_org="Late CA")
    # Half of an issuer's renewals of the week came early, as if it had revoked.
    add("r1", "one.rush.example", 190, issuer_org="Rush CA")
    add("r1b", "one.rush.example", 196, issuer_org="Rush CA")
    add("r2", "two.rush2.example", 132, issuer_org="Rush CA")
    add("r2b", "two.rush2.example", 198, issuer_org="Rush CA")

    # One certificate on four endpoints: stays, joined, gone dark, turned to other names.
    churn = add("c", "churn.example", 100, days=180, issuer_org="Churn CA")
    other = add("z", "z.example", 155, issuer_org="Churn CA")
    timeline.looks(110, NOW, churn, host="stays")
    timeline.looks(195, NOW, churn, host="joined")
    timeline.looks(110, 151, churn, host="dark")
    for number in range(151, 200):
        timeline.look(number, None, "dark", error="timeout")
    timeline.looks(110, 161, churn, host="turned")
    timeline.looks(161, NOW, other, host="turned")
    # Its successor is issued and served nowhere; once it had two endpoints and fewer names.
    old = add("u0", "u.example", 70, issuer_org="Churn CA")
    new = add("u1", ["u.example", "www.u.example"], 130, issuer_org="Churn CA")
    add("u2", ["u.example", "www.u.example"], 192, issuer_org="Churn CA")
    timeline.looks(71, 131, old, host="g0")
    timeline.looks(71, 131, old, host="g1")
    timeline.looks(131, NOW, new, host="g1")
    timeline.look(131, None, "g0", error="dns")
    # Half of its endpoints are on the successor.
    half = add("m1", "m.example", 130, issuer_org="Churn CA")
    moved = add("m2", "m.example", 195, issuer_org="Churn CA")
    timeline.looks(131, 196, half, host="e1")
    timeline.looks(196, NOW, moved, host="e1")
    timeline.looks(131, NOW, half, host="e2")

    # Attempts of several kinds, a shared and reused key, a row of the inventory.
    add("o0", "o.example", 79, issuer_org="Op CA", spki_hash="k1")
    add("o1", "o.example", 139, issuer_org="Op CA", spki_hash="k1")
    add("p", "p.example", 150, issuer_org="Op CA", spki_hash="k1")
    timeline.event(100, "o.example", "order_failed", code="before its time")
    timeline.event(139, "o.example", "issued")
    timeline.event(150, "o.example", "verified")
    timeline.event(185, "o.example", "order_failed", code="dns")
    timeline.event(195, "o.example", "challenge_failed")
    timeline.event(198, "o.example", "reload_failed", code="exit 1")

    # Rehearsals: of the certificate before, one that passed after one that did not, two findings at once.
    timeline.event(130, "o.example", "rehearsed", code="caa")
    timeline.event(150, "p.example", "rehearsed", code="caa")
    timeline.event(196, "p.example", "rehearsed")
    timeline.event(190, "o.example", "rehearsed")
    timeline.event(192, "o.example", "rehearsed", code="caa")
    timeline.event(192, "o.example", "rehearsed", code="disk")
    place = {"owner": "op", "environment": "production", "automation": "timer", "criticality": 0.5}
    timeline.batch.hosts.append({"host": "o.example", "valid_from": day(0), "known_at": day(0), **place})

    # Two of one registered domain and owner, one of which was late.
    add("n0", "a.pair.example", 0, issuer_org="Pair CA")
    add("n1", "a.pair.example", 85, issuer_org="Pair CA")
    add("n2", "a.pair.example", 146, issuer_org="Pair CA")
    add("n3", "b.pair.example", 135, issuer_org="Pair CA")
    for host in ("a.pair.example", "b.pair.example"):
        row = {"host": host, "owner": "pair", "valid_from": day(0), "known_at": day(0)}
        timeline.batch.hosts.append(row)
    # In the year's end: one expires on 20 December, the other falls due.
    add("f0", "freeze.example", 150, days=203.5, issuer_org="Cal CA")
    add("f1", "freeze2.example", 190, days=245, issuer_org="Cal CA")
    return timeline


@pytest.fixture(scope="module")
def seen() -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    with fleet().history() as history:
        frame = features(history, day(NOW)).set_index("fingerprint")
        yield frame, renewals(history, day(NOW))


@pytest.fixture(scope="module")
def rates(seen: tuple[pd.DataFrame, pd.DataFrame]) -> dict[str, float]:
    """Give the rates over all past renewals, which smoothed rates shrink to."""
    outcomes = seen[1]["outcome"].value_counts()
    past = outcomes["on_time"] + outcomes["slipped"] + outcomes["failed"]
    assert past == 12
    return {"late": (outcomes["slipped"] + outcomes["failed"]) / past, "failed": outcomes["failed"] / past}


Expect = Callable[..., None]


@pytest.fixture
def expect(seen: tuple[pd.DataFrame, pd.DataFrame]) -> Expect:
    def check(label: str, **expected: Any) -> None:
        row = seen[0].loc[digest(label)]
        for name, value in expected.items():
            ASKED.add(name)
            found = row[name]
            if value is UNKNOWN:
                assert found != found, f"{name} of {label} is {found}, and should be unknown"
            elif isinstance(value, str):
                assert found == value, f"{name} of {label}"
            else:
                assert found == pytest.approx(value, abs=1e-9), f"{name} of {label}"

    return check


def smoothed(hits: float, trials: float, overall: float) -> float:
    """Weigh with ten renewals of the overall rate."""
    return (hits + 10 * overall) / (trials + 10)


def test_issuer(expect: Expect, rates: dict[str, float]) -> None:
    late, failed = rates["late"], rates["failed"]
    expect(
        "x3",
        issuer_org="Late CA",
        issuer_failed_rate=smoothed(1, 2, failed),
        issuer_late_rate=smoothed(2, 2, late),
        issuer_recent_late_rate=smoothed(1, 1, late),  # the other was settled 115 days ago
        issuer_overdue_share=0,
        issuer_trouble_share=0,
        issuer_early_share=UNKNOWN,
        issuer_changed=UNKNOWN,
    )
    expect("first", issuer_late_rate=late, issuer_failed_rate=failed, issuer_recent_late_rate=late)
    expect("x2", issuer_changed=1, issuer_org="Other CA")
    expect("l2", issuer_changed=0, issuer_overdue_share=1)
    expect("r1b", issuer_early_share=0.5)
    expect("o1", issuer_overdue_share=0.5, issuer_trouble_share=0.5)


def test_validity(expect: Expect) -> None:
    expect(
        "l2",
        validity_days=90,
        validity_ratio=1,
        validity_profile="90 days",
        limit_ratio=90 / 398,
        elapsed_share=73 / 90,
        days_left=17,
        log_days_left=math.log(17.25),
        days_past_due=13,
        days_to_slip=8,
        validation=UNKNOWN,
        key_algorithm=UNKNOWN,
        wildcard=0,
    )
    expect("x2", validity_days=45, validity_ratio=0.5, validity_profile="47 days")
    expect("first", validity_ratio=UNKNOWN, validity_profile="47 days", days_past_due=30 - 47 * 2 / 3)
    expect("first", key_algorithm="ECDSA", validation="DV")
    expect("wild", wildcard=1, validity_profile="398 days", limit_ratio=1, days_to_slip=348 - 30)


def test_lag(expect: Expect, rates: dict[str, float]) -> None:
    expect(
        "l2",
        lag_last=5 / 90,
        lag_mean=3.5 / 90,
        lag_spread=math.sqrt(4.5) / 90,
        lag_trend=3 / 90,
        margin_last=25 / 90,
        margin_least=25 / 90,
        install_delay=0,
        interval_spread=math.sqrt(4.5) / 63.5,
        weekday_share=1,
        hour_concentration=1,
        lineage_late_rate=smoothed(0, 2, rates["late"]),
        lineage_failed_rate=smoothed(0, 2, rates["failed"]),
        past_usual=13 / 90 - 3.5 / 90,
    )
    expect("h2", weekday_share=0.5, hour_concentration=0, lag_trend=(-0.25 - 0.5) / 90)
    expect(
        "first",
        lag_last=UNKNOWN,
        lag_mean=UNKNOWN,
        lag_spread=UNKNOWN,
        lag_trend=UNKNOWN,
        margin_last=UNKNOWN,
        margin_least=UNKNOWN,
        install_delay=UNKNOWN,
        interval_spread=UNKNOWN,
        weekday_share=UNKNOWN,
        hour_concentration=UNKNOWN,
        past_usual=UNKNOWN,
        lineage_late_rate=rates["late"],
        lineage_failed_rate=rates["failed"],
    )
    # Late, then failed; the lifetime of each renewal is its own.
    expect(
        "x2",
        lag_last=35 / 90,
        margin_last=-5 / 90,
        margin_least=-5 / 90,
        lineage_late_rate=smoothed(2, 2, rates["late"]),
        lineage_failed_rate=smoothed(1, 2, rates["failed"]),
    )
    # In service half-way between the last look at the old and the first at the new: half a day after issue.
    expect("u1", install_delay=0.5, lag_last=0.5 / 90, margin_last=29.5 / 90, lag_spread=UNKNOWN)


def test_churn(expect: Expect) -> None:
    expect(
        "c",
        endpoints=4,
        joined_7=1 / 4,
        joined_30=1 / 4,
        joined_90=1,
        left_7=0,
        left_30=0,
        left_90=2 / 4,
        gone_share=2 / 4,
        moved_share=0,
        error_share=14 / (14 + 5 + 14 + 14),
        silent_days=1,
        unserved=0,
        unserved_days=UNKNOWN,
        host_certificates=(1 + 1 + 1 + 2) / 4,
        names=1,
        names_changed=UNKNOWN,
        endpoint_ratio=UNKNOWN,
    )
    expect("u1", unserved=1, unserved_days=8, names=2, names_changed=1, endpoints=1, endpoint_ratio=1 / 2)
    expect("m1", moved_share=1 / 2, unserved=1, host_certificates=1.5, joined_90=1)
    expect("l2", names_changed=0, endpoints=0, unserved=0)
    nobody_looked = dict.fromkeys(
        [f"{kind}_{days}" for kind in ("joined", "left") for days in (7, 30, 90)], UNKNOWN
    )
    expect("l2", **nobody_looked, gone_share=UNKNOWN, moved_share=UNKNOWN, error_share=UNKNOWN)
    expect("l2", silent_days=UNKNOWN, host_certificates=UNKNOWN)


def test_operations(expect: Expect) -> None:
    expect(
        "o1",
        attempts_failed_week=2 / 7,
        attempts_failed_month=3 / 30,
        attempt_failed_age=2,
        attempt_failed_code="exit 1",
        attempt_causes=3,
        retry_interval=(198 - 185) / 2,
        success_age=50,
        reload_failed=1,
        automation="timer",
        environment="production",
        key_reused=1,
        key_sharing=1,
        rehearsal_failed=1,
        days_since_rehearsal=8,
    )
    expect(
        "l2",
        attempts_failed_week=0,
        attempts_failed_month=0,
        attempt_failed_age=UNKNOWN,
        attempt_failed_code=UNKNOWN,
        attempt_causes=0,
        retry_interval=UNKNOWN,
        success_age=UNKNOWN,
        reload_failed=0,
        automation=UNKNOWN,
        environment=UNKNOWN,
        key_reused=UNKNOWN,
        key_sharing=UNKNOWN,
        rehearsal_failed=UNKNOWN,
        days_since_rehearsal=UNKNOWN,
    )
    expect("p", key_reused=UNKNOWN, key_sharing=1, rehearsal_failed=0, days_since_rehearsal=4)


def test_neighbours(expect: Expect, rates: dict[str, float]) -> None:
    late, failed = rates["late"], rates["failed"]
    expect(
        "n3",
        domain_late_rate=smoothed(1, 2, late),
        domain_failed_rate=smoothed(0, 2, failed),
        owner_late_rate=smoothed(1, 2, late),
        owner_failed_rate=smoothed(0, 2, failed),
        domain_trouble_share=0,
        domain_overdue_share=1 / 2,
        owner_overdue_share=1 / 2,
    )
    expect("first", domain_late_rate=late, owner_late_rate=late, owner_failed_rate=failed)
    expect("first", owner_overdue_share=UNKNOWN, domain_overdue_share=0)
    expect("o1", domain_trouble_share=1)


def test_calendar(expect: Expect, seen: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    expect(
        "l2",
        expiry_weekday=2,  # day 217, a Wednesday
        due_weekday=0,  # day 187, a Monday
        free_days=0,
        expires_in_freeze=0,
        due_in_freeze=0,
    )
    expect("z", free_days=1)  # it expires on 3 September, two days after Labor Day
    expect("f0", expires_in_freeze=1, due_in_freeze=0)
    expect("f1", expires_in_freeze=0, due_in_freeze=1)
    expires = seen[0]["not_after"].dt.floor("D")
    for label in ("l2", "c", "f1"):
        near = (expires - expires[digest(label)]).abs() <= pd.Timedelta(days=3)
        expect(label, crowding=near.mean())


def test_no_feature_is_forgotten() -> None:
    """Stands last: every feature has a value worked out by hand above."""
    assert set(FEATURES) == ASKED


def test_a_timer_is_one_whatever_the_second() -> None:
    timeline = Timeline()
    minute = 1 / 1440
    for number, late in enumerate((0.0, 0.3, 0.7, 0.98, 0.1)):
        timeline.certificate(f"a{number}", "a.test", 60 * number + 3 / 24 + late * minute)
        timeline.certificate(f"b{number}", "b.test", 60 * number + 3 / 24 + late * 180 * minute)
    with timeline.history() as history:
        found = features(history, day(290)).set_index("name")["hour_concentration"]
    assert found["a.test"] == 1
    assert 0.9 < found["b.test"] < 0.99
    assert (found * 1000 == (found * 1000).round()).all()
