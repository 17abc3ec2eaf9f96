"""The line and its breakers, against a world that fails as it likes."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.execution.breakers import Breakers, Outcome, Part
from certforecast.execution.line import Line
from certforecast.planning.plan import Action
from tests.execution.test_workflow import ACTION

NOW = datetime(2026, 11, 1, tzinfo=UTC)
REST = timedelta(hours=1)


def action(number: int, installer: str, domain: str) -> Action:
    return ACTION.model_copy(
        update={"id": f"a{number}", "rank": number + 1, "installer": installer, "owner": domain}
    )


def parts_of(action: Action) -> tuple[Part, ...]:
    return (("installer", str(action.installer)), ("domain", str(action.owner)))


def outcome(action: Action, *, fails: bool) -> Outcome:
    parts = parts_of(action)
    return Outcome(parts, NOW, frozenset(parts) if fails else None)


WORLDS = st.lists(st.tuples(st.sampled_from("np"), st.sampled_from("xyz"), st.booleans()), max_size=24)


@settings(max_examples=300)
@given(world=WORLDS, room=st.integers(1, 6), per_domain=st.integers(1, 3), data=st.data())
def test_every_action_ends_and_no_limit_is_ever_passed(
    world: list[tuple[str, str, bool]], room: int, per_domain: int, data: st.DataObject
) -> None:
    actions = [action(number, installer, domain) for number, (installer, domain, _) in enumerate(world)]
    fails = {f"a{number}": broken for number, (_, _, broken) in enumerate(world)}
    line = Line(actions, parts_of, Breakers(2, 4, REST), room=room, per_domain=per_domain)
    running: list[Action] = []
    ended: list[str] = []
    skipped: list[str] = []
    proven: set[Part] = set()
    row: dict[Part, int] = {}
    while not line.over:
        skipped += [each.id for each, _ in line.stopped(NOW)]
        begun = line.begin()
        assert [each.rank for each in begun] == sorted(each.rank for each in begun)
        running += begun
        assert {each.id for each in running} == line.running
        assert len(running) <= room
        for part in {part for each in running for part in parts_of(each)}:
            busy = sum(part in parts_of(each) for each in running)
            assert busy <= (per_domain if part[0] == "domain" else room)
            assert part in proven or busy == 1, "one canary at a time"
        for each in begun:
            assert all(row.get(part, 0) < 2 for part in parts_of(each)), (
                "an open breaker lets nothing through"
            )
        if not running:
            continue
        chosen = data.draw(st.sampled_from(running))
        running.remove(chosen)
        ended.append(chosen.id)
        line.ended(chosen.id, outcome(chosen, fails=fails[chosen.id]))
        for part in parts_of(chosen):
            row[part] = row.get(part, 0) + 1 if fails[chosen.id] else 0
            if not fails[chosen.id]:
                proven.add(part)
    assert sorted(ended + skipped) == sorted(each.id for each in actions)
    if not any(fails.values()):
        assert skipped == []


def test_what_failed_rests_and_is_then_tried_by_one() -> None:
    breakers, bad = Breakers(2, 99, REST), action(0, "n", "x")
    breakers.note(outcome(bad, fails=False))
    for _ in range(2):
        assert breakers.opened(parts_of(bad), NOW) is None
        breakers.note(outcome(bad, fails=True))
    why = breakers.opened(parts_of(bad), NOW)
    assert why == "the installer n rests until 2026-11-01 01:00 UTC after 2 failures in a row"
    assert breakers.opened((("installer", "other"),), NOW) is None
    later = NOW + REST
    assert breakers.opened(parts_of(bad), later) is None
    line = Line([bad, action(1, "n", "y")], parts_of, breakers, room=9, per_domain=9)
    assert line.begin() == [bad]
    assert line.begin() == []
    line.ended("a0", outcome(bad, fails=False))
    assert [each.id for each in line.begin()] == ["a1"]


def test_too_many_failures_in_all_stop_everything() -> None:
    breakers = Breakers(99, 3, REST)
    for number in range(3):
        breakers.note(outcome(action(number, f"i{number}", f"d{number}"), fails=True))
    why = breakers.opened((("installer", "fresh"),), NOW)
    assert why is not None
    assert why.startswith("everything rests")


def test_a_failure_counts_only_for_what_it_is_blamed_on() -> None:
    breakers = Breakers(1, 99, REST)
    parts = parts_of(action(0, "n", "x"))
    breakers.note(Outcome(parts, NOW, frozenset({("domain", "x")})))
    assert breakers.opened((("installer", "n"),), NOW) is None
    assert breakers.opened((("domain", "x"),), NOW) is not None


def test_what_waits_longest_is_not_passed_over_for_ever() -> None:
    many = [action(number, "n", "x") for number in range(5)]
    line = Line(many, parts_of, Breakers(9, 9, REST), room=4, per_domain=1)
    order = []
    while not line.over:
        (begun,) = line.begin()
        order.append(begun.id)
        line.ended(begun.id, outcome(begun, fails=False))
    assert order == ["a0", "a1", "a2", "a3", "a4"]
