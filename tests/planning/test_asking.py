"""Plans heed the windows in which CAs ask for renewals."""

from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.planning import Action
from certforecast.planning import scheduling as module
from certforecast.planning.windows import Slots
from certforecast.renewals.ari import Asked
from certforecast.settings import PlanningSettings
from tests.planning.test_ranking import only, propose, served
from tests.planning.verifier import violations
from tests.timeline import Timeline, day

HOUR = 1 / 24
SAFE = (0.97, 0.01, 0.01, 0.01)
ACME = {
    "issuers": {
        "ca": {
            "kind": "acme",
            "directory_url": "https://acme-v02.api.letsencrypt.org/directory",
            "account_key": "account.pem",
        }
    }
}


def asked(timeline: Timeline, key: str, start: float, end: float, moment: float, **more: Any) -> None:
    window, at = Asked(day(start), day(end), day(moment), more.pop("url", None)), more.pop("at", start - 30)
    values = {"fingerprint": key, "detail": window.detail, "source": "ari"} | more
    timeline.event(at, "a.shop.example", "ari_window", **values)


def test_a_renewal_waits_for_the_moment_in_its_window() -> None:
    timeline, (key,) = served("a")
    asked(timeline, key, 72, 78, 75.1)
    action = only(propose(timeline, 70))
    assert (action.kind, action.then, action.start) == ("wait", "renew", day(75.1))
    assert action.latest_start == day(78)
    begun = only(propose(timeline, 76))
    assert (begun.kind, begun.start) == ("renew", day(76))
    assert "its CA asks to renew it between 2025-03-14 00:00 and 2025-03-20 00:00 UTC" in begun.reasons


def test_a_window_is_known_from_when_it_was_asked_for() -> None:
    timeline, (key,) = served("a")
    asked(timeline, key, 72, 78, 75, at=71)
    assert only(propose(timeline, 70)).kind == "renew"  # by the rule it is due since day 60
    assert only(propose(timeline, 71)).kind == "wait"


def test_an_early_window_is_urgent_and_due_at_once() -> None:
    timeline, (key, other) = served("a", "b")
    asked(timeline, key, 20, 21, 20.5, at=20.9, url="https://ca.example/incident")
    assert propose(timeline, 20.8, default=SAFE).actions == ()
    freeze = {"start": day(10), "end": day(40)}
    for at in (20.95, 22):
        action = only(propose(timeline, at, default=SAFE, planning={"freezes": [freeze]}))
        assert (action.fingerprint, action.kind, action.start) == (key, "renew", day(at))
        assert action.deadline == max(day(21), day(at))
        assert action.probabilities.failed == pytest.approx(0.99)
        assert action.reasons[0].startswith("its CA wants it replaced early, as before a revocation: between")
        assert action.reasons[0].endswith("(see https://ca.example/incident)")
    assert other != key


def test_what_is_used_no_more_is_not_replaced_early() -> None:
    timeline, (key,) = served("a")
    asked(timeline, key, 20, 21, 20.5, at=20.9)
    assert only(propose(timeline, 22, default=(0.01, 0.01, 0.01, 0.97))).kind == "retire"


def test_nothing_may_be_changed_after_the_moment_so_it_is_done_before_it_in_the_window() -> None:
    timeline, (key,) = served("a")
    asked(timeline, key, 72, 78, 77)
    window = {"rrule": "FREQ=DAILY;BYHOUR=3;BYMINUTE=0;BYSECOND=0", "hours": 2}
    freeze = {"start": day(76), "end": day(80)}
    planning = {"windows": [window], "freezes": [freeze]}
    action = only(propose(timeline, 71, planning=planning))
    assert action.start == day(72) + timedelta(hours=3)
    # Where the window has no room at all, what is left is to come after it.
    planning["freezes"] = [{"start": day(71), "end": day(80)}]
    assert only(propose(timeline, 71, planning=planning)).start == day(80) + timedelta(hours=3)


def test_a_window_shorter_than_a_slot_is_kept() -> None:
    timeline, (key,) = served("a")
    asked(timeline, key, 72 + HOUR, 72 + 2 * HOUR, 72 + 1.5 * HOUR)
    assert only(propose(timeline, 71)).start == day(72 + 1.5 * HOUR)


def test_what_has_expired_is_mended_whatever_the_window() -> None:
    timeline, (key,) = served("a")
    asked(timeline, key, 96, 97, 96.5, at=80)
    assert only(propose(timeline, 95)).start == day(95)


@pytest.mark.parametrize(("known", "issuers"), [(True, ACME), (False, ACME), (True, {})])
def test_orders_that_say_what_they_replace_take_no_token(
    monkeypatch: pytest.MonkeyPatch, known: bool, issuers: dict[str, Any]
) -> None:
    """Only where the CA speaks ACME, and has said when to renew."""
    timeline, (key,) = served("a")
    if known:
        asked(timeline, key, 60, 80, 65, at=50)
    seen: list[pd.DataFrame] = []
    real = module.problem

    def spy(jobs: pd.DataFrame, *rest: Any, **more: Any) -> Any:
        seen.append(jobs)
        return real(jobs, *rest, **more)

    monkeypatch.setattr(module, "problem", spy)
    propose(timeline, 70, **issuers)
    (jobs,) = seen
    assert list(jobs["ari"]) == [known and bool(issuers)]


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_no_job_begins_before_its_window_or_needlessly_after_it(seed: int) -> None:
    """Against the verifier, with windows and freezes in the way."""
    rng = np.random.default_rng(seed)
    planning = PlanningSettings(
        horizon_days=7.0,
        slot_hours=float(rng.choice([3.0, 6.0, 24.0])),
        freezes=[
            {"start": day(begin), "end": day(begin + length)} for begin, length in rng.uniform(0, 3, (2, 2))
        ],
    )
    slots = Slots(day(0), planning)
    moments, asks = [], {}
    for number in range(20):
        begin, length, share = rng.uniform(-2, 8), rng.uniform(0.01, 3), rng.uniform()
        asks[number] = (day(begin), day(begin + length))
        moments.append(slots.moments_within((None, None, ()), *_window(begin, length, share), urgent=False))
    chosen = [next((slot for slot, at in enumerate(row) if at is not None), -1) for row in moments]
    jobs = pd.DataFrame(
        [
            {
                "earliest_days": 0.0,
                "machine": True,
                "hours": 0.0,
                "owner": None,
                "domain": None,
                "orders": False,
            }
        ]
        * len(moments)
    )
    assert violations(jobs, slots.starts, planning, chosen, moments=moments, asked=asks) == []
    for row in moments:
        assert all(at is None or not any(f.start <= at < f.end for f in planning.freezes) for at in row)


def _window(begin: float, length: float, share: float) -> tuple[Any, Any, Any]:
    return day(begin), day(begin + share * length), day(begin + length)


def test_the_verifier_sees_a_start_outside_the_window() -> None:
    planning = PlanningSettings(horizon_days=2.0, slot_hours=6.0)
    slots = Slots(day(0), planning)
    jobs = pd.DataFrame(
        [
            {
                "earliest_days": 0.0,
                "machine": True,
                "hours": 0.0,
                "owner": None,
                "domain": None,
                "orders": False,
            }
        ]
        * 2
    )
    asks = {0: (day(0.5), day(1)), 1: (day(0.5), day(1))}
    found = violations(jobs, slots.starts, planning, [0, 7], asked=asks)
    assert found == ["job 0 starts before its CA asks for it", "job 1 starts after its CA asks for it"]


def test_an_action_of_today_is_what_it_was_without_windows() -> None:
    timeline, _ = served("a")
    action: Action = only(propose(timeline, 85))
    assert (action.start, action.latest_start, action.deadline) == (day(85), day(89), day(90))
