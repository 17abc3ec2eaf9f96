"""What is refused before any server is touched."""

from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from certforecast.errors import InstallationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.history.x509 import fingerprint
from tests.certificates import START, certificate, der, key, key_pem, pem

NOW = START + timedelta(days=10)


def other_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def test_the_fingerprint_is_that_of_the_first_certificate() -> None:
    leaf, other = certificate("a.test"), certificate("b.test")
    assert leaf_fingerprint(pem(leaf) + pem(other)) == fingerprint(der(leaf))
    with pytest.raises(InstallationError, match="no certificate can be read"):
        leaf_fingerprint(key_pem())


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_a_key_that_belongs_is_taken_from_any_place_of_a_combined_file(form: PrivateFormat) -> None:
    leaf = pem(certificate("a.test"))
    own = key().private_bytes(Encoding.PEM, form, NoEncryption())
    check_pair(leaf, own, names=["a.test"], now=NOW)
    check_pair(own + leaf, leaf + own)


def test_a_key_of_another_certificate_is_refused_and_not_quoted() -> None:
    stranger = other_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InstallationError, match="does not match") as caught:
        check_pair(pem(certificate("a.test")), stranger)
    assert stranger.splitlines()[1].decode() not in str(caught.value)


def test_keys_that_cannot_be_used_are_refused_and_not_quoted() -> None:
    leaf = pem(certificate("a.test"))
    locked = other_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    spoilt = key_pem().replace(b"\nM", b"\nA", 1)
    for bad, reason in ((locked, "encrypted"), (spoilt, "cannot be read"), (leaf, "no private key")):
        with pytest.raises(InstallationError, match=reason) as caught:
            check_pair(leaf, bad)
        assert bad.splitlines()[1].decode() not in str(caught.value)


@pytest.mark.parametrize(
    ("held", "wanted", "missing"),
    [
        (["a.test", "b.test"], ["B.TEST.", "a.test"], None),
        (["*.a.test"], ["x.a.test", "*.a.test"], None),
        (["*.a.test"], ["a.test"], "a.test"),
        (["*.a.test"], ["x.y.a.test"], "x.y.a.test"),
        (["x.a.test"], ["*.a.test"], r"\*.a.test"),
        (["*.y.a.test"], ["*.a.test"], r"\*.a.test"),
        (["10.0.0.1", "::1"], ["10.0.0.1", "0:0::1"], None),
        (["10.0.0.1"], ["10.0.0.2"], "10.0.0.2"),
        (["xn--bcher-kva.test"], ["bücher.test"], None),
    ],
)
def test_every_name_must_be_covered(held: list[str], wanted: list[str], missing: str | None) -> None:
    leaf = pem(certificate(*held))
    if missing is None:
        check_pair(leaf, key_pem(), names=wanted)
    else:
        with pytest.raises(InstallationError, match=f"does not cover {missing}, only"):
            check_pair(leaf, key_pem(), names=wanted)


@pytest.mark.parametrize("days", [-1, 91])
def test_a_leaf_that_is_not_valid_now_is_refused(days: int) -> None:
    with pytest.raises(InstallationError, match="is valid from 2026-03-01 00:00 until 2026-05-30 00:00 UTC"):
        check_pair(pem(certificate("a.test")), key_pem(), now=START + timedelta(days=days))


def test_the_chain_must_lead_to_the_roots_given() -> None:
    now = datetime.now(UTC)
    root, stranger = trustme.CA(), trustme.CA()
    between = root.create_child_ca()
    issued = between.issue_cert("*.a.test", "10.0.0.1")
    chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
    own, trusted = issued.private_key_pem.bytes(), root.cert_pem.bytes()
    check_pair(chain, own, names=["x.a.test"], roots_pem=stranger.cert_pem.bytes() + trusted, now=now)
    for incomplete, roots in (
        (issued.cert_chain_pems[0].bytes(), trusted),
        (chain, stranger.cert_pem.bytes()),
    ):
        with pytest.raises(InstallationError, match="does not lead to a trusted root"):
            check_pair(incomplete, own, roots_pem=roots, now=now)


def test_a_leaf_may_not_stand_in_for_an_authority() -> None:
    root = trustme.CA()
    middle = root.issue_cert("middle.test")
    signer = x509.load_pem_x509_certificate(middle.cert_chain_pems[0].bytes())
    forged = certificate(
        "bank.test",
        start=datetime.now(UTC).replace(microsecond=0) - timedelta(days=1),
        issuer=signer.subject,
        signer=load_pem_private_key(middle.private_key_pem.bytes(), None),
    )
    with pytest.raises(InstallationError, match="does not lead to a trusted root"):
        check_pair(
            pem(forged) + middle.cert_chain_pems[0].bytes(),
            key_pem(),
            roots_pem=root.cert_pem.bytes(),
            now=datetime.now(UTC),
        )
