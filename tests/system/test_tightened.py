"""Settings that were tightened after a plan was handed over hold for what waits, and for nothing half-way."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from certforecast.execution import Executor
from certforecast.history import History
from tests.system.half_way import leave_half_way
from tests.system.site import Site

pytestmark = pytest.mark.system

NOW = datetime.now(UTC)
FREEZE = {"host": "*.site.test", "start": NOW - timedelta(hours=1), "end": NOW + timedelta(hours=9)}
ELSEWHERE = {"rrule": "FREQ=YEARLY;BYMONTH=1;BYMONTHDAY=1;BYHOUR=2", "hours": 0.001}
UNREADABLE = {"rrule": "FREQ=WEEKLY;BYDAY=XX", "hours": 2.0}
TIGHTER: list[tuple[dict[str, Any], str]] = [
    ({"executor": {"allowed_installers": []}}, "executor.allowed_installers does not allow"),
    ({"executor": {"allowed_issuers": ["other"]}}, "executor.allowed_issuers does not allow"),
    ({"planning": {"freezes": [FREEZE]}}, "nothing may be changed there until"),
    ({"planning": {"windows": [ELSEWHERE]}}, "in its windows only"),
    ({"planning": {"windows": [UNREADABLE]}}, "is no recurrence"),
]


@pytest.mark.parametrize(
    ("tighter", "said", "step"),
    [
        (*TIGHTER[0], "order"),
        (*TIGHTER[1], "check"),
        (*TIGHTER[2], "check"),
        (*TIGHTER[3], "order"),
        (*TIGHTER[4], "check"),
    ],
)
def test_what_waits_is_held_to_the_settings_of_who_carries_it_out(
    tmp_path: Path, tighter: dict[str, Any], said: str, step: str
) -> None:
    """The process that began it is gone; the next one has other settings, and another plan."""
    with Site(tmp_path).served() as site, History(None) as history:
        leave_half_way(site.plan(site.action()), site.settings(), tmp_path, site.name, step)
        issued = site.issued()
        theirs = site.plan(site.action(id="another", kind="escalate"))
        Executor(site.settings(**tighter), history).run(theirs, execute=True)
        events = history.tables().events.to_pandas()
        refused = events[events["code"] == "not_allowed"]
        assert list(refused["kind"]) == ["order_failed" if step == "order" else "install_failed"]
        assert said in refused["detail"].iloc[0]
        assert not set(events["kind"]) & {"rolled_back", "verify_failed"}
        assert site.issued() == issued
        assert site.look().fingerprint == site.in_place() == site.before
        assert not list(site.settings().staging_path.iterdir())


@pytest.mark.parametrize(("tighter", "said"), [*TIGHTER[1:3], TIGHTER[4]])
def test_what_is_half_way_is_ended_whatever_is_set_now(
    tmp_path: Path, tighter: dict[str, Any], said: str
) -> None:
    with Site(tmp_path).served() as site, History(None) as history:
        leave_half_way(site.plan(site.action()), site.settings(), tmp_path, site.name)
        theirs = site.plan(site.action(id="another", kind="escalate"))
        Executor(site.settings(**tighter), history).run(theirs, execute=True)
        assert "verified" in set(history.tables().events.to_pandas()["kind"]), said
        assert site.look().fingerprint == site.in_place() != site.before


def test_what_is_urgent_or_expired_is_changed_in_a_freeze(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        frozen = Executor(site.settings(planning={"freezes": [FREEZE]}))
        (refused,) = frozen.run(site.plan(site.action()), execute=True)
        assert (refused.status, refused.cause) == ("skipped", "unexpected")
        assert "nothing may be changed there until" in refused.detail
        assert frozen.run(site.plan(site.action()))[0].status == "failed", "and told without --execute, too"
        for change in ({"urgent": True}, {"not_after": NOW}):
            (done,) = frozen.run(site.plan(site.action(id="it", **change)), execute=True)
            assert done.status == "verified", done.detail
