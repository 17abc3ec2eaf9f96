"""Plans that are not to be carried out are refused before anything is touched."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.errors import ExecutionError, PlanError, SignatureError
from certforecast.execution.permission import blast_radius, check_allowed, check_approved, check_permitted
from certforecast.execution.tickets import open_ticket, tickets
from certforecast.planning import Plan, approve, read_approvals, write_approval
from certforecast.settings import Settings
from tests.execution.test_workflow import ACTION

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FILES = {"kind": "files", "certificate": "/c", "key": "/k"}


def plan(*actions: Any, **others: Any) -> Plan:
    values = {"id": "p1", "created_at": NOW, "as_of": NOW, "expires_at": NOW + timedelta(days=1)}
    return Plan(**(values | {"actions": actions or (ACTION,)} | others))


def test_a_plan_changed_anywhere_is_refused(tmp_path: Path) -> None:
    settings, path = Settings(home=tmp_path), tmp_path / "plan.json"
    plan().signed(tmp_path).write(path)
    check_permitted(Plan.read(path), settings)
    written = path.read_bytes()
    refused = 0
    for position in range(0, len(written), 7):
        changed = bytearray(written)
        changed[position] ^= 1
        path.write_bytes(changed)
        with pytest.raises((PlanError, SignatureError)):
            check_permitted(Plan.read(path), settings)
        refused += 1
    assert refused > 200


@pytest.mark.parametrize("end", [b" ", b"\n"])
def test_a_byte_more_is_a_change(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "plan.json"
    plan().signed(tmp_path).write(path)
    path.write_bytes(path.read_bytes() + end)
    with pytest.raises(SignatureError, match="was changed after it was signed"):
        Plan.read(path)


def test_a_plan_of_nobody_or_of_another_is_refused(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "here")
    plan().signed(settings.home)
    with pytest.raises(SignatureError, match="is not signed"):
        check_permitted(plan(), settings)
    with pytest.raises(SignatureError, match="signed by another key"):
        check_permitted(plan().signed(tmp_path / "there"), settings)


@pytest.mark.parametrize(
    ("executor", "action", "said"),
    [
        ({"allowed_installers": ["web"]}, {"installer": "files"}, "allowed_installers does not allow"),
        ({"allowed_issuers": []}, {"issuer": "ca"}, "allowed_issuers does not allow"),
        ({}, {"installer": "nobody"}, r"no section \[installers.nobody\] \(there are: files\)"),
        ({}, {"issuer": "nobody"}, r"no section \[issuers.nobody\]"),
        ({}, {"id": "../../tls"}, "is no action's id"),
    ],
)
def test_what_a_plan_may_not_use(
    tmp_path: Path, executor: dict[str, Any], action: dict[str, Any], said: str
) -> None:
    settings = Settings(
        home=tmp_path,
        executor=executor,
        installers={"files": FILES},
        issuers={"ca": {"kind": "embedded", "directory": tmp_path / "ca"}},
    )
    with pytest.raises(PlanError, match=said):
        check_permitted(plan(ACTION.model_copy(update=action)).signed(tmp_path), settings)


def test_two_actions_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="is no action's id"):
        check_permitted(plan(ACTION, ACTION).signed(tmp_path), Settings(home=tmp_path))


@pytest.mark.parametrize(
    ("planning", "said"),
    [
        (
            {"windows": [{"rrule": "FREQ=WEEKLY;BYDAY=XX", "hours": 2.0}]},
            "'FREQ=WEEKLY;BYDAY=XX' is no recurr",
        ),
        ({"timezone": "Europe/Nowhere"}, "'Europe/Nowhere' is not known"),
    ],
)
def test_where_windows_are_not_understood_nothing_is_allowed(
    tmp_path: Path, planning: dict[str, Any], said: str
) -> None:
    settings = Settings(home=tmp_path, planning=planning)
    with pytest.raises(ExecutionError, match=said) as refused:
        check_allowed(ACTION, settings, NOW)
    assert refused.value.code == "not_allowed"
    # What has expired, and what a CA asks for, is changed at any time.
    check_allowed(ACTION, settings, ACTION.not_after)
    check_allowed(ACTION.model_copy(update={"urgent": True}), settings, NOW)


class TestApprovals:
    """Two people must approve what changes more than nothing."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        people = {name: tmp_path / name / "signing.pub" for name in ("ann", "bob", "annie")}
        approvals = {"above": 0, "needed": 2, "approvers": people | {"annie": people["ann"]}}
        return Settings(home=tmp_path / "home", approvals=approvals)

    def test_it_takes_two(self, settings: Settings, tmp_path: Path) -> None:
        made, path = plan().signed(settings.home), tmp_path / "plan.json"
        made.write(path)
        for name in ("ann", "bob"):
            with pytest.raises(PlanError, match="2 people must approve"):
                check_approved(made, read_approvals(path), settings, NOW)
            write_approval(path, approve(made, name, tmp_path / name, NOW))
        check_approved(made, read_approvals(path), settings, NOW)

    def test_one_key_under_two_names_counts_once(self, settings: Settings, tmp_path: Path) -> None:
        made = plan().signed(settings.home)
        both = [approve(made, name, tmp_path / "ann", NOW) for name in ("ann", "annie")]
        with pytest.raises(PlanError, match="2 people must approve it, ann did"):
            check_approved(made, both, settings, NOW)

    def test_an_approval_of_another_plan_or_by_another_does_not_hold(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        made, other = plan().signed(settings.home), plan(id="p2").signed(settings.home)
        approve(made, "ann", tmp_path / "ann", NOW)
        wrong = approve(other, "ann", tmp_path / "ann", NOW)
        with pytest.raises(SignatureError, match="by ann was changed"):
            check_approved(made, [wrong], settings, NOW)
        with pytest.raises(SignatureError, match="by ann is signed by another key"):
            check_approved(made, [approve(made, "ann", tmp_path / "eve", NOW)], settings, NOW)
        with pytest.raises(SignatureError, match="eve, who is not among"):
            check_approved(made, [approve(made, "eve", tmp_path / "eve", NOW)], settings, NOW)
        forged = approve(made, "ann", tmp_path / "ann", NOW).model_copy(update={"by": "annie"})
        with pytest.raises(SignatureError, match="by annie was changed"):
            check_approved(made, [forged], settings, NOW)

    def test_small_plans_need_none(self, settings: Settings) -> None:
        made = plan(ACTION.model_copy(update={"kind": "escalate"})).signed(settings.home)
        assert blast_radius(made) == 0
        check_approved(made, [], settings, NOW)

    def test_an_expired_plan_is_refused_whoever_approved(self, settings: Settings) -> None:
        with pytest.raises(PlanError, match="expired"):
            check_approved(plan(), [], settings, NOW + timedelta(days=2))

    def test_a_broken_file_of_approvals_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "plan.json.approvals").write_text('[{"by": "ann"}]')
        with pytest.raises(PlanError, match="have the plan approved again"):
            read_approvals(tmp_path / "plan.json")


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_ticket_changed_in_the_database_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    home = tmp_path_factory.mktemp("home")
    where = Settings(home=home)
    ticket = tickets(plan().signed(home))[ACTION.id]
    assert open_ticket(ticket, where) == ACTION
    name = data.draw(st.sampled_from(["installer", "issuer", "name", "kind", "names"]))
    value = ["evil.test"] if name == "names" else "install" if name == "kind" else "evil.test"
    forged = {**ticket, "action": {**ticket["action"], name: value}}
    with pytest.raises(SignatureError, match="was changed"):
        open_ticket(forged, where)
    with pytest.raises(SignatureError, match="was changed"):
        open_ticket({**ticket, "expires_at": "2099-01-01T00:00:00+00:00"}, where)
