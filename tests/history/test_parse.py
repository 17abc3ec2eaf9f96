"""Bulk parsing, beside cryptography's own view of each certificate, and over corpora of odd ones."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cryptography_vectors
import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import example, given, settings
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.history.names import normalise_name
from certforecast.history.schema import CERTIFICATES
from certforecast.history.x509 import parse, parse_batches, split_pem
from certforecast.history.x509.columns import PARSED
from tests.certificates import alternative, authority, certificate, der, key, name, policies
from tests.history.oracle import differences, oracle

VECTORS = Path(cryptography_vectors.__file__).parent


def corpus(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give everything in a folder that may be a certificate."""
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.stat().st_size > 5_000_000:
            continue
        data = path.read_bytes()
        if b"-----BEGIN " in data:
            for number, block in split_pem(data):
                if isinstance(block, bytes):
                    yield f"{path.name}#{number}", block
        elif path.suffix in {".der", ".crt", ".cer", ".bin", ""}:
            yield path.name, data


def test_every_vector_is_parsed_or_refused_and_agrees_with_cryptography() -> None:
    """Certificates of the cryptography project, many of them made to be odd."""
    found = list(corpus(VECTORS / "x509"))
    table = parse([data for _, data in found])
    rows = table.to_pylist()
    outcome: Counter[str] = Counter()
    differing = {}
    for (where, data), row in zip(found, rows, strict=True):
        try:
            expected = oracle(data)
        except Exception:
            assert row["reason"], where
            outcome["no certificate"] += 1
            continue
        if row["reason"] is not None:
            outcome["refused"] += 1
        else:
            outcome["parsed"] += 1
            if differs := differences(row, expected):
                differing[where] = differs
    assert differing == {}
    assert outcome["parsed"] > 150
    assert outcome.total() == len(found) == table.num_rows
    assert {row["reason"] for row in rows if row["reason"]} >= {
        "certificate has an extension twice, which RFC 5280 (section 4.2) forbids",
        "bytes are not a whole DER certificate; they are truncated or something else",
    }


@pytest.mark.parametrize(
    "folder", [VECTORS, os.environ.get("CERTFORECAST_CORPUS")], ids=["vectors", "corpus"]
)
def test_a_corpus_is_parsed_or_refused_and_nothing_else(folder: Path | str | None) -> None:
    """All vectors, keys and requests among them; and any folder named by CERTFORECAST_CORPUS."""
    if folder is None:
        folder = VECTORS / "x509" / "custom"
    data = [path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    data += [block for _, block in corpus(Path(folder))]
    table = parse(data)
    assert table.num_rows == len(data)
    refused = pa.compute.is_valid(table["reason"])
    crashed = 0  # parse would have raised
    counts = {"parsed": table.num_rows - refused.to_pylist().count(True), "crashed": crashed}
    print(f"{folder}: {table.num_rows} read, {counts}")
    assert counts["parsed"] > 0


BROKEN = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda whole, place, change: (
            whole[: place % len(whole)] + change + whole[place % len(whole) + len(change) :]
        ),
        st.sampled_from(
            [
                der(certificate("a.example", "*.b.example", extensions=(policies("2.23.140.1.2.1"),))),
                der(certificate("127.0.0.1", "c.example")),
                der(authority()),
            ]
        ),
        st.integers(0, 2000),
        st.binary(min_size=1, max_size=8),
    ),
)


@given(st.lists(BROKEN, max_size=6))
@settings(deadline=None)
def test_any_bytes_are_parsed_or_refused_and_agree_with_cryptography(ders: list[bytes]) -> None:
    table = parse(ders)
    assert table.schema == PARSED
    for data, row in zip(ders, table.to_pylist(), strict=True):
        if row["reason"] is None:
            assert differences(row, oracle(data)) == {}
        else:
            assert all(value is None for column, value in row.items() if column != "reason")


@given(
    st.lists(
        BROKEN | st.sampled_from([der(certificate("d.example")), der(certificate("e.example"))]), max_size=6
    )
)
@settings(deadline=None, max_examples=50)
def test_a_certificate_reads_the_same_in_any_company(ders: list[bytes]) -> None:
    together = parse(ders)
    alone = pa.concat_tables([PARSED.empty_table(), *(parse([data]) for data in ders)])
    assert together.to_pylist() == alone.to_pylist()


LABELS = st.from_regex(r"[a-zA-Z0-9_*.-]{1,70}", fullmatch=True) | st.sampled_from(
    [
        "a..b",
        "-a.example",
        "a-.example",
        "a.-b",
        ".a",
        "a.",
        "*.a.example",
        "xn--bcher-kva.example",
        "A.Example",
        "1.2.3.4",
    ]
)


@given(st.lists(LABELS, min_size=1, max_size=80))
@example(["a" * 63 + ".example", "b" * 64 + ".example"])
@settings(deadline=None, max_examples=200)
def test_names_are_those_that_normalise(names: list[str]) -> None:
    extension = x509.SubjectAlternativeName([x509.DNSName(text) for text in names])
    made = certificate(subject=name(COMMON_NAME="fallback"), extensions=((extension, False),))
    expected = set()
    for text in names:
        try:
            expected.add(normalise_name(text))
        except InputError:
            continue
    (row,) = parse([der(made)]).to_pylist()
    assert row["names"] == (sorted(expected) or ["fallback"])
    assert row["wildcard"] == any("*" in text for text in row["names"])


def test_processes_give_what_one_gives() -> None:
    ders = [der(certificate(f"n{number}.example")) for number in range(40)] + [b"junk", b""]
    assert parse(ders * 120, workers=2).equals(parse(ders * 120, workers=1))


def test_no_more_is_held_than_a_few_tables() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        whole = der(certificate("a.example"))
        while True:
            taken += 1
            yield whole

    batches = parse_batches(endless(), workers=1)
    rows = sum(next(batches).num_rows for _ in range(3))
    assert rows <= taken < 5 * rows


ODD = {
    "ten thousand names": certificate(*(f"h{number}.example" for number in range(10_000))),
    "a huge serial": certificate("a.example", serial=2**158 + 1),
    "an unknown critical extension": certificate(
        "a.example", extensions=((x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"?"), True),)
    ),
    "year 9999": certificate("a.example", days=2_912_000),
    "before 1970": certificate("a.example", start=datetime(1955, 1, 1, tzinfo=UTC)),
    "RSA-16384": certificate("a.example", public_key=rsa.RSAPublicNumbers(65537, 2**16383 + 9).public_key()),
    "Ed448": certificate("a.example", public_key=ed448.Ed448PrivateKey.generate().public_key()),
    "P-521": certificate("a.example", public_key=ec.generate_private_key(ec.SECP521R1()).public_key()),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_certificates_are_parsed(kind: str) -> None:
    data = der(ODD[kind])
    (row,) = parse([data]).to_pylist()
    assert row["reason"] is None
    assert differences(row, oracle(data)) == {}
    assert pa.Table.from_pylist([{**row, "source": "t", "known_at": row["not_before"]}], CERTIFICATES.schema)


def test_ml_dsa_is_parsed() -> None:
    """No ML-DSA certificate can be made here: the algorithm's identifier is put in place of Ed448's."""
    whole = der(ODD["Ed448"]).replace(bytes.fromhex("06032b6571"), bytes.fromhex("06032b6577"))
    (row,) = parse([whole]).to_pylist()
    assert (row["reason"], row["key_algorithm"], row["key_bits"]) == (None, "1.3.101.119", None)


def test_international_names_addresses_and_uris() -> None:
    made = certificate(
        "xn--bcher-kva.example",
        "192.0.2.1",
        extensions=((x509.SubjectKeyIdentifier(b"1"), False),),
    )
    uri = (x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://a/b")]), False)
    only_uri = certificate(subject=name(COMMON_NAME="workload"), extensions=(uri,))
    rows = parse([der(made), der(only_uri)]).to_pylist()
    assert [row["names"] for row in rows] == [["192.0.2.1", "xn--bcher-kva.example"], ["workload"]]


def test_an_extension_that_stands_twice_is_refused() -> None:
    uses = alternative("b.example")
    made = der(
        certificate(
            "a.example",
            extensions=(
                (x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.33"), uses[0].public_bytes()), False),
            ),
        )
    )
    # Made with the identifier of policy mappings, which becomes that of a second alternative name.
    twice = made.replace(bytes.fromhex("0603551d21"), bytes.fromhex("0603551d11"))
    (row,) = parse([twice]).to_pylist()
    assert "twice" in row["reason"]


def test_the_time_of_the_logs_is_read() -> None:
    found = [
        data for where, data in corpus(VECTORS / "x509") if "letsencrypt" in where or "badssl-sct" in where
    ]
    rows = [row for row in parse(found).to_pylist() if row["logged_at"] is not None]
    assert rows
    for row in rows:
        assert timedelta(0) < row["logged_at"] - row["not_before"] < timedelta(days=2)


def test_the_key_is_hashed_as_it_stands() -> None:
    spki = key().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert parse([der(certificate("a.example"))])["spki_hash"].to_pylist() == [
        hashlib.sha256(spki).hexdigest()
    ]
