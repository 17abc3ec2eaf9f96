"""A small fleet, renewed by timers and by tickets, that all tests of forecasting look at."""

from collections.abc import Iterator
from typing import Any

import pytest

from certforecast.history import History
from tests.timeline import Timeline, day

#: The moment all tests look from.
NOW = day(600)


def fleet() -> Timeline:
    """Thirty lineages: 90 days renewed at two thirds by timer, 365 days by ticket; one of each was late."""
    timeline = Timeline()
    for number in range(20):
        name, issued, count = f"t{number}.example.org", float(number * 3), 0
        while issued < 600:
            late = 25.0 if (number, count) == (3, 4) else 0.0
            timeline.certificate(
                f"t{number}-{count}",
                name,
                issued,
                90.0,
                issuer_org="Let's Encrypt",
                policy="DV",
                key_algorithm="rsa",
            )
            issued, count = issued + 60.0 + late, count + 1
    for number in range(10):
        name, issued, count = f"p{number}.example.net", float(number * 30), 0
        while issued < 600:
            late = 60.0 if (number, count) == (2, 0) else 0.0
            timeline.certificate(
                f"p{number}-{count}",
                name,
                issued,
                365.0,
                issuer_org="Private",
                policy="unknown",
                key_algorithm="rsa",
            )
            issued, count = issued + 340.0 + late, count + 1
    for number in range(20):
        _host(timeline, f"t{number}.example.org", owner="web", automation="timer", criticality=0.5)
    for number in range(10):
        _host(timeline, f"p{number}.example.net", owner="core", automation="ticket", criticality=number / 10)
    return timeline


def _host(timeline: Timeline, name: str, **others: Any) -> None:
    row = {"host": name, "valid_from": day(0), "known_at": day(0), "environment": "production"}
    timeline.batch.hosts.append(row | others)


@pytest.fixture(scope="package")
def history() -> Iterator[History]:
    """Give a store of it."""
    with fleet().history() as store:
        yield store
