"""The embedded authority: what it signs, and that nothing is signed twice."""

import json
import multiprocessing
import stat
from datetime import UTC, datetime, timedelta
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store

from certforecast.errors import IssuanceError
from certforecast.execution.issuers import Order
from certforecast.execution.issuers.embedded import EmbeddedIssuer
from certforecast.execution.staging import Staging, general_name

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ["www.site.test", "*.site.test", "192.0.2.7"]

#: Not fork: the test runner has threads.
spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def issuer(tmp_path: Path) -> EmbeddedIssuer:
    return EmbeddedIssuer(tmp_path / "ca", validity_days=90, clock=lambda: NOW)


def request(folder: Path, names: list[str]) -> bytes:
    staging = Staging(folder)
    staging.prepare()
    return staging.csr(names)


def test_its_leaves_verify_for_each_of_their_names(issuer: EmbeddedIssuer, tmp_path: Path) -> None:
    csr = request(tmp_path / "staging", NAMES)
    leaf = x509.load_pem_x509_certificate(issuer.issue(issuer.order(csr), csr))
    roots = Store(x509.load_pem_x509_certificates(issuer.roots.read_bytes()))
    for name in ("www.site.test", "other.site.test"):
        PolicyBuilder().store(roots).time(NOW).build_server_verifier(x509.DNSName(name)).verify(leaf, [])
    PolicyBuilder().store(roots).time(NOW).build_server_verifier(general_name(NAMES[2])).verify(leaf, [])
    assert leaf.public_key() == x509.load_pem_x509_csr(csr).public_key()
    assert leaf.not_valid_before_utc == NOW - timedelta(minutes=5)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(days=90)


def test_the_same_order_gives_the_same_certificate(issuer: EmbeddedIssuer, tmp_path: Path) -> None:
    csr = request(tmp_path / "staging", NAMES)
    order = json.loads(json.dumps(issuer.order(csr)))  # as it comes back from a checkpoint
    first = issuer.issue(order, csr)
    later = EmbeddedIssuer(issuer.directory, clock=lambda: NOW + timedelta(hours=1))
    assert later.issue(order, csr) == first
    assert later.issue(later.order(csr), csr) != first
    assert len(list((issuer.directory / "issued").iterdir())) == 2


def test_an_order_alone_issues_nothing(issuer: EmbeddedIssuer, tmp_path: Path) -> None:
    issuer.order(request(tmp_path / "staging", NAMES))
    assert not (issuer.directory / "issued").exists()


def test_a_name_longer_than_a_common_name_may_be(issuer: EmbeddedIssuer, tmp_path: Path) -> None:
    name = ".".join(["a" * 40, "b" * 40, "test"])
    csr = request(tmp_path / "staging", [name])
    leaf = x509.load_pem_x509_certificate(issuer.issue(issuer.order(csr), csr))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == [name]
    assert names.critical  # RFC 5280, section 4.2.1.6: as the subject is empty
    assert len(leaf.subject) == 0


def test_refuses_what_is_no_sound_request(issuer: EmbeddedIssuer, tmp_path: Path) -> None:
    staging = Staging(tmp_path / "staging")
    staging.prepare()
    sound = staging.csr(NAMES)
    der = bytearray(x509.load_pem_x509_csr(sound).public_bytes(Encoding.DER))
    der[der.index(b"www.site")] ^= 1  # another name under the same signature
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    for csr, words in (
        (b"garbage", "not a signing request"),
        (forged, "signature"),
        (nameless(), "names nothing"),
    ):
        with pytest.raises(IssuanceError, match=words) as caught:
            issuer.issue(issuer.order(csr), csr)
        assert caught.value.code == "badCSR"
    assert not (issuer.directory / "issued").exists()


def test_only_the_owner_may_read_the_key(issuer: EmbeddedIssuer) -> None:
    key = issuer.roots.with_name("key.pem")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_processes_that_start_at_once_share_one_root_and_one_certificate(tmp_path: Path) -> None:
    csr = request(tmp_path / "staging", NAMES)
    order = EmbeddedIssuer(tmp_path / "ca").order(csr)
    barrier, answers = spawn.Barrier(2), spawn.Queue()
    workers = [spawn.Process(target=work, args=(tmp_path / "ca", order, csr, barrier, answers)) for _ in "ab"]
    for worker in workers:
        worker.start()
    seen = [answers.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert len(set(seen)) == 1
    root, leaf = map(x509.load_pem_x509_certificate, seen[0])
    leaf.verify_directly_issued_by(root)
    assert sorted(path.name for path in (tmp_path / "ca").iterdir()) == ["issued", "root"]


def work(directory: Path, order: Order, csr: bytes, barrier: Barrier, answers: Queue) -> None:
    issuer = EmbeddedIssuer(directory)
    barrier.wait(20)
    root = issuer.roots.read_bytes()
    barrier.wait(20)
    answers.put((root, issuer.issue(order, csr)))


def nameless() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
