"""Import into AWS Certificate Manager, played by moto's server, which keeps real certificates.

Unlike AWS it takes a key that does not match: that is caught before, here as there.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certforecast.errors import InstallationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import make_installer
from certforecast.execution.installers.acm import AcmInstaller, AcmInstallerSettings
from certforecast.execution.installers.versions import KEPT
from certforecast.execution.staging import new_key
from tests.certificates import authority, certificate, pem
from tests.system.aws import REGION, client, moto_server

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def acm(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    return client("acm", server, monkeypatch)


def pair(*, kind: str = "ec") -> tuple[bytes, bytes]:
    key: Any = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ec"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    made = certificate("a.test", start=datetime.now(UTC), public_key=key.public_key())
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem(made) + pem(authority()), plain


def imported(acm: Any, chain: bytes, key: bytes) -> str:
    end = b"-----END CERTIFICATE-----\n"
    leaf, _, others = chain.partition(end)
    answer = acm.import_certificate(Certificate=leaf + end, PrivateKey=key, CertificateChain=others)
    return str(answer["CertificateArn"])


def installer(server: str, arn: str, tmp_path: Path, **options: Any) -> AcmInstaller:
    section = AcmInstallerSettings(
        kind="acm", arn=arn, endpoint_url=server, directory=tmp_path / "acm", **options
    )
    made = make_installer(section, name="a.test", host="192.0.2.1", port=443)
    assert isinstance(made, AcmInstaller)
    return made


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_it_is_imported_over_the_same_arn_and_back(acm: Any, server: str, tmp_path: Path, kind: str) -> None:
    first, second = pair(kind=kind), pair(kind=kind)
    arn = imported(acm, *first)
    foreign = installer(server, arn, tmp_path)
    with pytest.raises(InstallationError, match="without_rollback") as caught:
        foreign.precheck()
    assert caught.value.code == "config"
    installer(server, arn, tmp_path, without_rollback=True).precheck()
    mine = installer(server, arn, tmp_path)
    mine.swap(*second)
    mine.swap(*second)
    told = acm.get_certificate(CertificateArn=arn)
    # moto puts a root of Amazon's after any chain.
    assert (told["Certificate"] + told["CertificateChain"]).encode().startswith(second[0])
    assert mine.current() == leaf_fingerprint(second[0])
    mine.precheck()
    third = pair(kind=kind)
    mine.swap(*third)
    assert mine.current() == leaf_fingerprint(third[0])
    mine.restore(leaf_fingerprint(second[0]))
    mine.restore(leaf_fingerprint(second[0]))
    assert acm.get_certificate(CertificateArn=arn)["Certificate"].encode() in second[0]
    with pytest.raises(InstallationError, match="is not kept"):
        mine.restore(leaf_fingerprint(first[0]))
    arns = [each["CertificateArn"] for each in acm.list_certificates()["CertificateSummaryList"]]
    assert arns.count(arn) == 1


def test_what_is_kept_is_sealed_and_the_oldest_goes(acm: Any, server: str, tmp_path: Path) -> None:
    arn = imported(acm, *pair())
    mine = installer(server, arn, tmp_path)
    pairs = [pair() for _ in range(KEPT + 3)]
    for each in pairs:
        mine.swap(*each)
    folder = tmp_path / "acm" / "a.test"
    kept = {path.stem for path in folder.iterdir()}
    assert kept == {leaf_fingerprint(chain) for chain, _ in pairs[-KEPT - 1 :]}
    for path in (tmp_path / "acm").rglob("*"):
        if path.is_file():
            assert path.stat().st_mode & 0o077 == 0
            content = path.read_bytes()
            for _, key in pairs:
                assert key.splitlines()[1] not in content
            assert b"PRIVATE KEY" not in content
    again = mine._kept.give(leaf_fingerprint(pairs[-1][0]))
    check_pair(*again)
    assert again == pairs[-1]


def test_what_cannot_be_replaced_is_refused(
    acm: Any, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arn = imported(acm, *pair())
    mine = installer(server, arn, tmp_path, without_rollback=True)
    before = mine.current()
    chain, _ = pair()
    with pytest.raises(InstallationError, match="does not match"):
        mine.swap(chain, new_key())
    assert mine.current() == before
    assert not (tmp_path / "acm").exists()
    requested = acm.request_certificate(DomainName="c.test")["CertificateArn"]
    with pytest.raises(InstallationError, match="ACM renews it itself"):
        installer(server, requested, tmp_path, without_rollback=True).precheck()
    gone = arn[:-4] + "0000"
    with pytest.raises(InstallationError) as caught:
        installer(server, gone, tmp_path).current()
    assert caught.value.code == "ResourceNotFoundException"
    with pytest.raises(InstallationError) as caught:
        AcmInstallerSettings(kind="acm", arn=arn, endpoint_url="http://127.0.0.1:9", directory=tmp_path).open(
            "a"
        ).current()
    assert caught.value.code == "unreachable"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(InstallationError, match=r"[Uu]nable to locate credentials"):
        mine.current()


def test_imported_ones_are_found(acm: Any, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    pairs = [pair(kind=kind) for kind in ("ec", "rsa")]
    arns = [imported(acm, *each) for each in pairs]
    requested = acm.request_certificate(DomainName="d.test")["CertificateArn"]
    found = {one.settings["arn"]: one for one in AcmInstallerSettings.discover_at(REGION)}
    assert requested not in found
    for arn, (chain, _) in zip(arns, pairs, strict=True):
        assert (found[arn].names, found[arn].fingerprint) == (("a.test",), leaf_fingerprint(chain))
        assert AcmInstallerSettings.model_validate(found[arn].settings).arn == arn
    assert AcmInstallerSettings.discover() == [], "what is elsewhere is asked only where it is named"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(InstallationError, match="ACM cannot be asked"):
        AcmInstallerSettings.discover_at(REGION)


def test_no_key_is_told_whatever_the_log_level(
    acm: Any, server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    arn = imported(acm, *pair())
    caplog.clear()
    mine = installer(server, arn, tmp_path)
    chain, key = pair()
    mine.swap(chain, key)
    # A service, or its library, that quotes what it was sent.
    import botocore.client
    from botocore.exceptions import ClientError, ParamValidationError

    errors = []
    for error in (
        ParamValidationError(report=f"invalid value: {key!r}"),
        ClientError({"Error": {"Code": "ValidationException", "Message": key.decode()}}, "ImportCertificate"),
    ):
        with monkeypatch.context() as patch:

            def fail(*_: Any, error: Exception = error) -> None:
                raise error

            patch.setattr(botocore.client.BaseClient, "_make_api_call", fail)
            with pytest.raises(InstallationError) as caught:
                mine.swap(chain, key)
            errors.append(caught.value)
    told = caplog.text + "".join(f"{error} {error!r} {error.__cause__!r}" for error in errors)
    import base64

    for secret in (*key.decode().splitlines()[1:-1], base64.b64encode(key).decode()[:200]):
        assert secret not in told
