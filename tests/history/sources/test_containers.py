"""Certificates out of PKCS#7, PKCS#12 and Java keystores, whole and damaged."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    pkcs7,
    pkcs12,
)
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import CertForecastError, InputError, SourceError
from certforecast.history.sources.containers import certificates_in
from certforecast.history.sources.pem import PemSource
from tests.certificates import authority, certificate, der, key, key_pem, pem
from tests.history.sources.reading import parsed

LEAF, CHAIN = certificate("a.example"), authority()
PKCS7_DER = pkcs7.serialize_certificates([LEAF, CHAIN], Encoding.DER)
PKCS7_PEM = pkcs7.serialize_certificates([LEAF, CHAIN], Encoding.PEM)
SECRET = b"opensesame"
SEALED = pkcs12.serialize_key_and_certificates(b"a", key(), LEAF, [CHAIN], BestAvailableEncryption(SECRET))
OPEN = pkcs12.serialize_key_and_certificates(b"a", key(), LEAF, [CHAIN], NoEncryption())


@pytest.mark.parametrize("data", [PKCS7_DER, PKCS7_PEM, b"words\n" + PKCS7_PEM, OPEN])
def test_a_container_gives_its_certificates(data: bytes) -> None:
    assert set(certificates_in(data) or ()) == {der(LEAF), der(CHAIN)}


def test_a_sealed_container_needs_its_password() -> None:
    assert certificates_in(SEALED, SECRET) == [der(LEAF), der(CHAIN)]
    with pytest.raises(InputError, match="needs a password: give the right one in a file"):
        certificates_in(SEALED)
    with pytest.raises(InputError, match="cannot be opened with this password"):
        certificates_in(SEALED, b"wrong")


@pytest.mark.parametrize("data", [b"", b"words", der(LEAF), pem(LEAF), key_pem(), b"\x30", b"\x30\x80"])
def test_what_is_no_container_is_none(data: bytes) -> None:
    assert certificates_in(data) is None


@given(
    st.sampled_from([PKCS7_DER, PKCS7_PEM, OPEN, b"\xfe\xed\xfe\xed\x00\x00\x00\x02\x00\x00\x00\x01"]),
    st.integers(0, 3000),
    st.binary(max_size=8),
)
def test_damage_is_an_input_error(data: bytes, place: int, change: bytes) -> None:
    place %= len(data)
    for damaged in (data[:place], data[:place] + change + data[place + len(change) :]):
        try:
            found = certificates_in(damaged)
        except CertForecastError:
            continue
        assert found is None or all(isinstance(one, bytes) for one in found)


def test_the_password_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.p12").write_bytes(SEALED)
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\r\nmore\n")
    path = tmp_path / "a.p12"
    with pytest.raises(SourceError, match="needs a password"):
        parsed(PemSource(path))
    for source in (
        PemSource(path, password_file=secret),
        PemSource(path, password=SECRET.decode()),
        PemSource(tmp_path, password_file=secret),
    ):
        assert [row["names"] for row in parsed(source).certificates] == [["a.example"]]
    monkeypatch.setenv("CERTFORECAST_PASSWORD", SECRET.decode())
    assert [row["names"] for row in parsed(PemSource(path)).certificates] == [["a.example"]]
    with pytest.raises(InputError, match="password file"):
        parsed(PemSource(path, password_file=tmp_path / "none"))


def test_a_file_is_opened_again_only_if_it_changed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.pem", "deep/b.pem", "deep/c.der"):
        (tmp_path / name).write_bytes(pem(LEAF))
    first = parsed(PemSource(tmp_path))
    assert (len(first.certificates), first.skipped, len(first.marks)) == (3, 0, 3)
    marks = {mark.place: mark.state for mark in first.marks}
    (tmp_path / "a.pem").chmod(0)
    (tmp_path / "deep" / "b.pem").write_bytes(pem(LEAF) + pem(certificate("b.example")))
    second = parsed(PemSource(tmp_path), marks)
    assert second.positions["certificates"] == ["deep/b.pem#1", "deep/b.pem#2"]
    assert (second.skipped, [Path(mark.place).name for mark in second.marks]) == (2, ["b.pem"])
    again = parsed(PemSource(tmp_path / "deep" / "c.der"), marks)
    assert (again.certificates, again.skipped) == ([], 1)


def test_links_in_circles_end(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a.pem").write_bytes(pem(LEAF))
    (tmp_path / "linked.pem").symlink_to(tmp_path / "a.pem")
    found = parsed(PemSource(tmp_path))
    assert found.positions["certificates"] == ["a.pem#1", "linked.pem#1"]


def test_a_path_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "a.p12").write_bytes(OPEN)
    (tmp_path / "words.txt").write_text("words")
    assert PemSource.recognises(tmp_path) == "files with certificates"
    assert PemSource.recognises(tmp_path / "a.p12") == "certificates"
    assert PemSource.recognises(tmp_path / "words.txt") is None
    assert PemSource.recognises(tmp_path / "none") is None
