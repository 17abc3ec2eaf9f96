"""Margins of past renewals, by lineage, without what an action of ours changed."""

import pytest

from certforecast.renewals import renewals
from certforecast.renewals.margins import past_margins
from tests.timeline import Timeline, day

NAME = "www.shop.example"


def test_margins_are_given_by_lineage_the_latest_last_and_none_of_the_future() -> None:
    timeline = Timeline()
    first = timeline.certificate("a", NAME, 0)
    timeline.certificate("b", NAME, 85)
    timeline.certificate("c", NAME, 150)
    timeline.certificate("d", NAME, 241)
    alone = timeline.certificate("other", "mail.other.example", 10)
    with timeline.history() as history:
        assert past_margins(renewals(history, day(245)))[first] == pytest.approx([5.0, 25.0, -1.0])
        assert past_margins(renewals(history, day(160)))[first] == pytest.approx([5.0, 25.0])
        assert alone not in past_margins(renewals(history, day(245)))
