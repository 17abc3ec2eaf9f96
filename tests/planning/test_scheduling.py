"""Plans give each action its start, and say what stands in the way."""

from datetime import UTC, datetime, timedelta

import pytest

from certforecast.planning import Action, Plan
from tests.planning.test_ranking import only, propose, served
from tests.timeline import day


def test_an_action_says_when_it_starts_and_by_when_it_must() -> None:
    timeline, _ = served("a")
    action = only(propose(timeline, 85))
    assert action.start == day(85)
    assert action.deadline == action.not_after == day(90)
    assert action.latest_start == day(89)
    expired = only(propose(timeline, 95))
    assert (expired.start, expired.deadline, expired.latest_start) == (day(95), day(95), day(95))


def test_a_renewal_that_falls_due_within_the_horizon_waits_until_then() -> None:
    timeline, _ = served("a")
    action = only(propose(timeline, 55))
    assert (action.kind, action.then) == ("wait", "renew")
    assert action.start == day(60)
    assert action.reasons[-1] == "waits until 2025-03-02 00:00 UTC"


def test_windows_and_freezes_hold_for_all_but_what_has_expired() -> None:
    timeline, _ = served("a")
    window = {"rrule": "FREQ=DAILY;BYHOUR=3;BYMINUTE=0;BYSECOND=0", "hours": 2}
    freeze = {"start": day(84), "end": day(86.5)}
    planning = {"windows": [window], "freezes": [freeze]}
    action = only(propose(timeline, 85, planning=planning))
    assert (action.kind, action.start) == ("wait", day(87) + timedelta(hours=3))
    assert only(propose(timeline, 95, planning=planning)).start == day(95)
    # A look is no change.
    look = only(propose(timeline, 85, planning=planning, issuers={}, installers={}, executor={}))
    assert (look.kind, look.start) == ("escalate", day(85) + timedelta(hours=6))


def test_what_finds_no_room_waits_and_says_what_is_full() -> None:
    timeline, keys = served("a", "b", "c")
    for host, criticality in (("a", 0.9), ("b", 0.5), ("c", 0.2)):
        timeline.batch.hosts.append(
            {"host": host, "criticality": criticality, "valid_from": day(0), "known_at": day(0)}
        )
    narrow = {"horizon_days": 1.0, "slot_hours": 24.0, "max_per_failure_domain": 2}
    plan = propose(timeline, 85, planning=narrow)
    assert [action.fingerprint for action in plan.actions] == keys
    assert [action.kind for action in plan.actions] == ["renew", "renew", "wait"]
    left_over = plan.actions[-1]
    assert left_over.start is None
    assert left_over.reasons[-1].endswith("at its best time full: changes in shop.example")


def test_what_a_rehearsal_found_lately_is_to_be_mended() -> None:
    def found(rehearsed: float, *codes: str | None) -> Action:
        timeline, (key,) = served("a")
        for code in codes:
            timeline.batch.events.append(
                {"at": day(rehearsed), "lineage": "a.shop.example", "kind": "rehearsed", "code": code,
                 "detail": f"{code}: said so", "fingerprint": key, "host": f"{code}.example",
                 "actor": "certforecast", "source": "rehearsal", "known_at": day(rehearsed)}
            )  # fmt: skip
        return only(propose(timeline, 70, default=(0.1, 0.1, 0.8, 0.0)))

    action = found(68, "caa", "connection")
    assert (action.kind, action.check) == ("fix", "rehearsal: caa: said so; connection: said so")
    assert found(68, None).kind == "renew"
    assert found(35, "caa").kind == "renew"  # too long ago to be taken to stand


def test_people_work_on_working_days() -> None:
    timeline, _ = served("a")
    friday_night = 30 + (4 - day(30).weekday()) % 7 + 0.9
    action = only(propose(timeline, friday_night))
    assert action.kind == "escalate"
    assert action.start is not None
    assert action.start.weekday() == 0
    assert action.start.hour < 18
    assert action.hours == 0.5


def test_the_timetable_says_how_good_it_is() -> None:
    timeline, _ = served("a", "b")
    plan = propose(timeline, 85)
    assert plan.timetable is not None
    worth = sum(action.expected_loss_averted - action.cost for action in plan.actions)
    assert plan.timetable.value == pytest.approx(worth)
    assert plan.timetable.value <= plan.timetable.bound * (1 + 1e-9)
    assert plan.timetable.horizon_ends == day(85 + 14)


def test_a_plan_without_anything_to_do_has_a_timetable_too() -> None:
    timeline, _ = served("a")
    plan: Plan = propose(timeline, 30, default=(0.97, 0.01, 0.01, 0.01))
    assert plan.actions == ()
    assert plan.timetable is not None
    assert (plan.timetable.value, plan.timetable.gap) == (0.0, 0.0)
    assert plan.timetable.horizon_ends > datetime(2025, 1, 1, tzinfo=UTC)
