"""AWS Private CA, played by moto's server: it signs with a real key, but ignores validity and tokens.

That an idempotency token is sent is seen in the calls, that it is obeyed is AWS's word and not shown here.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from certforecast.clock import system_clock
from certforecast.errors import IssuanceError
from certforecast.execution.checks import check_pair
from certforecast.execution.issuers.acmpca import AcmPcaIssuer, AcmPcaIssuerSettings
from certforecast.execution.issuers.embedded import EmbeddedIssuer
from certforecast.execution.staging import Staging, new_key
from tests.system.aws import client, moto_server

pytestmark = pytest.mark.system

NAMES = ["www.site.test", "192.0.2.7"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def pca(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    return client("acm-pca", server, monkeypatch)


def authority(pca: Any, *, active: bool = True) -> str:
    """Make a private CA."""
    made = pca.create_certificate_authority(
        CertificateAuthorityConfiguration={
            "KeyAlgorithm": "RSA_2048",
            "SigningAlgorithm": "SHA256WITHRSA",
            "Subject": {"CommonName": "Private CA of the test"},
        },
        CertificateAuthorityType="ROOT",
    )
    arn = str(made["CertificateAuthorityArn"])
    if active:
        csr = pca.get_certificate_authority_csr(CertificateAuthorityArn=arn)["Csr"]
        issued = pca.issue_certificate(
            CertificateAuthorityArn=arn,
            Csr=csr.encode(),
            SigningAlgorithm="SHA256WITHRSA",
            TemplateArn="arn:aws:acm-pca:::template/RootCACertificate/V1",
            Validity={"Type": "DAYS", "Value": 3650},
        )["CertificateArn"]
        root = pca.get_certificate(CertificateAuthorityArn=arn, CertificateArn=issued)["Certificate"]
        pca.import_certificate_authority_certificate(CertificateAuthorityArn=arn, Certificate=root.encode())
    return arn


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Keep what our clients ask for."""
    from botocore.client import BaseClient

    seen: list[tuple[str, dict[str, Any]]] = []
    send = BaseClient._make_api_call  # type: ignore[attr-defined]

    def spy(self: Any, operation: str, given: dict[str, Any]) -> Any:
        seen.append((operation, given))
        return send(self, operation, given)

    monkeypatch.setattr(BaseClient, "_make_api_call", spy)
    return seen


def settings(server: str, arn: str, tmp_path: Path, **options: Any) -> AcmPcaIssuerSettings:
    given = {
        "kind": "acmpca",
        "authority_arn": arn,
        "endpoint_url": server,
        "directory": tmp_path / "issued",
        "validity_days": 47,
    }
    return AcmPcaIssuerSettings(**{**given, **options})


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    made = Staging(tmp_path / "staging" / "a")
    made.prepare()
    return made


def test_it_issues_once_an_order(
    pca: Any, server: str, staging: Staging, tmp_path: Path, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    arn = authority(pca)
    calls.clear()
    issuer = settings(server, arn, tmp_path).open(system_clock)
    csr = staging.csr(NAMES)
    order = json.loads(json.dumps(issuer.order(csr)))
    assert [name for name, _ in calls] == ["DescribeCertificateAuthority"], "an order issues nothing"
    chain = issuer.issue(order, csr)
    again = settings(server, arn, tmp_path).open(system_clock)
    assert again.issue(order, staging.csr(NAMES)) == chain
    (asked,) = [given for name, given in calls if name == "IssueCertificate"]
    assert asked["IdempotencyToken"] == order["order"]
    assert asked["Validity"] == {"Type": "DAYS", "Value": 47}
    assert asked["SigningAlgorithm"] == "SHA256WITHRSA"
    assert asked["Csr"] == csr
    root = pca.get_certificate_authority_certificate(CertificateAuthorityArn=arn)["Certificate"]
    now = datetime.now(UTC)
    check_pair(chain, staging.key, names=NAMES, roots_pem=root.encode(), now=now)
    assert again.issue(again.order(csr), csr) != chain, "another order"


def test_killed_after_it_was_issued_it_fetches_the_same(
    pca: Any,
    server: str,
    staging: Staging,
    tmp_path: Path,
    calls: list[tuple[str, dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    issuer = AcmPcaIssuer(settings(server, authority(pca), tmp_path))
    csr = staging.csr(NAMES)
    order = issuer.order(csr)

    class Killed(BaseException):
        pass

    def die(arn: str) -> bytes:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(issuer, "_fetch", die)
        with pytest.raises(Killed):
            issuer.issue(order, csr)
    calls.clear()
    chain = issuer.issue(order, staging.csr(NAMES))
    assert [name for name, _ in calls] == ["GetCertificate"]
    check_pair(chain, staging.key, names=NAMES)


def test_what_is_wrong_is_told(
    pca: Any, server: str, staging: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csr = staging.csr(NAMES)

    def refused(arn: str, **options: Any) -> IssuanceError:
        issuer = settings(server, arn, tmp_path, **options).open(system_clock)
        with pytest.raises(IssuanceError) as caught:
            issuer.order(csr)
        return caught.value

    idle = authority(pca, active=False)
    assert refused(idle).code == "config"
    assert "not ACTIVE" in str(refused(idle))
    gone = idle[:-4] + "0000"
    assert refused(gone).code == "ResourceNotFoundException"
    assert refused(idle, endpoint_url="http://127.0.0.1:9").code == "unreachable"
    assert "profile" in str(refused(idle, profile="nobody"))
    with pytest.raises(IssuanceError, match="not a signing request"):
        settings(server, idle, tmp_path).open(system_clock).order(b"rubbish")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert "credentials" in str(refused(idle))


def test_a_certificate_for_another_key_is_not_kept(
    pca: Any, server: str, staging: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = AcmPcaIssuer(settings(server, authority(pca), tmp_path))
    csr = staging.csr(NAMES)
    embedded = EmbeddedIssuer(tmp_path / "ca")
    now = datetime.now(UTC)
    other = embedded.certify(
        load_pem_private_key(new_key(), None).public_key(),  # type: ignore[arg-type]
        NAMES,
        not_before=now,
        not_after=now.replace(year=now.year + 1),
    )
    monkeypatch.setattr(issuer, "_fetch", lambda arn: other.public_bytes(Encoding.PEM))
    with pytest.raises(IssuanceError, match="another key") as caught:
        issuer.issue(issuer.order(csr), csr)
    assert caught.value.code == "badCertificate"
    assert not list((tmp_path / "issued").rglob("chain.pem"))
    assert x509.load_pem_x509_csr(csr).is_signature_valid
