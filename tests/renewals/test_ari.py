"""A renewal is due when its CA asks for it, as far as that was known."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.policy import RenewalPolicy
from certforecast.renewals import renewals
from certforecast.renewals.ari import Asked, moment_in
from tests.timeline import Timeline, day

NAME = "www.shop.example"


def ask(
    timeline: Timeline, at: float, key: str, start: float, end: float, moment: float, url: str = ""
) -> None:
    asked = Asked(day(start), day(end), day(moment), url or None)
    timeline.event(at, NAME, "ari_window", fingerprint=key, detail=asked.detail, source="ari")


def due(timeline: Timeline, at: float) -> datetime:
    with timeline.history() as history:
        return renewals(history, day(at)).set_index("not_before").due[day(0)].to_pydatetime()


def test_due_is_what_was_asked_last_by_then() -> None:
    timeline = Timeline()
    key = timeline.certificate("a", NAME, 0)
    ask(timeline, 10, key, 58, 62, 59)
    ask(timeline, 20, key, 19, 20, 19.5, "https://ca.example/incident 7")
    assert due(timeline, 9) == day(60)  # two thirds of the lifetime
    assert due(timeline, 15) == day(59)
    assert due(timeline, 25) == day(19.5)


def test_due_is_never_after_the_slip_point_nor_before_the_issue() -> None:
    timeline = Timeline()
    key = timeline.certificate("a", NAME, 0)
    ask(timeline, 10, key, 80, 90, 89)
    assert due(timeline, 15) == day(81)
    ask(timeline, 20, key, -300, 21, -200)
    assert due(timeline, 25) == day(0)


def test_what_another_source_wrote_is_passed_over() -> None:
    timeline = Timeline()
    key = timeline.certificate("a", NAME, 0)
    timeline.event(10, NAME, "ari_window", fingerprint=key, detail="soon", source="ari")
    assert due(timeline, 15) == day(60)


def test_details_are_read_as_they_were_written() -> None:
    for url in (None, "https://ca.example/why?a b"):
        asked = Asked(day(1), day(2), day(1.5), url)
        assert Asked.read(asked.detail) == asked
    for broken in ("", "soon", "a/b c", "2025-01-01T00:00:00Z 2025-01-01T00:00:00Z"):
        with pytest.raises(ValueError, match=r".+"):
            Asked.read(broken)


@given(st.floats(0, 100), st.floats(0.001, 100), st.text("0123456789abcdef", min_size=64, max_size=64))
def test_the_moment_lies_in_the_window_and_by_the_slip_point(start: float, length: float, key: str) -> None:
    first, last = day(start), day(start + length)
    chosen = moment_in(first, last, key, not_before=day(0), not_after=day(90), policy=RenewalPolicy())
    again = moment_in(first, last, key, not_before=day(0), not_after=day(90), policy=RenewalPolicy())
    assert chosen == again
    assert min(first, day(81)) - timedelta(seconds=1) <= chosen <= min(last, day(81))


def test_moments_are_spread_over_the_window() -> None:
    moments = sorted(
        moment_in(day(10), day(20), f"{n:064x}", not_before=day(0), not_after=day(90), policy=RenewalPolicy())
        for n in range(1000)
    )
    shares = [(moment - day(10)) / timedelta(days=10) for moment in moments]
    worst = max(abs(share - n / 1000) for n, share in enumerate(shares))
    assert worst < 0.06  # Kolmogorov and Smirnov: more, once in a thousand
