"""The plan file: what is written comes back, what does not fit is refused in one line."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import PlanError
from certforecast.planning import Action, Endpoint, Plan, Probabilities
from certforecast.planning.plan import SCHEMA_VERSION, action_id

NOW = datetime(2026, 10, 1, tzinfo=UTC)


def action(**others: Any) -> Action:
    values = {
        "id": "a1",
        "rank": 1,
        "kind": "renew",
        "lineage": "ab" * 32,
        "name": "www.shop.example",
        "fingerprint": "ab" * 32,
        "names": ("www.shop.example",),
        "endpoints": (Endpoint(host="h1", port=443, server_name="www.shop.example"),),
        "not_after": NOW + timedelta(days=3),
        "probabilities": Probabilities(on_time=0.5, slipped=0.2, failed=0.2, retired=0.1),
        "expected_loss": 110.0,
        "expected_loss_averted": 104.5,
        "cost": 5.0,
        "reasons": ("3 days left of 90 days",),
    }
    return Action(**(values | others))


def plan(*actions: Action, **others: Any) -> Plan:
    values = {"id": "p1", "created_at": NOW, "as_of": NOW, "expires_at": NOW + timedelta(days=1)}
    return Plan(**(values | {"actions": actions} | others))


def test_what_is_written_comes_back_and_fits_the_schema(tmp_path: Path) -> None:
    made = plan(action(), action(id="a2", rank=2, kind="install", successor="cd" * 32))
    made.write(tmp_path / "sub" / "plan.json")
    assert Plan.read(tmp_path / "sub" / "plan.json") == made
    document = json.loads((tmp_path / "sub" / "plan.json").read_text())
    jsonschema.validate(document, Plan.json_schema())
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["plan.json"]


def test_the_schema_in_the_docs_is_the_one_in_the_code() -> None:
    shown = Path(__file__).parents[2] / "docs" / "plan.schema.json"
    assert json.loads(shown.read_text()) == Plan.json_schema()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 5}, r"schema version 5.*upgrade certforecast"),
        ({"expires_at": "soon"}, r"expires_at: "),
        ({"expires_at": "2026-10-01T00:00:00"}, r"expires_at: .*timezone"),
        ({"mood": "good"}, r"mood: Extra inputs"),
        ({"actions": [{"id": "a"}]}, r"actions\.0\.rank: .*\(and \d+ more\)"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_field(
    tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan().model_dump(mode="json") | change))
    with pytest.raises(PlanError, match=said):
        Plan.read(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_words(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    path.write_bytes(data)
    with pytest.raises(PlanError, match="plan "):
        Plan.read(path)


def test_a_plan_holds_until_it_expires() -> None:
    made = plan()
    made.check_fresh(made.expires_at)
    with pytest.raises(PlanError, match="make a new one"):
        made.check_fresh(made.expires_at + timedelta(microseconds=1))


def test_an_id_says_which_action_it_is() -> None:
    assert action_id("renew", "ab", NOW) == action_id("renew", "ab", NOW)
    others = {action_id("install", "ab", NOW), action_id("renew", "ac", NOW)}
    others.add(action_id("renew", "ab", NOW + timedelta(seconds=1)))
    assert action_id("renew", "ab", NOW) not in others
    assert len(others) == 3


def test_a_signed_plan_of_an_older_schema_is_called_older_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan(action(), schema_version=SCHEMA_VERSION - 1).signed(tmp_path).write(path)
    written = json.loads(path.read_text())
    del written["actions"][0]["urgent"]
    path.write_text(json.dumps(written))
    with pytest.raises(PlanError, match=f"schema version {SCHEMA_VERSION - 1}, an older one: make it again"):
        Plan.read(path)
