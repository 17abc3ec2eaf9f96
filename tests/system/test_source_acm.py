"""AWS Certificate Manager, played by moto's server, which keeps real certificates under the real API."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certforecast.errors import SourceError
from certforecast.history import History
from certforecast.history.sources import Batch
from certforecast.history.sources.acm import AcmSource
from tests.certificates import certificate, der, key_pem, pem
from tests.history.sources.reading import read
from tests.system.aws import REGION, moto_server
from tests.system.aws import client as aws_client

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with moto_server() as address:
        yield address


@pytest.fixture
def acm(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    client = aws_client("acm", server, monkeypatch)
    for summary in client.list_certificates()["CertificateSummaryList"]:
        client.delete_certificate(CertificateArn=summary["CertificateArn"])
    return client


def made(name: str, **options: Any) -> Any:
    return certificate(name, start=datetime.now(UTC) - timedelta(days=1), **options)


def put(acm: Any, leaf: Any, key: bytes | None = None, **options: Any) -> str:
    answer = acm.import_certificate(Certificate=pem(leaf), PrivateKey=key or key_pem(), **options)
    return str(answer["CertificateArn"])


def look(server: str, before: Batch | None = None) -> Batch:
    marks = {mark.place: mark.state for mark in before.marks} if before else {}
    return read(AcmSource(REGION, endpoint_url=server), marks)


def test_certificates_of_every_key_type_are_read(acm: Any, server: str) -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    leaves = made("ec.example"), made("rsa.example", public_key=rsa_key.public_key())
    plain = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    arns = put(acm, leaves[0]), put(acm, leaves[1], plain)
    found = look(server)
    assert sorted(whole.der for whole in found.wholes) == sorted(map(der, leaves))
    assert {whole.position for whole in found.wholes} == set(arns)
    assert not found.rejected


def test_an_import_is_known_from_the_time_acm_gives(acm: Any, server: str) -> None:
    arn = put(acm, made("a.example"))
    told = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    found = look(server)
    assert found.wholes[0].known_at == told["ImportedAt"]
    (event,) = found.events
    assert (event["kind"], event["lineage"], event["host"]) == ("staged", arn.split("/")[1], "a.example")
    assert event["known_at"] == told["ImportedAt"]


def test_a_version_imported_over_another_is_new_in_the_same_lineage(acm: Any, server: str) -> None:
    arn = put(acm, made("a.example"))
    first = look(server)
    second_leaf = made("a.example")
    put(acm, second_leaf, CertificateArn=arn)
    second = look(server, first)
    assert [whole.der for whole in second.wholes] == [der(second_leaf)]
    assert {event["lineage"] for event in [*first.events, *second.events]} == {arn.split("/")[1]}


def test_what_has_not_changed_is_not_fetched_again(acm: Any, server: str) -> None:
    put(acm, made("a.example"))
    first = look(server)
    put(acm, made("b.example"))
    second = look(server, first)
    assert (len(first.wholes), len(second.wholes), second.skipped) == (1, 1, 1)


def test_a_requested_certificate_tells_of_its_order(acm: Any, server: str) -> None:
    arn = acm.request_certificate(DomainName="*.c.example", SubjectAlternativeNames=["c.example"])[
        "CertificateArn"
    ]
    told = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    found = look(server)
    assert {event["kind"]: event["at"] for event in found.events} == {
        "order_created": told["CreatedAt"],
        "issued": told["IssuedAt"],
    }
    assert {event["host"] for event in found.events} == {"c.example"}


def test_the_history_goes_into_a_store(acm: Any, server: str) -> None:
    for name in "abc":
        put(acm, made(f"{name}.example"))
    with History(None) as store:
        store.ingest(AcmSource(REGION, endpoint_url=server))
        counts = store.counts()
        again = store.ingest(AcmSource(REGION, endpoint_url=server))
    assert (counts["certificates"], counts["events"], counts["quarantine"]) == (3, 3, 0)
    assert (again.new, again.changed) == (0, 0)


def test_without_credentials_the_error_says_so(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(SourceError, match=r"[Uu]nable to locate credentials.*check region"):
        look(server)
