"""Renewals with keys of every kind on a live site, and that nothing that is written down tells of a key."""

import logging
from pathlib import Path
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from certforecast.execution import Executor
from certforecast.history import History
from certforecast.security.sealing import VARIABLE
from certforecast.settings import KeySettings
from tests.system.site import Prober, Site

pytestmark = pytest.mark.system

ALGORITHMS = get_args(KeySettings.model_fields["algorithm"].annotation)
KINDS = {
    "ecdsa": ec.EllipticCurvePrivateKey,
    "rsa": rsa.RSAPrivateKey,
    "ed25519": ed25519.Ed25519PrivateKey,
}


def secrets_of(pem: bytes) -> list[bytes]:
    """Give what of a key must be seen nowhere but in its file."""
    return [line for line in pem.splitlines() if len(line) > 40 and not line.startswith(b"-----")]


def written(home: Path, *, but: list[Path]) -> dict[Path, bytes]:
    kept = {path.resolve() for path in but}
    return {p: p.read_bytes() for p in home.rglob("*") if p.is_file() and p.resolve() not in kept}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_kind_is_served_and_nothing_tells_of_it(
    algorithm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Site(tmp_path).served() as site, History(None) as history:
        seen: dict[Path, bytes] = {}

        def watch(_: str, step: str) -> None:
            if step == "install":  # the key is made, and lies staged
                seen.update(written(site.home / "home", but=[site.home / "home" / "signing.key"]))

        settings, action = site.settings(keys={"algorithm": algorithm}), site.action()
        with Prober(site.endpoint, site.roots) as prober:
            (result,) = Executor(settings, history).run(site.plan(action), execute=True, on_step=watch)
        assert result.status == "verified", result.detail
        assert prober.refused == []
        key = site.key.read_bytes()
        assert isinstance(load_pem_private_key(key, None), KINDS[algorithm.partition("-")[0]])
        assert any(path.name == "privkey.sealed" for path in seen), "it was looked at while it was staged"
        after = written(site.home / "home", but=[site.home / "home" / "signing.key"])
        rows = [
            table.to_pandas().to_csv() for table in (history.tables().events, history.tables().observations)
        ]
        told = [*seen.values(), *after.values(), caplog.text.encode(), result.model_dump_json().encode()]
        told += [row.encode() for row in rows]
        for text in told:
            assert b"PRIVATE KEY" not in text
            for secret in secrets_of(key):
                assert secret not in text
        assert not (settings.staging_path / action.id).exists()


@pytest.mark.parametrize("failing", ["challenge", "install", "verify"])
def test_nothing_tells_of_a_key_when_it_goes_wrong(
    failing: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    keys: list[bytes] = []
    from certforecast.execution.staging import Staging

    prepare = Staging.prepare

    def remember(self: Staging, reused: bytes | None = None) -> None:
        prepare(self, reused)
        keys.append(self.key)

    monkeypatch.setattr(Staging, "prepare", remember)
    with Site(tmp_path, deaf=failing == "verify").served() as site, History(None) as history:
        if failing == "challenge":
            section = {"kind": "command", "command": ["false"], "directory": tmp_path / "issued"}
            from certforecast.execution.issuers.command import CommandIssuerSettings

            options: dict[str, Any] = {
                "issuers": {"ca": CommandIssuerSettings(**section, trust_file=site.roots)}
            }
        else:
            options = {}
        if failing == "install":
            monkeypatch.setattr(
                "certforecast.execution.installers.versions.Versions._point_at",
                lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")),
            )
        result = Executor(site.settings(**options), history).run(site.plan(site.action()), execute=True)[0]
        assert result.status in ("failed", "rolled_back")
        (key,) = keys
        files = written(
            tmp_path, but=[site.key, tmp_path / "home" / "signing.key", tmp_path / "ca" / "root" / "key.pem"]
        )
        files = {path: text for path, text in files.items() if ".certforecast" not in str(path)}
        told = [*files.values(), caplog.text.encode(), result.model_dump_json().encode()]
        for text in told:
            for secret in secrets_of(key):
                assert secret not in text


def test_a_pinned_key_is_used_again(tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        before = site.key.read_bytes()
        settings = site.settings(keys={"reuse": True, "algorithm": "rsa-2048"})
        (result,) = Executor(settings).run(site.plan(site.action()), execute=True)
        assert result.status == "verified", result.detail
        assert site.key.read_bytes() == before
        assert site.look().fingerprint != site.before


def test_the_sealing_key_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import base64
    import os

    monkeypatch.setenv(VARIABLE, base64.b64encode(os.urandom(32)).decode())
    with Site(tmp_path).served() as site:
        settings = site.settings()
        (result,) = Executor(settings).run(site.plan(site.action()), execute=True)
        assert result.status == "verified", result.detail
        assert not (settings.home / "sealing.key").exists()
        monkeypatch.setenv(VARIABLE, "rubbish")
        (result,) = Executor(settings).run(site.plan(site.action(id="again")), execute=True)
        assert result.status == "failed"
        assert "openssl rand -base64 32" in result.detail
        assert "rubbish" not in result.detail
