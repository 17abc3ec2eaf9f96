"""Which action is chosen for which renewal, and in which order."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from certforecast.features import FEATURES, features
from certforecast.models import OutcomeClassifier
from certforecast.planning import Action, Plan, make_plan
from certforecast.settings import CostSettings, Settings
from tests.timeline import Timeline, day

#: Each example plans anew; shrinking a failure would take minutes.
QUICK = [Phase.explicit, Phase.reuse, Phase.generate]

Four = tuple[float, float, float, float]

ABLE = {
    "issuers": {"ca": {"kind": "embedded", "directory": "ca"}},
    "installers": {"web": {"kind": "files", "certificate": "/x/{name}.pem", "key": "/x/{name}.key"}},
    "executor": {"issuer": "ca", "installer": "web"},
}


def propose(
    timeline: Timeline,
    at: float,
    probabilities: dict[str, tuple[float, float, float, float]] | None = None,
    default: tuple[float, float, float, float] = (0.4, 0.2, 0.4, 0.0),
    **others: Any,
) -> Plan:
    """Plan for a small history with probabilities (on time, slipped, failed, retired) by fingerprint."""
    with timeline.history() as history:
        frame = features(history, day(at))
        given = [(probabilities or {}).get(key, default) for key in frame["fingerprint"]]
        columns = ["p_on_time", "p_slipped", "p_failed", "p_retired"]
        forecasts = pd.concat([frame, pd.DataFrame(given, columns=columns)], axis=1)
        return make_plan(history, forecasts, day(at), Settings(**(ABLE | others)), clock=lambda: day(at))


def served(*labels: str, issued: float = 0) -> tuple[Timeline, list[str]]:
    timeline = Timeline()
    made = []
    for label in labels:
        made.append(timeline.certificate(label, f"{label}.shop.example", issued))
        timeline.looks(issued + 1, issued + 100, made[-1], step=7.0, host=label)
    return timeline, made


def only(plan: Plan) -> Action:
    (action,) = plan.actions
    return action


def test_what_is_due_is_renewed_and_what_is_not_due_is_left_alone() -> None:
    timeline, (key,) = served("a")
    assert only(propose(timeline, 70)).kind == "renew"
    assert propose(timeline, 30, default=(0.97, 0.01, 0.01, 0.01)).actions == ()
    # Not due, but so doubtful that a look is worth its cost.
    assert only(propose(timeline, 30)).kind == "escalate"
    action = only(propose(timeline, 70))
    assert (action.fingerprint, action.names) == (key, ("a.shop.example",))
    assert [str(endpoint) for endpoint in action.endpoints] == ["a:443"]


def test_what_is_issued_and_not_served_is_installed() -> None:
    timeline, _ = served("a")
    new = timeline.certificate("new", "a.shop.example", 60)
    action = only(propose(timeline, 75, {new: (1.0, 0.0, 0.0, 0.0)}))
    assert (action.kind, action.successor) == ("install", new)
    assert "a successor was issued 15 days ago" in action.reasons[0]


def test_what_has_expired_and_is_served_has_failed_for_certain() -> None:
    timeline, (key,) = served("a")
    action = only(propose(timeline, 95))
    assert (action.kind, action.fingerprint, action.probabilities.failed) == ("renew", key, 1.0)
    assert action.reasons[0] == "expired 5 days ago and still served"


def test_without_issuer_or_installer_a_person_is_asked() -> None:
    timeline, _ = served("a")
    assert only(propose(timeline, 85, issuers={}, installers={}, executor={})).kind == "escalate"


def test_what_was_never_seen_cannot_be_proven_and_is_looked_into() -> None:
    timeline = Timeline()
    timeline.certificate("a", "a.shop.example", 0)
    assert only(propose(timeline, 85)).kind == "escalate"


@pytest.mark.parametrize(("p_retired", "kind"), [(0.49, "renew"), (0.97, "retire")])
def test_what_is_probably_unused_is_proposed_for_retirement(p_retired: float, kind: str) -> None:
    timeline, _ = served("a")
    rest = (1 - p_retired) / 3
    assert only(propose(timeline, 70, default=(rest, rest, rest, p_retired))).kind == kind


def test_a_critical_host_comes_first() -> None:
    timeline, (minor, major) = served("minor", "major")
    for host, criticality in (("minor", 0.2), ("major", 0.9)):
        timeline.batch.hosts.append(
            {"host": host, "criticality": criticality, "valid_from": day(0), "known_at": day(0)}
        )
    plan = propose(timeline, 80)
    assert [action.fingerprint for action in plan.actions] == [major, minor]
    assert [action.criticality for action in plan.actions] == [0.9, 0.2]
    # 0.4 of an outage of a day at 1000 and that criticality, and 0.2 of a slip at 50.
    assert [action.expected_loss for action in plan.actions] == pytest.approx([370.0, 90.0])


def test_the_inventory_names_issuer_and_installer() -> None:
    timeline, _ = served("a")
    timeline.batch.hosts.append(
        {"host": "a", "issuer": "own", "installer": "nowhere", "valid_from": day(0), "known_at": day(0)}
    )
    sections = ABLE["issuers"] | {"own": {"kind": "embedded", "directory": "own"}}
    action = only(propose(timeline, 80, issuers=sections))
    # An installer that the settings do not know is not taken; the default is.
    assert (action.issuer, action.installer) == ("own", "web")


def test_an_endpoint_takes_the_installer_of_its_own_host() -> None:
    timeline = Timeline()
    key = timeline.certificate("a", "a.shop.example", 0)
    for host in ("web1", "db1", "odd1", "old1", "new1"):
        timeline.looks(1, 80, key, step=7.0, host=host)
    rows: list[tuple[str, str | None, int, int]] = [
        ("web1", "web", 0, 0), ("db1", "db", 0, 0), ("odd1", "nowhere", 0, 0), ("old1", "web", 0, 0),
        ("old1", None, 50, 50), ("new1", "web", 0, 0), ("new1", "db", 5, 99),
    ]  # fmt: skip
    for host, installer, valid, known in rows:
        timeline.batch.hosts.append(
            {"host": host, "installer": installer, "valid_from": day(valid), "known_at": day(known)}
        )
    installers = ABLE["installers"] | {"db": {"kind": "files", "certificate": "/d.pem", "key": "/d.key"}}
    # Without a default, endpoints whose host names none leave nothing that could be done for all.
    with_default = only(propose(timeline, 80, installers=installers))
    own = {endpoint.host: endpoint.installer for endpoint in with_default.endpoints}
    assert own == {"web1": "web", "db1": "db", "odd1": None, "old1": None, "new1": "web"}
    assert with_default.kind == "renew"


def test_endpoints_with_installers_of_their_own_need_no_default() -> None:
    timeline, _ = served("a")
    timeline.batch.hosts.append({"host": "a", "installer": "web", "valid_from": day(0), "known_at": day(0)})
    action = only(propose(timeline, 80, executor={"issuer": "ca"}))
    assert (action.kind, action.endpoints[0].installer) == ("renew", "web")


class Situation:
    """A store at day 75 whose plan is made again and again for other probabilities and costs."""

    def __init__(self, criticality: float) -> None:
        timeline, due = served("due", "also", "unserved")
        self.due = {*due[:2]}
        self.unserved = due[2]
        self.successor = timeline.certificate("new", "unserved.shop.example", 60)
        young = timeline.certificate("young", "young.shop.example", 40)
        timeline.looks(41, 75, young, step=7.0, host="young")
        self.expired = timeline.certificate("expired", "expired.shop.example", -20)
        timeline.looks(-19, 75, self.expired, step=7.0, host="expired")
        timeline.batch.hosts.append(
            {"host": "due", "criticality": criticality, "valid_from": day(0), "known_at": day(0)}
        )
        self.critical = due[0]
        self.history = timeline.history()
        self.frame = features(self.history, day(75))

    def plan(self, given: list[Four], costs: CostSettings) -> Plan:
        columns = ["p_on_time", "p_slipped", "p_failed", "p_retired"]
        probabilities = pd.DataFrame(given[: len(self.frame)], columns=columns)
        forecasts = pd.concat([self.frame, probabilities], axis=1)
        return make_plan(
            self.history, forecasts, day(75), Settings(**ABLE, costs=costs), clock=lambda: day(75)
        )


@pytest.fixture(scope="module")
def minor() -> Iterator[Situation]:
    situation = Situation(criticality=0.3)
    with situation.history:
        yield situation


@pytest.fixture(scope="module")
def major() -> Iterator[Situation]:
    situation = Situation(criticality=0.8)
    with situation.history:
        yield situation


fours = st.tuples(*[st.floats(0.001, 1)] * 4).map(lambda four: tuple(part / sum(four) for part in four))
shares = st.lists(fours, min_size=6, max_size=6)


@st.composite
def prices(draw: st.DrawFn) -> CostSettings:
    amounts = st.floats(0, 200)
    return CostSettings(
        renew=draw(amounts),
        install=draw(amounts),
        escalate=draw(amounts),
        retire=draw(amounts),
        slip=draw(amounts),
        outage_per_day=draw(st.floats(0, 5000)),
    )


@given(shares, prices())
@settings(max_examples=12, deadline=None, phases=QUICK)
def test_whatever_the_forecasts_and_the_costs(
    minor: Situation, given: list[Four], costs: CostSettings
) -> None:
    plan = minor.plan(given, costs)
    worth = [action.expected_loss_averted - action.cost for action in plan.actions]
    assert all(value > 0 for value in worth)
    waits = [action.kind == "wait" for action in plan.actions]
    assert waits == sorted(waits)  # what waits comes last
    done = [value for value, wait in zip(worth, waits, strict=True) if not wait]
    assert done == sorted(done, reverse=True)
    assert [action.rank for action in plan.actions] == list(range(1, len(worth) + 1))
    assert len({action.id for action in plan.actions}) == len(worth)
    assert len({action.fingerprint for action in plan.actions}) == len(worth)
    assert plan.expires_at > plan.created_at == day(75)
    jsonschema.validate(plan.model_dump(mode="json"), Plan.json_schema())
    for action in plan.actions:
        assert action.reasons
        assert action.expected_loss_averted >= 0
        if action.kind == "renew":
            assert action.fingerprint in {*minor.due, minor.expired}
        if action.kind == "install":
            assert (action.fingerprint, action.successor) == (minor.unserved, minor.successor)
        if action.kind == "retire":
            assert action.probabilities.retired >= 0.5
        if action.fingerprint == minor.expired:
            assert action.probabilities.failed == 1.0


@given(shares, prices())
@settings(max_examples=8, deadline=None, phases=QUICK)
def test_more_criticality_never_lowers_a_rank(
    minor: Situation, major: Situation, given: list[Four], costs: CostSettings
) -> None:
    ranks = [
        {action.fingerprint: action.rank for action in situation.plan(given, costs).actions}
        for situation in (minor, major)
    ]
    before, after = (found.get(minor.critical, 1000) for found in ranks)
    assert after <= before


def test_the_situation_is_what_it_is_said_to_be(minor: Situation) -> None:
    plan = minor.plan([(0.1, 0.3, 0.5, 0.1)] * 6, CostSettings())
    kinds = {action.fingerprint: action.kind for action in plan.actions}
    assert kinds.pop(minor.unserved) == "install"
    assert kinds.pop(minor.expired) == "renew"
    assert {kinds.pop(key) for key in minor.due} == {"renew"}
    assert set(kinds.values()) == {"escalate"}


def test_the_same_history_gives_the_same_plan() -> None:
    timeline, _ = served("a", "b")
    assert propose(timeline, 80) == propose(timeline, 80)


def test_a_plan_says_what_moved_the_forecasts_if_given_their_model() -> None:
    timeline, (key,) = served("a")
    with timeline.history() as history:
        frame = features(history, day(85))
        rows = pd.concat([frame] * 60, ignore_index=True)[[*FEATURES]]
        rows["days_to_slip"] = np.tile([-4.0, 20.0], 30)
        model = OutcomeClassifier("logistic", lean=False, C=1.0).fit(rows, np.tile(["failed", "on_time"], 30))
        forecasts = pd.concat([frame, model.proba_frame(frame[[*FEATURES]])], axis=1)
        plan, bare = (
            make_plan(history, forecasts, day(85), Settings(**ABLE), explainer=given, clock=lambda: day(85))
            for given in (model, None)
        )
    assert (plan.id, only(plan).fingerprint) == (bare.id, key)
    first, *others = only(plan).reasons
    assert first.startswith("its slip point passed 4 days ago")
    assert first.endswith("points)")
    assert others == list(only(bare).reasons)
