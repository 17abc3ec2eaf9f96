"""Sealed secrets: they open for who has the key, for their purpose, whole, and for nobody else."""

import base64
import os
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certforecast.errors import SealingError
from certforecast.security.redaction import redact
from certforecast.security.sealing import VARIABLE, Sealer

SECRET = b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----\n"


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


def variable() -> str:
    return base64.b64encode(os.urandom(32)).decode()


@given(secret=st.binary(max_size=4096))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_what_is_sealed_opens_again_and_shows_nothing(secret: bytes, tmp_path: Path) -> None:
    sealed = Sealer(tmp_path).seal(secret, "staged key")
    assert Sealer(tmp_path).open(sealed, "staged key") == secret
    assert Sealer(tmp_path).seal(secret, "staged key") != sealed
    if len(secret) > 3:
        body = base64.b64decode(sealed.splitlines()[1])
        assert secret not in sealed
        assert secret not in body


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
def test_one_changed_bit_and_nothing_opens(data: st.DataObject, tmp_path: Path) -> None:
    sealer = Sealer(tmp_path)
    sealed = sealer.seal(SECRET, "staged key")
    head, body, _ = sealed.split(b"\n")
    raw = bytearray(base64.b64decode(body))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(SealingError, match="changed after it was sealed") as caught:
        sealer.open(head + b"\n" + base64.b64encode(raw) + b"\n", "staged key")
    assert "MIGHAgEA" not in str(caught.value)


def test_the_key_file_is_its_owners_alone(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "home")
    sealed = sealer.seal(SECRET, "staged key")
    key = tmp_path / "home" / "sealing.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o640)
    for use in (lambda: sealer.open(sealed, "staged key"), lambda: sealer.seal(b"x", "staged key")):
        with pytest.raises(SealingError, match="open to other users"):
            use()


def test_another_purpose_another_key_and_rubbish_are_refused(tmp_path: Path) -> None:
    sealed = Sealer(tmp_path / "a").seal(SECRET, "staged key")
    with pytest.raises(SealingError, match="is no version"):
        Sealer(tmp_path / "a").open(sealed, "version")
    Sealer(tmp_path / "b").seal(b"", "x")
    with pytest.raises(SealingError, match="put that key back"):
        Sealer(tmp_path / "b").open(sealed, "staged key")
    for rubbish in (b"", SECRET, sealed[:40], sealed.replace(b"sealed 001", b"sealed 002")):
        with pytest.raises(SealingError):
            Sealer(tmp_path / "a").open(rubbish, "staged key")
    (tmp_path / "a" / "sealing.key").write_bytes(b"short\n")
    with pytest.raises(SealingError, match="holds no sealing key"):
        Sealer(tmp_path / "a").seal(SECRET, "staged key")


def test_a_key_in_the_environment_seals_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_file = Sealer(tmp_path).seal(b"by file", "x")
    monkeypatch.setenv(VARIABLE, variable())
    by_environment = Sealer(tmp_path).seal(b"by environment", "x")
    # Both open while both keys are there: so a key can be changed under way.
    assert Sealer(tmp_path).open(by_file, "x") == b"by file"
    assert Sealer(tmp_path).open(by_environment, "x") == b"by environment"
    assert Sealer(tmp_path / "none").open(by_environment, "x") == b"by environment"
    assert not (tmp_path / "none").exists()
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(SealingError, match=VARIABLE):
        Sealer(tmp_path).open(by_environment, "x")
    monkeypatch.setenv(VARIABLE, "too short")
    with pytest.raises(SealingError, match="32 bytes") as caught:
        Sealer(tmp_path).seal(b"", "x")
    assert "too short" not in str(caught.value)


@given(before=st.text(max_size=20), after=st.text(max_size=20))
def test_keys_are_taken_out_of_what_others_wrote(before: str, after: str) -> None:
    pem = SECRET.decode()
    line = pem.splitlines()[1]
    told = (
        before + pem + after,
        f"{before}{line}{after}",
        repr(pem),
        base64.b64encode(SECRET).decode(),
        before + pem[:50],
    )
    for text in told:
        shown = redact(text, SECRET)
        assert line not in shown
        assert "MIGHAgEA" not in shown or "MIGHAgEA" in before + after
        assert base64.b64encode(SECRET).decode() not in shown
    assert redact("permission denied", SECRET) == "permission denied"
