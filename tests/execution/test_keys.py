"""Private keys: every kind from the request to the files, used again where wanted, and never told."""

import logging
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certforecast.errors import CertForecastError, ExecutionError, InstallationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers.versions import Versions
from certforecast.execution.issuers.embedded import EmbeddedIssuer
from certforecast.execution.keys import load_key, new_key, reused_key, signing_request
from certforecast.execution.staging import Staging
from certforecast.security.sealing import VARIABLE, Sealer
from certforecast.settings import KeySettings, Settings

ALGORITHMS = get_args(KeySettings.model_fields["algorithm"].annotation)
SIZES = {
    "ecdsa-p256": (ec.EllipticCurvePrivateKey, 256),
    "ecdsa-p384": (ec.EllipticCurvePrivateKey, 384),
    "rsa-2048": (rsa.RSAPrivateKey, 2048),
    "rsa-3072": (rsa.RSAPrivateKey, 3072),
    "rsa-4096": (rsa.RSAPrivateKey, 4096),
    "ed25519": (ed25519.Ed25519PrivateKey, None),
}


@cache
def key_of(algorithm: str) -> bytes:
    return new_key(algorithm)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_kind_goes_all_the_way(algorithm: str, tmp_path: Path) -> None:
    staging = Staging(tmp_path / "staging" / "a", KeySettings(algorithm=algorithm))
    staging.prepare()
    kind, size = SIZES[algorithm]
    key = load_pem_private_key(staging.key, None)
    assert isinstance(key, kind)
    assert getattr(key, "key_size", None) == size
    csr = staging.csr(["a.test", "192.0.2.7"])
    assert x509.load_pem_x509_csr(csr).is_signature_valid
    issuer = EmbeddedIssuer(tmp_path / "ca")
    chain = issuer.issue(issuer.order(csr), csr)
    check_pair(chain, staging.key, names=["a.test", "192.0.2.7"])
    for other in (key_of("ecdsa-p256"), key_of("rsa-2048"), key_of("ed25519")):
        with pytest.raises(InstallationError, match="does not match"):
            check_pair(chain, other)
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    first = issuer.issue(issuer.order(b""), signing_request(load_key(key_of("ecdsa-p256")), ["a.test"]))
    for path, content in zip(paths, (first, key_of("ecdsa-p256")), strict=True):
        path.write_bytes(content)
    versions = Versions(*paths, "a")
    versions.install(chain, staging.key)
    assert versions.current() == leaf_fingerprint(chain)
    assert versions.key_in_place() == staging.key
    versions.restore(leaf_fingerprint(first))
    assert paths[1].read_bytes() == key_of("ecdsa-p256")


def test_the_key_is_made_once_and_lies_sealed(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "staging" / "a", sealer=Sealer(tmp_path))
    staging.prepare()
    key = staging.key
    staging.prepare()
    assert staging.key == key
    secret = key.splitlines()[1]
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0
            assert secret not in path.read_bytes()
            assert b"PRIVATE KEY" not in path.read_bytes()
    (tmp_path / "sealing.key").unlink()
    with pytest.raises(ExecutionError, match="put that key back") as caught:
        _ = staging.key
    assert caught.value.code == "config"


class Pair:
    def __init__(self, pem: bytes) -> None:
        self.pem = pem

    def key_in_place(self) -> bytes:
        return self.pem


def test_a_key_is_used_again_by_policy_only(tmp_path: Path) -> None:
    pinned, other = key_of("rsa-2048"), key_of("ecdsa-p256")
    again = KeySettings(reuse=True)
    assert reused_key(KeySettings(), [Pair(pinned)]) is None
    assert reused_key(again, [Pair(pinned), Pair(pinned)]) == pinned
    staging = Staging(tmp_path / "staging" / "a", again)
    staging.prepare(reused_key(again, [Pair(pinned)]))
    assert staging.key == pinned
    for installers, words in (
        ([Pair(pinned), Pair(other)], "there are 2"),
        ([object()], "does not give its key"),
        ([Pair(b"rubbish")], "no private key"),
    ):
        with pytest.raises(ExecutionError, match=words):
            reused_key(again, installers)


def test_the_key_of_a_combined_file_is_found_in_it(tmp_path: Path) -> None:
    issuer = EmbeddedIssuer(tmp_path / "ca")
    key = key_of("ecdsa-p256")
    chain = issuer.issue(issuer.order(b""), signing_request(load_key(key), ["a.test"]))
    path = tmp_path / "site.pem"
    path.write_bytes(chain + key)
    assert Versions(path, path, "a").key_in_place() == key


def test_settings_of_an_issuer_go_before_those_of_all() -> None:
    section = {"kind": "embedded", "directory": "ca", "keys": {"algorithm": "rsa-2048"}}
    made = Settings(keys={"algorithm": "ed25519"}, issuers={"a": section})
    assert (made.keys.algorithm, made.issuers["a"].keys.algorithm) == ("ed25519", "rsa-2048")  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="token, module and pin_file"):
        KeySettings(token="t")
    with pytest.raises(ValueError, match="ECDSA or RSA"):
        KeySettings(token="t", module="m.so", pin_file="pin", algorithm="ed25519")


def pieces(pem: bytes) -> list[bytes]:
    """Give what of a key must be seen nowhere: any 16 characters of its secret lines."""
    body = b"".join(line for line in pem.splitlines() if not line.startswith(b"-----"))
    # The beginning says which kind of key it is and tells nothing.
    return [body[start : start + 16] for start in range(48, len(body) - 16)]


@given(data=st.data())
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
    max_examples=60,
)
def test_no_error_and_no_log_tells_anything_of_a_key(
    data: st.DataObject, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a key is done to, by a bad disk or a bad hand."""
    monkeypatch.delenv(VARIABLE, raising=False)
    caplog.set_level(logging.DEBUG)
    pem = key_of(data.draw(st.sampled_from(["ecdsa-p256", "ed25519", "rsa-2048"])))
    cut = data.draw(st.integers(0, len(pem)))
    broken = data.draw(
        st.sampled_from(
            [
                pem[:cut],
                pem[cut:],
                pem[:cut] + b"\0" + pem[cut:],
                pem.replace(b"PRIVATE KEY", b"EC PRIVATE KEY"),
                pem.replace(b"\n", b" "),
                pem * 2,
            ]
        )
    )
    chain = x509_chain()
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    paths[0].write_bytes(chain)
    paths[1].write_bytes(broken)
    staging = Staging(tmp_path / "staging" / "a")
    staging.clear()
    staging.prepare(broken)
    told: list[str] = []
    attempts: list[Any] = [
        lambda: check_pair(chain, broken),
        lambda: check_pair(broken, broken),
        lambda: load_key(broken),
        lambda: reused_key(KeySettings(reuse=True), [Pair(broken)]),
        lambda: staging.csr(["a.test"]),
        lambda: Sealer(tmp_path).open(broken, "staged key"),
        lambda: Versions(*paths, "a").install(chain, broken),
        lambda: Versions(*paths, "a").check(),
        lambda: Versions(*paths, "a").key_in_place(),
    ]
    for attempt in attempts:
        try:
            attempt()
        except CertForecastError as error:
            cause: BaseException | None = error
            while cause is not None:
                told += [str(cause), repr(cause)]
                cause = cause.__cause__
    everything = "\n".join([*told, caplog.text]).encode()
    for secret in pieces(pem):
        assert secret not in everything


@cache
def x509_chain() -> bytes:
    from tests.certificates import certificate, pem

    return pem(certificate("a.test"))
