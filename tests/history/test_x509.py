"""Certificates into rows: every column right, and nothing that is thrown at it gets through."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import CertForecastError, InputError
from certforecast.history.schema import CERTIFICATES
from certforecast.history.validation import check, from_rows
from certforecast.history.x509 import certificate_row, is_chain_certificate, split_pem
from certforecast.simulation.ders import make_ders
from tests.certificates import (
    ISSUER,
    START,
    authority,
    certificate,
    der,
    key,
    key_pem,
    name,
    pem,
    policies,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def row(made: x509.Certificate) -> dict[str, Any]:
    return certificate_row(der(made), source="test", known_at=NOW)


def test_every_column_is_read() -> None:
    made = certificate(
        "www.Example.co.uk",
        "*.example.co.uk",
        "2001:db8::1",
        serial=0x0ABC,
        subject=name(COMMON_NAME="www.example.co.uk", ORGANIZATION_NAME="Us"),
        extensions=(
            policies("1.2.3", "2.23.140.1.2.2"),
            (x509.TLSFeature([x509.TLSFeatureType.status_request]), False),
            (
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ObjectIdentifier("1.2.3.4")]),
                False,
            ),
            (x509.AuthorityKeyIdentifier(b"\x01\xab", None, None), False),
        ),
    )
    spki = key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert row(made) == {
        "fingerprint": hashlib.sha256(der(made)).hexdigest(),
        "serial": "abc",
        "issuer_dn": r"CN=Test CA,O=Test\, Inc.,C=US",
        "issuer_org": "Test, Inc.",
        "issuer_cn": "Test CA",
        "issuer_key_id": "01ab",
        "subject_cn": "www.example.co.uk",
        "names": ["*.example.co.uk", "2001:db8::1", "www.example.co.uk"],
        "name_set_id": hashlib.sha256(b"*.example.co.uk\n2001:db8::1\nwww.example.co.uk").hexdigest()[:32],
        "registered_domains": ["example.co.uk"],
        "wildcard": True,
        "key_algorithm": "EC",
        "key_bits": 256,
        "signature_algorithm": "ecdsa-with-SHA256",
        "not_before": START,
        "not_after": datetime(2026, 5, 30, tzinfo=UTC),
        "validity_days": 90.0,
        "policy": "OV",
        "must_staple": True,
        "eku": ["serverAuth", "1.2.3.4"],
        "is_precertificate": False,
        "spki_hash": hashlib.sha256(spki).hexdigest(),
        "source": "test",
        "known_at": NOW,
        "details_known_at": NOW,
    }
    assert set(row(made)) == set(CERTIFICATES.columns)


def test_a_bare_certificate_has_nulls_that_the_store_takes() -> None:
    made = certificate(subject=name(COMMON_NAME="Printer.Example"), issuer=None)
    found = row(made)
    assert found["names"] == ["printer.example"]
    assert [found[column] for column in ("issuer_org", "issuer_key_id", "eku")] == [None, None, None]
    assert (found["policy"], found["must_staple"]) == ("unknown", False)
    arrow, positions, rejected = from_rows(CERTIFICATES, [found], ["here"])
    good, broken = check(CERTIFICATES, arrow, positions)
    assert (good.num_rows, rejected, broken) == (1, [], [])


@pytest.mark.parametrize(
    ("oid", "policy"),
    [
        ("2.23.140.1.2.1", "DV"),
        ("2.23.140.1.2.2", "OV"),
        ("2.23.140.1.1", "EV"),
        ("2.23.140.1.2.3", "unknown"),
    ],
)
def test_policy(oid: str, policy: str) -> None:
    assert row(certificate("a.example", extensions=(policies(oid),)))["policy"] == policy


def test_a_precertificate_is_told_by_its_poison() -> None:
    assert row(certificate("a.example", extensions=((x509.PrecertPoison(), True),)))["is_precertificate"]


def test_a_common_name_that_is_no_dns_name_still_names_the_certificate() -> None:
    assert row(certificate(subject=name(COMMON_NAME="urn:node:A  1")))["names"] == ["urn:node:a 1"]
    mail = (x509.SubjectAlternativeName([x509.RFC822Name("a@example.org")]), False)
    assert row(certificate(subject=name(COMMON_NAME="A"), extensions=(mail,)))["names"] == ["a"]


def test_an_alternative_name_that_is_none_loses_no_other() -> None:
    assert row(certificate("a.example", "not a name"))["names"] == ["a.example"]


def test_no_name_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="names nothing"):
        row(certificate(subject=name(ORGANIZATION_NAME="Nobody")))


KEYS = {
    "Ed25519": lambda: ed25519.Ed25519PrivateKey.generate(),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "DSA": lambda: dsa.generate_private_key(1024),
    "1.3.101.110": lambda: x25519.X25519PrivateKey.generate(),
}


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_kind_of_key_gives_a_row(algorithm: str) -> None:
    found = row(certificate("a.example", public_key=KEYS[algorithm]().public_key()))
    assert found["key_algorithm"] == algorithm
    assert found["key_bits"] == {"RSA": 2048, "DSA": 1024}.get(algorithm)
    assert found["spki_hash"] is not None


def patched(made: x509.Certificate, old: bytes, new: bytes) -> bytes:
    """Change bytes of a certificate; nobody here checks its signature."""
    whole = der(made)
    assert whole.count(old) >= 1
    assert len(old) == len(new)
    return whole.replace(old, new, 1)


def test_an_unknown_kind_of_key_gives_a_row_without_its_size() -> None:
    # The curve's OID (1.2.840.10045.3.1.7) becomes one that nobody knows.
    unknown = patched(
        certificate("a.example"), bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030177")
    )
    found = certificate_row(unknown, source="test", known_at=NOW)
    assert (found["key_algorithm"], found["key_bits"]) == ("EC", None)
    assert found["spki_hash"] is not None


def test_an_inverted_validity_is_refused() -> None:
    inverted = patched(certificate("a.example", days=90), b"260530000000Z", b"250530000000Z")
    with pytest.raises(InputError, match="inverted"):
        certificate_row(inverted, source="test", known_at=NOW)


@pytest.mark.parametrize("serial", ["00", "80"])
def test_a_zero_or_negative_serial_does_not_crash(serial: str) -> None:
    whole = patched(
        certificate("a.example", serial=0x77), b"\x02\x01\x77", b"\x02\x01" + bytes.fromhex(serial)
    )
    try:
        found = certificate_row(whole, source="test", known_at=NOW)
    except InputError:
        return
    assert found["serial"] in ("0", "-80")


@pytest.mark.parametrize("year", [1950, 9999])
def test_far_dates_fit_the_store(year: int) -> None:
    start = datetime(1950, 1, 1, tzinfo=UTC)
    end = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    found = row(certificate("a.example", start=start, days=(end - start).total_seconds() / 86400))
    assert found["not_after"].year == year
    arrow = pa.Table.from_pylist([found], schema=CERTIFICATES.schema)
    assert arrow["not_after"][0].as_py() == found["not_after"]


@pytest.mark.parametrize("cut", [1, 100, -1])
def test_truncated_der_is_refused(cut: int) -> None:
    with pytest.raises(InputError, match="truncated"):
        certificate_row(der(certificate("a.example"))[:cut], source="test", known_at=NOW)


def test_only_certificates_without_a_servers_name_are_chain() -> None:
    assert is_chain_certificate(der(authority()))
    assert not is_chain_certificate(der(certificate("a.example")))
    constraints = x509.BasicConstraints(ca=True, path_length=None), True
    assert not is_chain_certificate(der(certificate("a.example", issuer=None, extensions=(constraints,))))


WHOLE = der(certificate("a.example", extensions=(policies("2.23.140.1.2.1"),)))


@given(
    st.binary(max_size=200)
    | st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=6)).map(
        lambda change: WHOLE[: change[0]] + change[1] + WHOLE[change[0] + len(change[1]) :]
    )
)
def test_any_bytes_give_a_row_or_an_input_error(data: bytes) -> None:
    try:
        is_chain_certificate(data)
        found = certificate_row(data, source="test", known_at=NOW)
    except CertForecastError:
        return
    assert from_rows(CERTIFICATES, [found], ["here"])[2] == []


GOOD = [certificate(f"{letter}.example") for letter in "abc"]
JUNK = [
    b"",
    b"words\n",
    key_pem(),
    pem(GOOD[0])[:200] + b"\n",
    pem(GOOD[0]).replace(b"MI", b"!!", 1),
    b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
]


@given(st.lists(st.sampled_from([*map(pem, GOOD), *JUNK]) | st.binary(max_size=30).map(lambda b: b + b"\n")))
def test_a_bundle_loses_no_good_block(parts: list[bytes]) -> None:
    found = list(split_pem(b"".join(parts)))
    assert [position for position, _ in found] == list(range(1, len(found) + 1))
    good = [block for _, block in found if isinstance(block, bytes)]
    assert good == [der(made) for part in parts for made in GOOD if part == pem(made)]


@given(st.binary())
def test_any_bytes_can_be_split(data: bytes) -> None:
    list(split_pem(data))


def test_a_broken_block_never_takes_a_key_with_it() -> None:
    broken = pem(GOOD[0])[:200] + b"\n" + key_pem()
    ((_, block),) = split_pem(broken)
    assert isinstance(block, InputError)
    assert "truncated" in str(block)


def test_issuers_are_written_as_cryptography_writes_them() -> None:
    assert row(GOOD[0])["issuer_dn"] == ISSUER.rfc4514_string()


def test_an_sct_tells_from_when_a_certificate_was_known() -> None:
    made = list(make_ders(30, seed=1, start=START))
    rows = [certificate_row(data, source="test", known_at=NOW + timedelta(days=900)) for data in made]
    logged = [row for row in rows if row["policy"] != "unknown"]  # the private ones are in no log
    assert 0 < len(logged) < len(rows)
    for row in rows:
        hour = row["not_before"] + timedelta(hours=1)
        assert row["known_at"] == (hour if row in logged else NOW + timedelta(days=900))
    early = certificate_row(made[0], source="test", known_at=rows[0]["not_before"])
    assert early["known_at"] == rows[0]["not_before"]
