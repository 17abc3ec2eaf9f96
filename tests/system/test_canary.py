"""A certificate on several servers: one of them first, and the others only if it gives proof."""

from pathlib import Path
from typing import Any

import pytest

from certforecast.execution import ActionResult, Executor
from certforecast.history import History
from certforecast.planning.plan import Action
from certforecast.settings import Settings
from tests.system.site import Prober, Site

pytestmark = pytest.mark.system


class Copy(Site):
    """The same certificate on another server."""

    def __init__(self, first: Site, place: str, *, deaf: bool = False) -> None:
        self.first = first
        super().__init__(first.home / place, first.name, deaf=deaf)
        self.issuer, self.roots = first.issuer, first.roots

    def deploy(self, *args: Any) -> str:
        for path, model in ((self.certificate, self.first.certificate), (self.key, self.first.key)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(model.read_bytes())
        self.key.chmod(0o600)
        return self.first.before


def section(site: Site) -> dict[str, Any]:
    return {
        "kind": "files",
        "certificate": str(site.certificate),
        "key": str(site.key),
        "pid_file": str(site.pid_file),
    }


def shared(*sites: Site) -> tuple[Settings, Action]:
    """Give an action with the endpoints of all sites, each with an installer of its own."""
    settings = sites[0].settings(installers={f"at{n}": section(site) for n, site in enumerate(sites)})
    endpoints = tuple(
        site.endpoint.model_copy(update={"installer": f"at{n}"}) for n, site in enumerate(sites)
    )
    return settings, sites[0].action(installer=None, endpoints=endpoints)


def carried_out(*sites: Site) -> ActionResult:
    settings, action = shared(*sites)
    (result,) = Executor(settings).run(sites[0].plan(action), execute=True)
    return result


def state(site: Site) -> list[tuple[str, int, int]]:
    folder = site.certificate.parent
    return sorted((str(p), p.lstat().st_mtime_ns, p.lstat().st_ino) for p in [folder, *folder.rglob("*")])


def test_every_server_gets_it_and_one_certificate_is_ordered(tmp_path: Path) -> None:
    first = Site(tmp_path)
    with first.served(), Copy(first, "b").served() as second, Copy(first, "c").served() as third:
        issued = first.issued()
        with Prober(first.endpoint, first.roots) as one, Prober(third.endpoint, third.roots) as other:
            result = carried_out(first, second, third)
        assert result.status == "verified", result.detail
        served = {site.look().fingerprint for site in (first, second, third)}
        assert served == {result.fingerprint_after} != {first.before}
        assert one.refused == other.refused == []
        assert first.issued() == issued + 1


def test_others_are_touched_only_after_the_canary_serves_it(tmp_path: Path) -> None:
    first = Site(tmp_path)
    with first.served(), Copy(first, "b").served() as second:
        settings, action = shared(first, second)
        # The second server's reload looks at the first, when its own turn comes.
        seen = tmp_path / "seen"
        current = f"{first.certificate.parent}/.certforecast/*/current"
        command = f"readlink {current} > {seen}; kill -HUP $(cat {second.pid_file})"
        changed = settings.installers["at1"].model_copy(
            update={"reload": ["sh", "-c", command], "pid_file": None}
        )
        settings = settings.model_copy(update={"installers": {**settings.installers, "at1": changed}})
        (result,) = Executor(settings).run(first.plan(action), execute=True)
        assert result.status == "verified", result.detail
        assert seen.read_text().strip() == result.fingerprint_after


def test_a_canary_that_fails_is_put_back_and_the_others_are_never_touched(tmp_path: Path) -> None:
    first = Site(tmp_path, deaf=True)
    with first.served(), Copy(first, "b").served() as second, History(None) as history:
        before, reloads = state(second), tmp_path / "reloads"
        settings, action = shared(first, second)
        command = f"echo reloaded >> {reloads}; kill -HUP $(cat {second.pid_file})"
        told = settings.installers["at1"].model_copy(update={"reload": ["sh", "-c", command]})
        settings = settings.model_copy(update={"installers": {**settings.installers, "at1": told}})
        (result,) = Executor(settings, history).run(first.plan(action), execute=True)
        assert result.status == "rolled_back", result.detail
        assert "the canary, before the others" in result.detail
        assert state(second) == before
        assert not reloads.exists()
        assert first.look().fingerprint == second.look().fingerprint == first.before
        events = history.tables().events.to_pandas().sort_values("at", kind="stable")
        assert list(events["kind"])[-2:] == ["install_failed", "rolled_back"]


def test_when_another_one_fails_all_are_put_back(tmp_path: Path) -> None:
    first = Site(tmp_path)
    with first.served(), Copy(first, "b", deaf=True).served() as second:
        result = carried_out(first, second)
        assert result.status == "rolled_back", result.detail
        assert first.look().fingerprint == second.look().fingerprint == first.before
        for site in (first, second):
            assert (site.certificate.parent / ".certforecast" / site.name / "current").readlink() == Path(
                first.before
            )


def test_an_endpoint_without_an_installer_of_its_own_takes_the_actions(tmp_path: Path) -> None:
    first = Site(tmp_path)
    with first.served(), Copy(first, "b").served() as second:
        settings, action = shared(first, second)
        endpoints = (first.endpoint, action.endpoints[1])
        (without,) = Executor(settings).run(first.plan(action.model_copy(update={"endpoints": endpoints})))
        assert without.status == "failed"
        assert "[installers.NAME]" in without.detail
        changed = action.model_copy(update={"endpoints": endpoints, "installer": "at0"})
        (result,) = Executor(settings).run(first.plan(changed), execute=True)
        assert result.status == "verified", result.detail
        assert first.look().fingerprint == second.look().fingerprint == result.fingerprint_after


def test_killed_between_canary_and_the_others_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from certforecast.execution.installers.versions import Versions
    from certforecast.execution.steps import Steps

    class Killed(BaseException):
        pass

    first = Site(tmp_path)
    with first.served(), Copy(first, "b").served() as second:
        settings, action = shared(first, second)
        steps = Steps(settings, lambda: first.plan(action).created_at)
        done: dict[str, Any] = {}
        for name in ("order", "issue", "stage", "check"):
            done[name] = getattr(steps, name)(action, done)
        swap = Versions.install

        def killed_at_the_second(versions: Versions, *pair: bytes) -> None:
            if versions.certificate == second.certificate:
                raise Killed
            swap(versions, *pair)

        with monkeypatch.context() as patch:
            patch.setattr(Versions, "install", killed_at_the_second)
            with pytest.raises(Killed):
                steps.install(action, done)
        assert first.look().fingerprint == done["stage"]["fingerprint"]
        assert second.look().fingerprint == first.before
        for _ in range(2):
            assert steps.install(action, done) == {"complaints": [], "touched": 2}
        done["install"] = {"touched": 2}
        steps.verify(action, done)
        assert second.look().fingerprint == done["stage"]["fingerprint"]
        looks = steps.rollback(action, done)["looks"]
        assert {look["fingerprint"] for look in looks} == {first.before}
