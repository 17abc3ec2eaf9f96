"""Reasons: few, in words, with the history of the lineage, and true to the contributions."""

from typing import Any

import pandas as pd
import pytest

from certforecast.models.contributions import Contributions
from certforecast.models.narration import Reason, reasons

ROW = {
    "days_left": 3.0,
    "days_past_due": 27.0,
    "validity_days": 90.0,
    "days_to_slip": -6.0,
    "margin_last": 0.01,
    "lineage_late_rate": 0.4,
    "issuer_org": "Example CA",
    "issuer_late_rate": 0.32,
    "domain_failed_rate": 0.02,
    "domain_late_rate": 0.02,
    "owner_failed_rate": 0.05,
    "crowding": 0.1,
}
USUAL = {
    **ROW,
    "issuer_late_rate": 0.08,
    "lineage_late_rate": 0.1,
    "domain_failed_rate": 0.04,
    "domain_late_rate": 0.04,
    "owner_failed_rate": 0.05,
}


def told(outcome: str = "failed", row: dict[str, Any] = ROW, **adds: float) -> Contributions:
    values = pd.DataFrame([{name: adds.get(name, 0.0) for name in row}])
    probability = pd.Series([0.05 + sum(adds.values())])
    return Contributions(outcome, 0.05, probability, values, pd.DataFrame([row]))


def given(contributions: Contributions, **others: Any) -> list[Reason]:
    (found,) = reasons(contributions, among=pd.DataFrame([USUAL]), **others)
    return found


def test_those_that_raise_come_first_and_the_one_that_lowers_most_last() -> None:
    contributions = told(
        days_left=0.1, days_to_slip=0.2, margin_last=0.04, issuer_late_rate=0.06, domain_failed_rate=-0.05,
        crowding=-0.02,
    )  # fmt: skip
    found = given(contributions)
    assert [(reason.topic, round(reason.points, 6)) for reason in found] == [
        ("time", 30.0),
        ("issuer", 6.0),
        ("own renewals", 4.0),
        ("domain", -5.0),
    ]
    assert len(given(contributions, most=2)) == 2
    assert [reason.topic for reason in given(contributions, most=1)] == ["time"]
    assert given(contributions, most=0) == []
    with pytest.raises(ValueError, match="most is -1"):
        given(contributions, most=-1)
    assert [reason.topic for reason in given(contributions, most=3)] == ["time", "issuer", "domain"]


def test_words_are_of_the_features_that_weigh_most() -> None:
    time, issuer = given(told(days_left=0.1, days_to_slip=0.2, issuer_late_rate=0.06))
    assert time.words == (
        "its slip point passed 6 days ago: it can no longer be on time; "
        "due 27 days ago, 3 days left of 90 days"
    )
    assert issuer.words == (
        "renewals from Example CA come late 4.0 times as often as those of your issuers on average "
        "(32% against 8.0%)"
    )
    assert str(issuer) == f"{issuer.words} (+6.0 points)"
    (alone,) = given(told(days_left=0.02, days_to_slip=0.2))
    assert "due" not in alone.words


def test_the_history_of_the_lineage_is_told_where_there_is_one() -> None:
    contributions = told(margin_last=0.1, lineage_late_rate=0.02)
    (own,) = given(contributions)
    assert own.words == "the last renewal came 22 hours before expiry"
    (own,) = given(contributions, margins=[[9.0, 2.2, 1.0, 0.1]])
    assert own.words == "its last 3 renewals came 2, 1 and 0 days before expiry"
    (own,) = given(contributions, margins=[[2.2, -1.4]])
    assert own.words == "its last 2 renewals came 2 days before expiry and 1 day after expiry"


def test_the_same_is_not_said_twice() -> None:
    (domain,) = given(told(domain_failed_rate=-0.05, domain_late_rate=-0.04))
    assert domain.words == "renewals in its domain fail less often than is usual (2.0% against 4.0%)"


@pytest.mark.parametrize(
    ("outcome", "adds", "against"),
    [("failed", -0.05, True), ("failed", 0.05, False), ("on_time", 0.05, True), ("retired", -0.05, False)],
)
def test_a_bad_record_that_lowers_the_risk_is_owned_up_to(outcome: str, adds: float, against: bool) -> None:
    (issuer,) = given(told(outcome, issuer_late_rate=adds))
    assert issuer.words.startswith("although ") == against


def test_what_hardly_matters_is_no_reason() -> None:
    assert given(told(days_left=0.0019)) == []
    assert [reason.topic for reason in given(told(days_left=0.3, crowding=0.014))] == ["time"]


def test_a_lineage_without_a_past_has_no_record() -> None:
    new = {**ROW, "margin_last": None, "past_usual": None}
    (reason,) = given(told(row=new, lineage_late_rate=0.1, past_usual=0.08))
    assert str(reason) == "no earlier renewal of it is known (+18.0 points)"


def test_frames_with_values_that_are_missing_are_told_alike() -> None:
    contributions = told(days_left=0.1, lineage_late_rate=0.05)
    features = contributions.features.assign(silent_days=[None], wildcard=[None])
    values = contributions.values.assign(silent_days=[0.04], wildcard=[0.03])
    told_of = [
        Contributions("failed", 0.05, contributions.probability, values, table)
        for table in (features, features.convert_dtypes(), features.convert_dtypes(dtype_backend="pyarrow"))
    ]
    first, *others = ([str(reason) for reason in reasons(one)[0]] for one in told_of)
    assert "it was never seen on an endpoint (+4.0 points)" in first
    assert others == [first, first]
