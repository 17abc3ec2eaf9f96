"""What could be done about one renewal."""

from typing import Any

import pytest

from certforecast.planning.options import Option, options
from certforecast.settings import Settings

CA = {"kind": "embedded", "directory": "ca"}
SETTINGS = Settings(issuers={"main": CA, "other": CA}, executor={"fallback_issuer": "other"})


def row(**others: Any) -> dict[str, Any]:
    values = {"p_failed": 0.4, "p_slipped": 0.2, "p_retired": 0.0, "days_past_due": 3.0, "unserved": 0.0}
    values |= {"days_left": 27.0, "days_to_slip": 18.0}
    return values | others


def offered(given: dict[str, Any], able: bool = True, settings: Settings = SETTINGS) -> dict[str, Option]:
    return {found.kind: found for found in options(given, 1.0, able, settings, settings.effects)}


def test_what_is_due_is_renewed_or_somebody_looks() -> None:
    found = offered(row())
    assert set(found) == {"renew", "rehearse", "escalate"}
    # 0.4 of an outage of 1000 and 0.2 of a slip of 50, of which a renewal averts 95 %.
    assert (found["renew"].failed, found["renew"].slipped) == pytest.approx((380.0, 9.5))
    assert found["renew"].net == pytest.approx(384.5)
    assert found["escalate"].hours == 0.5


def test_a_lasting_cause_is_mended_by_a_person() -> None:
    found = offered(row(attempt_failed_code="caa", attempt_failed_age=2.0))
    assert set(found) == {"renew", "fix", "escalate"}
    assert found["fix"].check == "attempt: caa"
    assert max(found.values(), key=lambda option: option.net).kind == "fix"
    assert found["renew"].failed == pytest.approx(0.3 * 380.0)


@pytest.mark.parametrize("changes", [{"attempt_failed_age": 8.0}, {"attempt_failed_code": "timeout"}])
def test_what_is_long_past_or_passes_is_no_cause(changes: dict[str, Any]) -> None:
    failing = {"attempt_failed_code": "caa", "attempt_failed_age": 2.0}
    assert set(offered(row(**(failing | changes)))) == {"renew", "rehearse", "escalate"}


def test_where_the_authority_is_the_cause_another_one_issues() -> None:
    failing = row(attempt_failed_code="rateLimited", attempt_failed_age=0.5)
    found = offered(failing)
    assert set(found) == {"renew", "reissue", "rehearse", "escalate"}
    assert max(found.values(), key=lambda option: option.net).kind == "reissue"
    assert "reissue" not in offered(failing, settings=Settings(issuers={"main": CA}))


def test_a_broken_reload_is_mended_before_anything_is_installed() -> None:
    found = offered(row(unserved=1.0, reload_failed=1.0))
    assert set(found) == {"install", "fix", "escalate"}
    assert found["fix"].check == "reload"
    assert max(found.values(), key=lambda option: option.net).kind == "fix"


def test_what_is_not_due_waits_until_it_is_and_no_longer_than_the_horizon() -> None:
    assert offered(row(days_past_due=-5.0))["renew"].earliest_days == 5.0
    assert "renew" not in offered(row(days_past_due=-20.0))
    assert "renew" not in offered(row(), able=False)


def test_what_a_rehearsal_found_is_mended_before_it_is_due() -> None:
    found = offered(row(days_past_due=-40.0, rehearsal="caa: only other.example may issue"))
    assert set(found) == {"fix", "escalate"}
    assert found["fix"].check == "rehearsal: caa: only other.example may issue"
    due = offered(row(rehearsal="caa: only other.example may issue"))
    assert due["renew"].failed == pytest.approx(0.3 * 380.0)


def test_what_is_far_from_due_is_rehearsed_where_that_is_worth_it() -> None:
    doubtful = row(days_past_due=-30.0, days_left=60.0, days_to_slip=51.0, p_failed=0.05, p_slipped=0.05)
    assert max(offered(doubtful).values(), key=lambda option: option.net).kind == "rehearse"
    lately = offered(doubtful | {"days_since_rehearsal": 1.0})
    assert lately["rehearse"].failed < offered(doubtful)["rehearse"].failed / 20
    assert "rehearse" not in offered(row(days_left=-1.0, days_to_slip=-10.0))


def test_what_is_probably_unused_may_be_retired() -> None:
    assert offered(row(p_retired=0.8))["retire"].failed == pytest.approx(32.0)
    assert "retire" not in offered(row(p_retired=0.4))
