"""What the record of the executor makes of assumptions."""

import pytest

from certforecast.planning.effects import learned
from certforecast.settings import EffectSettings
from tests.timeline import Timeline, day

ASSUMED = EffectSettings(renew=0.9, install=0.8, trusted_after=10.0)


def acted(timeline: Timeline, at: float, name: str, *kinds: str, actor: str = "certforecast") -> None:
    for number, kind in enumerate(kinds):
        moment = day(at + number / 1000)
        timeline.batch.events.append(
            {"at": moment, "lineage": name, "kind": kind, "actor": actor, "source": "executor",
             "known_at": moment}
        )  # fmt: skip


def test_nothing_on_record_leaves_the_assumptions() -> None:
    with Timeline().history() as history:
        assert learned(history, day(100), ASSUMED, "certforecast") == ASSUMED


def test_what_went_well_and_what_did_not() -> None:
    timeline = Timeline()
    for number in range(6):
        acted(timeline, number, f"good{number}", "order_created", "issued", "installed", "verified")
    acted(timeline, 1, "blocked", "challenge_failed", "challenge_failed")
    acted(timeline, 2, "lost", "order_created", "issued", "verify_failed", "rolled_back")
    acted(timeline, 3, "served", "installed", "verified")
    acted(timeline, 4, "theirs", "order_failed", actor="certbot")
    acted(timeline, 50, "later", "order_failed")
    with timeline.history() as history:
        found = learned(history, day(20), ASSUMED, "certforecast")
        assert found.renew == pytest.approx((0.9 * 10 + 6) / (10 + 8))
        assert found.install == pytest.approx((0.8 * 10 + 1) / (10 + 1))
        assert found.escalate == ASSUMED.escalate
        # What is known later makes a difference later only.
        assert learned(history, day(60), ASSUMED, "certforecast").renew == pytest.approx(15 / 19)
