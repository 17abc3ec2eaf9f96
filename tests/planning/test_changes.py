"""What a plan's successor says differently."""

from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from certforecast.planning import HeldOut, Probabilities, compare
from tests.planning.test_plan import NOW, action, plan


def test_the_same_plan_has_no_changes() -> None:
    assert compare(plan(action()), plan(action())) == []
    # Another place in the order is no change of what is done.
    assert compare(plan(action()), plan(action(rank=7))) == []


def test_what_is_new_what_is_gone_and_what_changed() -> None:
    kept = action(id="k", fingerprint="11" * 32, lineage="11" * 32, name="kept.example")
    gone = action(id="g", fingerprint="22" * 32, lineage="22" * 32, name="gone.example")
    fresh = action(id="n", fingerprint="33" * 32, lineage="33" * 32, name="new.example")
    worse = kept.model_copy(
        update={
            "kind": "fix",
            "check": "attempt: caa",
            "probabilities": Probabilities(on_time=0.2, slipped=0.2, failed=0.5, retired=0.1),
            "reasons": ("3 failed attempts in 30 days",),
        }
    )
    changes = compare(plan(kept, gone), plan(worse, fresh))
    assert [(change.what, change.name) for change in changes] == [
        ("changed", "kept.example"),
        ("new", "new.example"),
        ("gone", "gone.example"),
    ]
    changed, new, lost = changes
    assert changed.why == (
        "renew became fix",
        "P(failed) went from 20% to 50%",
        "check: none became attempt: caa",
        "now: 3 failed attempts in 30 days",
    )
    assert (changed.before, changed.after) == (kept, worse)
    assert new.why == ("renew: 3 days left of 90 days",)
    assert new.before is None
    assert lost.why == ("it is renewed, retired, or no longer worth the cost",)


def test_a_renewal_that_came_and_one_that_is_held_out() -> None:
    before = plan(action())
    renewed = plan(action(fingerprint="99" * 32))
    (new, gone) = compare(before, renewed)
    assert (new.what, gone.what) == ("new", "gone")
    assert "another certificate of the lineage is in place, 999999999999" in gone.why[0]
    held = HeldOut(
        kind="renew", lineage="ab" * 32, name="www.shop.example", fingerprint="ab" * 32,
        host="www.shop.example", not_after=NOW, probabilities=action().probabilities,
        expected_loss_averted=1.0, share=0.1, why="to learn from",
    )  # fmt: skip
    (gone,) = compare(before, plan(held_out=(held,)))
    assert gone.why == ("it is held out now",)


def test_waiting_says_until_when() -> None:
    first = action(kind="wait", then="renew", start=NOW + timedelta(days=2))
    later = action(kind="wait", then="renew", start=NOW + timedelta(days=3))
    (change,) = compare(plan(first), plan(later))
    assert change.why == ("it waits until 2026-10-04 00:00, not 2026-10-03 00:00",)
    (change,) = compare(plan(first), plan(action()))
    assert change.why == ("wait, then renew became renew",)


def test_the_command_tells_people_and_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from certforecast.cli import plan as module

    plan(action()).write(tmp_path / "a.json")
    plan(action(kind="escalate")).write(tmp_path / "b.json")
    run = CliRunner().invoke
    told = run(module.app, ["plan", "diff", str(tmp_path / "a.json"), str(tmp_path / "b.json")])
    assert (told.exit_code, "renew became escalate" in told.output) == (0, True)
    paths = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    asked = run(module.app, ["plan", "diff", *paths, "--json", "--check"])
    assert asked.exit_code == 1
    assert '"what":"changed"' in asked.stdout
    assert run(module.app, ["plan", "diff", paths[0], paths[0], "--check"]).exit_code == 0
