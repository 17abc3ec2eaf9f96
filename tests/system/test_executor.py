"""The executor on live sites: what it does, what it leaves alone, and what it puts back."""

import fcntl
import signal
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certforecast.errors import ExecutionError, PlanError
from certforecast.execution import ActionResult, Executor
from certforecast.execution.staging import Staging, new_key
from certforecast.history import History
from certforecast.planning.plan import Endpoint
from certforecast.security.sealing import Sealer
from certforecast.settings import Settings
from tests.system.site import Prober, Site

pytestmark = pytest.mark.system


def kinds(history: History) -> list[str]:
    events = history.tables().events.to_pandas()
    return list(events.sort_values(["at", "kind"])["kind"])


def snapshot(folder: Path) -> dict[Path, tuple[float, bytes]]:
    return {p: (p.lstat().st_mtime, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        plan = site.plan(site.action())
        before = snapshot(tmp_path)
        (result,) = Executor(site.settings()).run(plan)
        assert snapshot(tmp_path) == before
        assert result.status == "dry"
        assert result.fingerprint_before == site.before
        for told in ("order www.site.test from ca", str(site.certificate), "HUP", str(site.endpoint)):
            assert told in result.detail


def test_renews_proves_records_and_does_not_repeat(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site, History(None) as history:
        issued, plan, steps = site.issued(), site.plan(site.action()), []
        executor = Executor(site.settings(), history)
        with Prober(site.endpoint, site.roots) as prober:
            (result,) = executor.run(plan, execute=True, on_step=lambda *told: steps.append(told))
        assert result.status == "verified", result.detail
        names = ["order", "issue", "stage", "check", "install", "verify", "clear"]
        assert [step.name for step in result.steps] == names
        assert steps == [(site.name, name) for name in names]
        assert site.look().fingerprint == result.fingerprint_after != site.before
        assert prober.refused == []

        assert kinds(history) == ["order_created", "issued", "staged", "installed", "reloaded", "verified"]
        events = history.tables().events.to_pandas()
        assert set(events["actor"]) == {"certforecast"}
        assert set(events["lineage"]) == {site.name}
        assert list(history.tables().certificates.to_pandas()["fingerprint"]) == [result.fingerprint_after]
        (look,) = history.tables().observations.to_pandas().to_dict("records")
        assert (look["fingerprint"], look["chain_status"]) == (result.fingerprint_after, "valid")
        assert history.counts()["quarantine"] == 0

        assert executor.run(plan, execute=True) == [result]
        assert site.issued() == issued + 1
        assert history.counts()["events"] == 6


def test_a_broken_reload_is_rolled_back_with_proof(tmp_path: Path) -> None:
    with Site(tmp_path, deaf=True).served() as site, History(None) as history:
        key = site.key.read_bytes()
        (result,) = Executor(site.settings(), history).run(site.plan(site.action()), execute=True)
        assert result.status == "rolled_back", result.detail
        assert result.fingerprint_before == result.fingerprint_after == site.before
        assert site.look().fingerprint == site.before
        assert site.key.read_bytes() == key
        assert kinds(history)[-2:] == ["verify_failed", "rolled_back"]
        rolled_back = history.tables().events.to_pandas().sort_values("at").iloc[-1]
        assert rolled_back["fingerprint"] == site.before


def test_what_is_in_place_is_only_loaded_and_proven(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site, History(None) as history:
        successor = site.deploy(left=timedelta(days=80))  # as a renewal whose deploy hook failed
        issued, files = site.issued(), snapshot(site.certificate.parent)
        action = site.action(kind="install", successor=successor)
        (result,) = Executor(site.settings(), history).run(site.plan(action), execute=True)
        assert result.status == "verified", result.detail
        assert site.look().fingerprint == successor == result.fingerprint_after
        assert site.issued() == issued
        assert snapshot(site.certificate.parent) == files
        assert kinds(history) == ["reloaded", "verified"]


def test_a_successor_that_is_not_in_place_is_ordered_anew(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        action = site.action(kind="install", successor="ab" * 32)
        (result,) = Executor(site.settings()).run(site.plan(action), execute=True)
        assert result.status == "verified"
        assert "a new one was ordered" in result.detail


def test_a_deaf_server_with_its_successor_in_place_has_nothing_to_roll_back(tmp_path: Path) -> None:
    with Site(tmp_path, deaf=True).served() as site:
        successor = site.deploy(left=timedelta(days=80))
        action = site.action(kind="install", successor=successor)
        (result,) = Executor(site.settings()).run(site.plan(action), execute=True)
        assert result.status == "failed"
        assert "did its server reload" in result.detail
        assert "no file was changed" in result.detail
        assert result.fingerprint_after == site.before


def test_what_is_for_people_is_left_to_them(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        plan = site.plan(site.action(kind="escalate"), site.action(kind="retire"))
        for execute in (False, True):
            results = Executor(site.settings()).run(plan, execute=execute)
            assert [result.status for result in results] == ["for_people", "for_people"]
            assert results[0].detail == "one day left of 90"
        assert site.look().fingerprint == site.before


def test_the_line_stops_after_failures_in_a_row(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        hopeless = [site.action(id=f"hopeless{n}", name="other.site.test") for n in range(3)]
        plan = site.plan(hopeless[0], site.action(), *hopeless[1:], site.action(id="never"))
        settings = site.settings(executor={"max_failures": 2, "max_per_failure_domain": 1})
        results = Executor(settings).run(plan, execute=True)
        assert [r.status for r in results] == ["failed", "verified", "failed", "failed", "skipped"]
        assert "installer files rests until" in results[-1].detail
        assert "2 failures in a row" in results[-1].detail


def test_the_key_stays_in_staging_and_goes_when_it_is_in_service(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        settings, action = site.settings(), site.action()
        staging, seen = Staging(settings.staging_path / action.id, sealer=Sealer(settings.home)), []

        def watch(_: str, step: str) -> None:
            if step == "verify":
                seen.append(staging.key)
                seen.extend(
                    stat.S_IMODE(p.stat().st_mode) for p in (staging.folder, *staging.folder.iterdir())
                )

        (result,) = Executor(settings).run(site.plan(action), execute=True, on_step=watch)
        assert result.status == "verified"
        key, *modes = seen
        assert modes == [0o700, 0o600, 0o600]
        assert key == site.key.read_bytes()
        assert not staging.folder.exists()
        secret = key.splitlines()[1]
        database = b"".join(path.read_bytes() for path in settings.home.glob("executor.sqlite*"))
        assert b"BEGIN CERTIFICATE" in database
        assert secret not in database
        assert b"PRIVATE KEY" not in database


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt; whoever started us in the background, as a CI may, had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_ends_the_action_under_way(tmp_path: Path) -> None:
    with Site(tmp_path, deaf=True).served() as site:  # so that two seconds of looking and a rollback follow

        def interrupt(_: str, step: str) -> None:
            if step == "install":
                signal.raise_signal(signal.SIGINT)

        plan, again = site.plan(site.action(), site.action(id="never")), []
        with pytest.raises(KeyboardInterrupt):
            Executor(site.settings()).run(plan, execute=True, on_step=interrupt)
        begun = plan.model_copy(update={"actions": plan.actions[:1]}).signed(site.home / "home")
        (result,) = Executor(site.settings()).run(
            begun, execute=True, on_step=lambda *told: again.append(told)
        )
        assert result.status == "rolled_back"
        assert again == []


def test_an_expired_plan_is_refused(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        late = Executor(site.settings(), clock=lambda: datetime.now(UTC) + timedelta(hours=2))
        for execute in (False, True):
            with pytest.raises(PlanError, match="expired"):
                late.run(site.plan(site.action()), execute=execute)
        assert site.look().fingerprint == site.before


def test_an_id_that_leads_out_of_the_staging_folder_is_refused(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site, pytest.raises(PlanError, match="no action's id"):
        Executor(site.settings()).run(site.plan(site.action(id="../../tls")), execute=True)


def test_two_runs_at_once_are_refused(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        settings = site.settings()
        settings.home.mkdir()
        with (settings.home / "executor.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(ExecutionError, match="another process"):
                Executor(settings).run(site.plan(site.action()), execute=True)


def test_what_cannot_end_well_is_not_begun(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        issued = site.issued()
        settings = site.settings(executor={"max_failures": 99, "max_failures_in_all": 99})
        nowhere = Endpoint(host="127.0.0.1", port=1, server_name=site.name)

        def refused(settings: Settings, **changes: object) -> str:
            (dry,) = Executor(settings).run(site.plan(site.action(**changes)))
            result: ActionResult
            (result,) = Executor(settings).run(site.plan(site.action(**changes)), execute=True)
            assert dry.status == result.status == "failed"
            return result.detail

        assert "no known endpoint" in refused(settings, endpoints=())
        assert "serves no certificate" in refused(settings, endpoints=(site.endpoint, nowhere))
        assert "does not exist" in refused(settings, name="other.site.test")
        assert "part of a path" in refused(settings, name="../www.site.test")
        site.key.write_bytes(new_key())
        assert "does not match" in refused(settings)
        assert site.issued() == issued
        assert site.look().fingerprint == site.before


def test_a_run_that_came_to_no_end_is_told_and_holds_up_nothing(tmp_path: Path) -> None:
    from dbos import DBOSClient

    with Site(tmp_path).served() as site:
        settings, executor = site.settings(), Executor(site.settings())
        first = site.plan(site.action(id="first", kind="escalate"))
        executor.run(first, execute=True)  # makes the database
        plan = site.plan(site.action(id="cancelled"), site.action(id="next"))
        client = DBOSClient(system_database_url=f"sqlite:///{settings.home}/executor.sqlite")
        client.enqueue(
            {
                "workflow_name": "certforecast.action",
                "queue_name": "nobody-listens",
                "workflow_id": f"{plan.id}-cancelled",
            },
            {},
        )
        client.cancel_workflow(f"{plan.id}-cancelled")
        client.destroy()
        results = executor.run(plan, execute=True)
    assert [result.status for result in results] == ["failed", "verified"]
    assert "came to no end" in results[0].detail
