"""Files, space, configuration and reload, on plain files."""

import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certforecast.settings import Settings
from tests.certificates import certificate, pem
from tests.execution.rehearsal.parts import candidate, only


def installed(home: Path, *, rehearsal: dict[str, Any] | None = None, **others: Any) -> Settings:
    """Put a certificate in place, and give settings with an installer for it."""
    folder = home / "tls"
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "chain.pem").write_bytes(pem(certificate("a.test", public_key=key.public_key())))
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(key_pem)
    section = {"kind": "files", "certificate": f"{folder}/chain.pem", "key": f"{folder}/key.pem", **others}
    return Settings(
        home=home,
        issuers={"ca": {"kind": "embedded", "directory": home / "ca"}},
        installers={"web": section},
        rehearsal=rehearsal or {},
    )


def test_a_swap_is_tried_and_nothing_is_left(tmp_path: Path) -> None:
    settings = installed(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert only("files", candidate("a.test"), settings).status == "passed"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_only_a_trial_shows_to_be_closed_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a network file system: rights say yes, writing says no."""
    settings, folder = installed(tmp_path), tmp_path / "tls"
    rename = Path.replace

    def refuse(self: Path, target: Any) -> Path:
        if Path(target).parent == folder:
            raise PermissionError(1, "Operation not permitted")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    result = only("files", candidate("a.test"), settings)
    assert [finding.code for finding in result.findings] == ["permission"]
    assert f"written and renamed in {folder}" in result.findings[0].message
    assert sorted(path.name for path in folder.iterdir()) == ["chain.pem", "key.pem"]


def test_a_pair_that_does_not_match_is_found(tmp_path: Path) -> None:
    settings = installed(tmp_path)
    other = ec.generate_private_key(ec.SECP256R1())
    key = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "tls" / "key.pem").write_bytes(key)
    result = only("files", candidate("a.test"), settings)
    assert [finding.code for finding in result.findings] == ["config"]


def test_too_little_space_is_found(tmp_path: Path) -> None:
    state = os.statvfs(tmp_path)
    free = state.f_bavail * state.f_frsize / 1e6
    result = only("disk", candidate("a.test"), installed(tmp_path, rehearsal={"free_mb": free * 2}))
    assert [finding.code for finding in result.findings] == ["disk"]
    assert only("disk", candidate("a.test"), installed(tmp_path, rehearsal={"free_mb": free / 2})).status == (
        "passed"
    )


def test_a_reload_is_asked_for_and_not_done(tmp_path: Path) -> None:
    done = tmp_path / "reloaded"
    subject = candidate("a.test")
    assert only("reload", subject, installed(tmp_path, reload=["touch", str(done)])).status == "passed"
    assert not done.exists()
    result = only("reload", subject, installed(tmp_path, reload=["no-such-command"]))
    assert [finding.code for finding in result.findings] == ["reload"]
    (tmp_path / "pid").write_text(str(2**22 + 1))  # beyond the largest there can be
    result = only("reload", subject, installed(tmp_path, pid_file=str(tmp_path / "pid")))
    assert [finding.code for finding in result.findings] == ["reload"]
    assert "is gone" in result.findings[0].message


@pytest.mark.parametrize("check", ["account", "clock", "dns", "caa", "challenge", "order"])
def test_what_an_issuer_of_our_own_does_not_need_is_left_out_and_says_why(check: str, tmp_path: Path) -> None:
    result = only(check, candidate("a.test"), installed(tmp_path))
    assert result.status == "left_out"
    assert "our own authority" in result.detail


@pytest.mark.parametrize("check", ["files", "configuration", "reload"])
def test_without_an_installer_its_checks_are_left_out_and_say_why(check: str, tmp_path: Path) -> None:
    result = only(check, candidate("a.test", installer=None), installed(tmp_path))
    assert result.status == "left_out"
    assert "executor.installer" in result.detail
