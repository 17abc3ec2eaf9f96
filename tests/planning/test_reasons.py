"""Reasons, sentence by sentence, on both sides of the threshold from which each is said."""

from typing import Any

import pytest

from certforecast.planning.reasons import _merged, reasons

CALM = {"days_left": 80.0, "validity_days": 90.0, "days_past_due": -50.0}
NOTHING = ["80 days left of 90 days"]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"days_left": -0.5}, "expired 12 hours ago and still served"),
        ({"days_left": -0.01}, "expired less than an hour ago and still served"),
        (
            {"unserved": 1.0, "unserved_days": 1.2},
            "a successor was issued 1 day ago but the old certificate is still served",
        ),
        (
            {"unserved": 1.0, "unserved_days": None},
            "a successor was issued less than an hour ago but the old certificate is still served",
        ),
        ({"gone_share": 1.0}, "all of its endpoints are gone or serve other names now"),
        (
            {"attempts_failed_month": 3 / 30, "attempt_failed_code": "dns"},
            "3 failed attempts in the last 30 days, last cause: dns",
        ),
        (
            {"attempts_failed_month": 1 / 30, "attempt_failed_code": None},
            "1 failed attempt in the last 30 days",
        ),
        ({"reload_failed": 1.0}, "a reload or an installation has failed since it was issued"),
        ({"days_past_due": 2.0, "days_left": 28.0}, "due 2 days ago, 28 days left of 90 days"),
        ({"days_past_due": 29.9, "days_left": 0.1}, "due 30 days ago, 2 hours left of 90 days"),
        ({"margin_last": 0.02}, "the last renewal came 2 days before expiry"),
        ({"margin_last": -0.1}, "the last renewal came 9 days after expiry"),
        ({"margin_last": 0.099}, "the last renewal came 9 days before expiry"),
        # The share is of the lifetime before, which was four times as long.
        (
            {"margin_last": 0.05, "validity_ratio": 0.25},
            "the last renewal came 18 days before expiry",
        ),
        ({"lineage_late_rate": 0.25}, "its own renewals come late about 25% of the time"),
        ({"domain_late_rate": 0.4}, "renewals in its domain come late about 40% of the time"),
        (
            {"lineage_late_rate": 0.3, "domain_late_rate": 0.4},
            "its own renewals come late about 30% of the time",
        ),
        (
            {"domain_trouble_share": 0.3},
            "attempts failed in the last 7 days for 30% of the services in its domain",
        ),
        ({"owner_overdue_share": 0.5}, "50% of its owner's open renewals are past due"),
        ({"expires_in_freeze": 1.0}, "it expires in the year-end freeze (15 December to 5 January)"),
    ],
)
def test_a_sentence_says_what_stands_out(row: dict[str, Any], sentence: str) -> None:
    assert reasons(CALM | row) == [sentence]


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"days_past_due": 0.0},
        {"attempts_failed_month": 0.0, "attempt_failed_code": None},
        {"gone_share": 0.9},
        {"reload_failed": 0.0},
        {"margin_last": 0.1},
        {"margin_last": None},
        {"margin_last": float("nan")},
        {"lineage_late_rate": 0.24, "domain_late_rate": 0.24},
        {"domain_trouble_share": 0.29},
        {"owner_overdue_share": 0.49},
        {"owner_overdue_share": None},
        {"expires_in_freeze": 0.0},
        {"unserved": 0.0, "unserved_days": None},
    ],
)
def test_what_does_not_stand_out_or_is_unknown_gives_no_reason(row: dict[str, Any]) -> None:
    assert reasons(CALM | row) == NOTHING


def test_the_most_pressing_comes_first() -> None:
    row = {
        "days_left": 5.0,
        "days_past_due": 25.0,
        "unserved": 1.0,
        "unserved_days": 3.0,
        "attempts_failed_month": 2 / 30,
        "margin_last": 0.01,
    }
    assert [sentence.split()[0] for sentence in reasons(CALM | row)] == ["a", "2", "due", "the"]


def test_what_moved_the_forecast_comes_first_and_is_not_said_twice() -> None:
    moved = ["due 25 days ago, 5 days left of 90 days; a (+8.0 points)", "b (+2.0 points)"]
    facts = ("due 25 days ago, 5 days left of 90 days", "a reload has failed")
    assert _merged(moved, facts) == (*moved, "a reload has failed")
    assert _merged([], facts) == facts
