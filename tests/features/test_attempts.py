"""Which failed attempts are those of a certificate, whatever its client calls the lineage."""

import pytest

from certforecast.features import features
from tests.timeline import Timeline, day


@pytest.mark.parametrize(
    ("lineage", "told", "attempts"),
    [
        ("a.example", None, 2),  # a name of the certificate
        ("web/shop", "a.example", 2),  # as cert-manager says; an earlier event tells the host
        ("web/shop", "b.example", 0),  # another certificate's
        ("web/shop", None, 0),  # nobody tells whose
    ],
)
def test_attempts_are_matched_by_name_or_host(lineage: str, told: str | None, attempts: int) -> None:
    timeline = Timeline()
    timeline.certificate("a", "a.example", 0)
    timeline.certificate("b", "b.example", 0)
    timeline.event(0.1, lineage, "issued", host=told)
    timeline.event(60, lineage, "order_failed", code="dns")
    timeline.event(61, lineage, "challenge_failed", code="dns", host=told)
    with timeline.history() as history:
        frame = features(history, day(62))
    found = frame[frame["fingerprint"] == timeline.batch.certificates[0]["fingerprint"]].iloc[0]
    # Both lie within the last seven days.
    assert round(found["attempts_failed_week"] * 7) == attempts


def test_a_host_that_is_told_later_does_not_count_before() -> None:
    timeline = Timeline()
    timeline.certificate("a", "a.example", 0)
    timeline.event(60, "web/shop", "order_failed", code="dns")
    timeline.event(0.1, "web/shop", "issued", host="a.example", known_at=day(65))
    with timeline.history() as history:
        before, after = features(history, day(62)).iloc[0], features(history, day(66)).iloc[0]
    assert before["attempts_failed_week"] == 0
    assert after["attempts_failed_week"] > 0
