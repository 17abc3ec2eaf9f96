"""Reasons, sentence by sentence."""

from typing import Any

import pytest

from certforecast.planning.reasons import reasons

CALM = {"days_left": 80.0, "validity_days": 90.0, "days_past_due": -50.0}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({}, "80 days left of 90"),
        ({"days_left": -0.5}, "expired 12 hours ago and still served"),
        (
            {"unserved": 1.0, "unserved_days": 1.2},
            "a successor was issued 1 day ago but the old certificate is still served",
        ),
        ({"gone_share": 1.0}, "none of its endpoints answers with it any more"),
        (
            {"attempts_failed_month": 3 / 30, "attempt_failed_code": "dns"},
            "3 failed attempts in 30 days, last cause: dns",
        ),
        ({"attempts_failed_month": 1 / 30, "attempt_failed_code": None}, "1 failed attempt in 30 days"),
        ({"reload_failed": 1.0}, "a reload or installation failed since it was issued"),
        ({"days_past_due": 2.0, "days_left": 28.0}, "due 2 days ago, 28 days left of 90"),
        ({"margin_last": 0.02}, "the last renewal came 2 days before expiry"),
        ({"margin_last": -0.1}, "the last renewal came 9 days after expiry"),
        ({"lineage_late_rate": 0.25}, "25% of this lineage's recent renewals came late"),
        ({"domain_late_rate": 0.4}, "40% of the renewals of its domain came late"),
        ({"domain_trouble_share": 0.3}, "its neighbours in the domain have failed attempts this week"),
        ({"owner_overdue_share": 0.5}, "50% of its owner's open renewals are overdue"),
        ({"expires_in_freeze": 1.0}, "it expires in the year-end freeze"),
    ],
)
def test_a_sentence_says_what_stands_out(row: dict[str, Any], sentence: str) -> None:
    assert reasons(CALM | row) == [sentence]


@pytest.mark.parametrize(
    "row",
    [
        {"margin_last": 0.1},
        {"margin_last": None},
        {"margin_last": float("nan")},
        {"lineage_late_rate": 0.24},
        {"owner_overdue_share": None},
        {"unserved": 0.0, "unserved_days": None},
    ],
)
def test_what_does_not_stand_out_or_is_unknown_gives_no_reason(row: dict[str, Any]) -> None:
    assert reasons(CALM | row) == ["80 days left of 90"]
