"""Certificates in files."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certforecast.errors import SourceError
from certforecast.history import History
from certforecast.history.sources import Rejected, source
from certforecast.history.sources.pem import PemSource
from tests.certificates import START, authority, certificate, der, key_pem, pem
from tests.history.sources.reading import parsed

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def clock() -> datetime:
    return NOW


def write(path: Path, data: bytes, at: datetime = START + timedelta(days=1)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def test_a_folder_gives_every_leaf_and_sets_garbage_aside(tmp_path: Path) -> None:
    leaves = [certificate(f"{letter}.example") for letter in "abcde"]
    write(tmp_path / "b/fullchain.pem", b"comment\n" + pem(leaves[0]) + pem(authority()) + key_pem())
    write(tmp_path / "b/leaf.DER", der(leaves[1]))
    write(tmp_path / "noending", pem(leaves[2]))
    write(tmp_path / "mixed.crt", pem(leaves[3]) + pem(leaves[0])[:90] + b"\n" + pem(leaves[4]))
    write(tmp_path / "a/garbage.pem", b"no certificate")
    write(tmp_path / "a/cut.cer", der(leaves[0])[:99])
    write(tmp_path / "a/empty.cert", b"")
    write(tmp_path / "privkey.pem", key_pem())
    write(tmp_path / "README.txt", b"words")
    (tmp_path / "dangling.pem").symlink_to("nowhere.pem")
    found = parsed(PemSource(tmp_path, clock=clock))
    assert [row["names"][0] for row in found.certificates] == [
        "a.example", "b.example", "d.example", "e.example", "c.example",
    ]  # fmt: skip
    assert found.positions["certificates"] == [
        "b/fullchain.pem#1", "b/leaf.DER", "mixed.crt#1", "mixed.crt#3", "noending#1",
    ]  # fmt: skip
    assert {row["source"] for row in found.certificates} == {"pem"}
    assert sorted(rejected.position for rejected in found.rejected) == [
        "a/cut.cer", "a/empty.cert", "a/garbage.pem", "mixed.crt#2",
    ]  # fmt: skip


def test_a_file_may_be_a_bundle_or_der(tmp_path: Path) -> None:
    bundle = write(tmp_path / "all.txt", pem(certificate("a.example")) + pem(certificate("b.example")))
    single = write(tmp_path / "one.bin", der(certificate("c.example")))
    assert [row["names"] for row in parsed(PemSource(bundle)).certificates] == [["a.example"], ["b.example"]]
    assert [row["names"] for row in parsed(PemSource(str(single))).certificates] == [["c.example"]]


@pytest.mark.parametrize(
    ("written", "known"),
    [
        (START + timedelta(days=3), START + timedelta(days=3)),
        (START - timedelta(days=3), START),
        (NOW + timedelta(days=3), NOW),
    ],
)
def test_a_certificate_is_known_from_the_files_time_within_reason(
    tmp_path: Path, written: datetime, known: datetime
) -> None:
    file = write(tmp_path / "a.pem", pem(certificate("a.example")), written)
    assert parsed(PemSource(file, clock=clock)).certificates[0]["known_at"] == known


def test_a_certificate_of_the_future_is_known_now(tmp_path: Path) -> None:
    file = write(tmp_path / "a.pem", pem(certificate("a.example", start=NOW + timedelta(days=9))))
    assert parsed(PemSource(file, clock=clock), now=NOW).certificates[0]["known_at"] == NOW


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist"),
        (b"", "empty"),
        (b"garbage", "cannot be read as a certificate"),
        (der(certificate("a.example"))[:50], "truncated"),
        (pem(certificate("a.example"))[:90], "truncated"),
        (key_pem(), "holds no certificate"),
    ],
    ids=["none", "empty", "garbage", "short DER", "short PEM", "a key"],
)
def test_a_file_without_a_certificate_is_an_error(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "a.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        parsed(PemSource(path))
    assert str(path) in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


def test_a_folder_without_certificates_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "README.txt", b"words")
    with pytest.raises(SourceError, match="holds no certificate files"):
        parsed(PemSource(tmp_path))


def test_only_chain_gives_nothing(tmp_path: Path) -> None:
    write(tmp_path / "chain.pem", pem(authority()))
    assert parsed(PemSource(tmp_path / "chain.pem")).certificates == []


def test_no_key_reaches_a_row_or_a_message(tmp_path: Path) -> None:
    secret = key_pem().splitlines()[1].decode()
    write(tmp_path / "a.pem", pem(certificate("a.example"))[:90] + b"\n" + key_pem())
    write(tmp_path / "b.der", key_pem().splitlines()[1])
    found = parsed(PemSource(tmp_path))
    assert len(found.rejected) == 2
    assert all(isinstance(rejected, Rejected) and not rejected.content for rejected in found.rejected)
    assert secret not in repr(found)


def test_the_store_takes_every_row(tmp_path: Path) -> None:
    write(tmp_path / "a.pem", b"".join(pem(certificate(f"n{n}.example", serial=n + 1)) for n in range(30)))
    with History(None) as history:
        assert history.ingest(PemSource(tmp_path / "a.pem")).new == 30
        assert history.ingest(PemSource(tmp_path / "a.pem")).changed == 0
        assert history.counts()["quarantine"] == 0


def test_the_source_is_found_by_its_name() -> None:
    assert source("pem") is PemSource
