"""Outcomes and lineages of histories small enough to judge by hand."""

import pandas as pd
import pytest

from certforecast.policy import RenewalPolicy
from certforecast.renewals import renewals
from tests.timeline import Timeline, day

NAME = "www.shop.example"


def judge(timeline: Timeline, at: float) -> pd.DataFrame:
    with timeline.history() as history:
        return renewals(history, day(at)).set_index("fingerprint")


@pytest.mark.parametrize(
    ("issued", "outcome"),
    [(60.0, "on_time"), (81.0, "on_time"), (81.5, "slipped"), (90.0, "slipped"), (91.0, "failed")],
)
def test_issuance_alone_is_judged_by_slip_point_and_expiry(issued: float, outcome: str) -> None:
    timeline = Timeline()
    first = timeline.certificate("a", NAME, 0)
    second = timeline.certificate("b", NAME, issued)
    row = judge(timeline, 200).loc[first]
    assert (row.outcome, row.successor, row.why, row.evidence) == (outcome, second, "exact", "issuance")
    assert row.margin_days == pytest.approx(90 - issued)
    assert row.renewal_lag_days == pytest.approx(issued - 60)


def test_due_follows_lifetime() -> None:
    timeline = Timeline()
    long = timeline.certificate("a", NAME, 0, days=90)
    short = timeline.certificate("b", "short.example", 0, days=6)
    rows = judge(timeline, 1)
    assert rows.loc[long].due == day(60)
    assert rows.loc[short].due == day(3)
    assert rows.loc[long].slip_point == day(81)
    assert rows.loc[short].slip_point == day(5.4)


def test_slip_point_of_a_long_certificate_is_capped() -> None:
    timeline = Timeline()
    long = timeline.certificate("a", NAME, 0, days=398)
    assert judge(timeline, 1).loc[long].slip_point == day(368)


def test_a_renewal_is_open_until_the_grace_period_ends_and_then_retired() -> None:
    timeline = Timeline()
    only = timeline.certificate("a", NAME, 0)
    assert judge(timeline, 50).loc[only].outcome == "open"
    assert judge(timeline, 119.9).loc[only].outcome == "open"
    row = judge(timeline, 120).loc[only]
    assert (row.outcome, row.resolved_at) == ("retired", day(120))


def test_a_certificate_still_served_after_expiry_has_failed_whatever_was_issued() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    timeline.certificate("b", NAME, 60)
    timeline.looks(1, 92, old)
    assert judge(timeline, 89).loc[old].outcome == "open"
    row = judge(timeline, 95).loc[old]
    assert (row.outcome, row.resolved_at, row.evidence) == ("failed", day(91), "service")


def test_renewed_but_not_served_is_open_and_known_to_be_issued() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    new = timeline.certificate("b", NAME, 60)
    timeline.looks(1, 85, old)
    row = judge(timeline, 85).loc[old]
    assert (row.outcome, row.successor, row.endpoints_still) == ("open", new, 1)
    assert pd.isna(row.in_service_at)


def test_service_begins_half_way_between_the_looks_on_the_last_endpoint() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    new = timeline.certificate("b", NAME, 60)
    for host, switch in (("h1", 62), ("h2", 70)):
        timeline.looks(1, switch, old, step=2.0, host=host)
        timeline.looks(switch, 80, new, step=2.0, host=host)
    assert judge(timeline, 68).loc[old].outcome == "open"
    row = judge(timeline, 80).loc[old]
    assert (row.outcome, row.endpoints_moved) == ("on_time", 2)
    assert row.in_service_at == day(69.5)
    assert row.resolved_at == day(70)


def test_a_gap_is_claimed_only_where_it_was_seen() -> None:
    """The look before expiry saw the old leaf, the next one, after expiry, the new: no proof of a gap."""
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    new = timeline.certificate("b", NAME, 88)
    timeline.looks(1, 89, old)
    timeline.looks(93, 96, new)
    row = judge(timeline, 96).loc[old]
    assert (row.outcome, row.margin_days) == ("slipped", 0)


def test_a_host_that_died_is_retired_even_if_its_certificate_expired() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    timeline.looks(1, 40, old)
    for at in range(40, 60):
        timeline.look(at, None, error="dns")
    assert judge(timeline, 95).loc[old].outcome == "open"
    assert judge(timeline, 130).loc[old].outcome == "retired"


def test_a_recorded_retirement_is_believed_at_once() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    timeline.event(30, NAME, "retired")
    assert judge(timeline, 29).loc[old].outcome == "open"
    row = judge(timeline, 31).loc[old]
    assert (row.outcome, row.resolved_at) == ("retired", day(30))


def test_a_zombie_that_renews_unserved_is_retired_not_on_time() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    timeline.certificate("b", NAME, 60)
    timeline.looks(1, 40, old)
    for at in range(40, 130):
        timeline.look(at, None, error="refused")
    assert judge(timeline, 130).loc[old].outcome == "retired"


def test_when_nobody_looked_after_expiry_issuance_stands_in() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    timeline.certificate("b", NAME, 60)
    timeline.looks(1, 30, old)
    row = judge(timeline, 121).loc[old]
    assert (row.outcome, row.evidence, row.resolved_at) == ("on_time", "issuance", day(120))


def test_a_grown_name_set_is_a_successor_and_one_lineage() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    new = timeline.certificate("b", [NAME, "shop.example"], 62)
    rows = judge(timeline, 100)
    assert (rows.loc[old].successor, rows.loc[old].why) == (new, "superset+overlap")
    assert rows.loc[old].lineage == rows.loc[new].lineage == old


def test_the_ordinary_renewal_of_a_larger_set_is_no_successor() -> None:
    timeline = Timeline()
    timeline.certificate("big1", [NAME, "shop.example"], -40)
    small = timeline.certificate("a", NAME, 0)
    timeline.certificate("big2", [NAME, "shop.example"], 20)
    assert judge(timeline, 60).loc[small].successor is None or pd.isna(
        judge(timeline, 60).loc[small].successor
    )


def test_a_certificate_merged_into_another_lineage_is_retired() -> None:
    timeline = Timeline()
    timeline.certificate("big1", [NAME, "shop.example"], -40)
    small = timeline.certificate("a", NAME, 0)
    timeline.certificate("big2", [NAME, "shop.example"], 20)
    row = judge(timeline, 91).loc[small]
    assert (row.outcome, row.why) == ("retired", "covered")


def test_an_endpoint_that_changed_leaf_shows_the_successor_of_a_shrunk_set() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", [NAME, "old.shop.example"], 0)
    new = timeline.certificate("b", NAME, 60)
    timeline.looks(1, 61, old)
    timeline.looks(61, 70, new)
    row = judge(timeline, 70).loc[old]
    assert (row.successor, row.why, row.outcome) == (new, "endpoint+overlap", "on_time")


def test_an_endpoint_that_turned_to_another_site_is_not_a_renewal() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    other = timeline.certificate("b", "other.example", 60)
    timeline.looks(1, 61, old)
    timeline.looks(61, 70, other)
    row = judge(timeline, 70).loc[old]
    assert pd.isna(row.successor)
    assert (row.outcome, row.endpoints_gone) == ("open", 1)


def test_an_endpoint_with_evidence_beats_a_candidate_without() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    timeline.certificate("unused", NAME, 58)
    used = timeline.certificate("used", NAME, 60)
    timeline.looks(1, 61, old)
    timeline.looks(61, 70, used)
    assert judge(timeline, 70).loc[old].successor == used


def test_our_own_action_marks_the_renewal_it_acted_upon_and_no_other() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    new = timeline.certificate("b", NAME, 85)
    timeline.event(85, NAME, "order_created", source="executor", fingerprint=old)
    rows = judge(timeline, 100)
    assert bool(rows.loc[old].intervention) is True
    assert bool(rows.loc[new].intervention) is False


def test_nothing_known_later_is_seen() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    timeline.certificate("b", NAME, 60, known=75)
    assert judge(timeline, 74).loc[old].outcome == "open"
    assert judge(timeline, 75).loc[old].outcome == "on_time"


def test_policy_moves_the_thresholds() -> None:
    timeline = Timeline()
    old = timeline.certificate("a", NAME, 0)
    timeline.certificate("b", NAME, 70)
    with timeline.history() as history:
        row = renewals(history, day(90), RenewalPolicy(slip_fraction=0.5)).set_index("fingerprint").loc[old]
    assert row.outcome == "slipped"


def test_an_empty_store_has_no_renewals() -> None:
    with Timeline().history() as history:
        assert renewals(history, day(0)).empty
