"""The order of an action's steps, whatever fails, and the record of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.execution.record import rows
from certforecast.execution.workflow import carry_out
from certforecast.history import History
from certforecast.history.x509 import fingerprint
from certforecast.planning.plan import Action, Endpoint, Probabilities
from tests.certificates import certificate, der, pem

START = datetime(2026, 11, 1, tzinfo=UTC)
STEPS = ["order", "issue", "stage", "check", "install", "verify", "rollback", "clear"]
LEAF = certificate("www.example.org", start=START)

ACTION = Action(
    id="a" * 16,
    rank=1,
    kind="renew",
    lineage="0" * 64,
    name="www.example.org",
    fingerprint="0" * 64,
    names=("*.example.org", "www.example.org"),
    endpoints=(Endpoint(host="192.0.2.1", port=443, server_name="www.example.org"),),
    not_after=START + timedelta(days=2),
    probabilities=Probabilities(on_time=0, slipped=0, failed=1, retired=0),
    expected_loss=1.0,
    expected_loss_averted=1.0,
    cost=1.0,
    reasons=("two days left",),
)


def answer(name: str, *, fails: bool, present: bool) -> dict[str, Any]:
    """Give what a step gives, as JSON."""
    at = (START + timedelta(seconds=STEPS.index(name))).isoformat()
    result: dict[str, Any] = {"at": at, "seconds": 0.5}
    if fails:
        return {**result, "error": {"message": f"{name} broke", "code": None, "cause": "installer"}}
    look = {
        "observed_at": at,
        **ACTION.endpoints[0].model_dump(include={"host", "port", "server_name"}),
        "fingerprint": "1" * 64,
        "chain_status": "valid",
        "error": None,
        "latency_ms": 1.0,
    }
    more: dict[str, dict[str, Any]] = {
        "order": {"served": ["0" * 64], **({"present": "1" * 64} if present else {"order": {"serial": "1"}})},
        "issue": {"chain": pem(LEAF).decode()},
        "stage": {"fingerprint": "1" * 64},
        "check": {"before": ["0" * 64]},
        "install": {"complaints": []},
        "verify": {"looks": [look]},
        "rollback": {"looks": [{**look, "fingerprint": "0" * 64}]},
    }
    return {**result, **more.get(name, {})}


@given(failing=st.sets(st.sampled_from(STEPS)), present=st.booleans())
def test_whatever_fails_it_ends_recorded_and_what_changed_is_put_back(
    failing: set[str], present: bool
) -> None:
    taken: list[str] = []

    def step(name: str, done: dict[str, dict[str, Any]]) -> dict[str, Any]:
        assert list(done) == taken
        taken.append(name)
        return answer(name, fails=name in failing, present=present)

    result = carry_out(ACTION, step)
    assert taken[-1] == "clear"
    assert [taken_step.name for taken_step in result.steps] == taken
    assert taken == sorted(taken, key=STEPS.index)
    changed_in_vain = bool({"install", "verify"} & failing & set(taken))
    assert ("rollback" in taken) == (changed_in_vain and not present)
    failed = failing & set(taken) - {"clear"}
    expected = "verified" if not failed else "rolled_back" if "rollback" in set(taken) - failing else "failed"
    assert result.status == expected
    for name in failed:
        assert f"{name} broke" in result.detail
    assert (result.cause is None) == (not failed)
    if present and "order" not in failing:
        assert not {"issue", "stage", "check"} & set(taken)


@settings(deadline=None, max_examples=30)
@given(failing=st.sets(st.sampled_from(STEPS)), present=st.booleans())
def test_every_record_is_sound_and_may_be_written_twice(failing: set[str], present: bool) -> None:
    done: dict[str, dict[str, Any]] = {}

    def step(name: str, so_far: dict[str, dict[str, Any]]) -> dict[str, Any]:
        del so_far
        done[name] = answer(name, fails=name in failing, present=present)
        return done[name]

    carry_out(ACTION, step)
    with History(None) as history:
        first = history.append(rows(ACTION, done, "robot"))
        second = history.append(rows(ACTION, done, "robot"))
    assert first.quarantined == second.quarantined == 0
    assert first.new > 0
    assert second.changed == 0


@pytest.mark.parametrize(("step", "kind"), [("order", "order_failed"), ("issue", "challenge_failed")])
def test_a_failed_challenge_is_told_from_a_failed_order(step: str, kind: str) -> None:
    done = {name: answer(name, fails=False, present=False) for name in STEPS[: STEPS.index(step)]}
    done[step] = answer(step, fails=True, present=False)
    done[step]["error"] |= {"code": "dns", "cause": "challenge" if kind == "challenge_failed" else "issuer"}
    event = rows(ACTION, done, "robot").events[-1]
    assert (event["kind"], event["code"], event["host"], event["actor"]) == (
        kind,
        "dns",
        "www.example.org",
        "robot",
    )


@pytest.mark.parametrize("failing", [set(), {"verify"}])
def test_every_event_names_its_certificate(failing: set[str]) -> None:
    done: dict[str, dict[str, Any]] = {}

    def step(name: str, so_far: dict[str, dict[str, Any]]) -> dict[str, Any]:
        del so_far
        done[name] = answer(name, fails=name in failing, present=False)
        return done[name]

    carry_out(ACTION, step)
    told = {event["kind"]: event["fingerprint"] for event in rows(ACTION, done, "robot").events}
    old, new = "0" * 64, "1" * 64
    expected = {
        "order_created": old,
        "issued": fingerprint(der(LEAF)),
        "staged": new,
        "installed": new,
        "reloaded": old,
    }
    assert told == expected | ({"verify_failed": old, "rolled_back": old} if failing else {"verified": new})
