"""What planning holds for a window, the executor holds for one, too."""

import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from certforecast.errors import InputError
from certforecast.planning.windows import Slots, closed
from certforecast.settings import FreezeSettings, PlanningSettings, WindowSettings

BEGIN = datetime(2026, 12, 1, 9, 30, tzinfo=UTC)
ANYWHERE = (None, None, ("a.example",))


def planning(rrule: str, zone: str = "UTC") -> PlanningSettings:
    return PlanningSettings(
        timezone=zone, horizon_days=90, windows=[WindowSettings(rrule=rrule, hours=4.0)], slot_hours=24.0
    )


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
@pytest.mark.parametrize(
    "rrule",
    [
        "FREQ=WEEKLY;BYDAY=TU;BYHOUR=2",
        "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO;BYHOUR=2",
        "FREQ=WEEKLY;BYHOUR=2",
        "FREQ=DAILY;INTERVAL=3;BYHOUR=23",
        "FREQ=MONTHLY;INTERVAL=2;BYDAY=1SU;BYHOUR=2",
        "FREQ=MONTHLY",
        "DTSTART:20261103T020000\nRRULE:FREQ=WEEKLY;INTERVAL=2",
    ],
)
def test_the_executor_finds_open_what_planning_found_open_and_nothing_else(rrule: str, zone: str) -> None:
    settings = planning(rrule, zone)
    slots = Slots(BEGIN, settings)
    found = [moment for moment in slots.moments(ANYWHERE) if moment is not None]
    assert found
    for moment in found:
        assert closed(ANYWHERE, settings, moment) is None
    # Whenever planning asks, it finds the same.
    later = Slots(BEGIN + timedelta(days=5), settings).moments(ANYWHERE)
    ahead = [moment for moment in found if moment > slots.starts[7]]
    assert {moment.date() for moment in ahead} <= {moment.date() for moment in later if moment is not None}
    open_days = {moment.date() for moment in found}
    for number in range(80):
        noon = BEGIN.replace(hour=15) + timedelta(days=number)
        if not open_days & {(noon - timedelta(days=1)).date(), noon.date()}:
            assert closed(ANYWHERE, settings, noon) is not None


def test_a_freeze_closes_an_open_window() -> None:
    settings = planning("FREQ=DAILY")
    assert closed(ANYWHERE, settings, BEGIN.replace(hour=1)) is None
    frozen = settings.model_copy(
        update={"freezes": [FreezeSettings(start=BEGIN - timedelta(days=1), end=BEGIN + timedelta(days=1))]}
    )
    assert "planning.freezes" in str(closed(ANYWHERE, frozen, BEGIN.replace(hour=1)))


@pytest.mark.parametrize(
    "rrule",
    [
        "",
        "every Tuesday",
        "BYDAY=TU",
        "FREQ=WEEKLY;BYDAY=XX",
        "FREQ=WEEKLY;BYHOUR=25",
        "FREQ=YEARLY;BYDAY=99MO",
        "FREQ=DAILY;INTERVAL=-1",
        "FREQ=DAILY;INTERVAL=0",
        "freq=secondly",
        "DTSTART:20261103T020000Z\nRRULE:FREQ=WEEKLY",
        "DTSTART;TZID=Europe/Berlin:20261103T020000\nRRULE:FREQ=WEEKLY",
    ],
)
def test_a_window_written_wrongly_is_told_whoever_asks_and_however_often(rrule: str) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match=r"^planning.windows: .* is no recurrence"):
            closed(ANYWHERE, planning(rrule), BEGIN)
        with pytest.raises(InputError, match=r"^planning.windows: .* is no recurrence"):
            Slots(BEGIN, planning(rrule))


def test_a_time_zone_that_is_not_known_is_told() -> None:
    with pytest.raises(InputError, match="'Europe/Nowhere' is not known"):
        closed(ANYWHERE, planning("FREQ=DAILY", "Europe/Nowhere"), BEGIN)


def test_many_ask_for_a_window_that_comes_to_an_end() -> None:
    settings, said = planning("FREQ=DAILY;UNTIL=20260103T000000"), list[Any]()

    def ask() -> None:
        said.append(closed(ANYWHERE, settings, BEGIN))

    threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 10
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
    finally:
        sys.setswitchinterval(often)
    assert said == ["it may be changed in its windows only (planning.windows)"] * 8
