"""The database of `openssl ca`, laid out by hand as its sources (apps/ca.c, txt_db.c) have it.

tests/system/test_source_openssl_ca.py has the tool itself write one.
"""

import contextlib
import gzip
import io
import os
import tarfile
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import InputError, SourceError
from certforecast.history import History
from certforecast.history.schema import EVENTS
from certforecast.history.sources import Batch, Mark
from certforecast.history.sources.openssl_ca import OpensslCaSource
from certforecast.history.sources.openssl_index import parse_row
from certforecast.history.validation import check, from_rows
from tests.certificates import START, authority, certificate, name, pem
from tests.history.sources.reading import read

NOW = START + timedelta(days=100)
END = START + timedelta(days=90)


def clock() -> datetime:
    return NOW


def row(made: x509.Certificate, subject: str, revocation: str = "") -> str:
    status = "R" if revocation else "V"
    end = made.not_valid_after_utc.strftime("%y%m%d%H%M%SZ")
    return f"{status}\t{end}\t{revocation}\t{made.serial_number:X}\tunknown\t{subject}\n"


def node(common_name: str, serial: int) -> x509.Certificate:
    return certificate(
        subject=name(COMMON_NAME=common_name), start=START + timedelta(seconds=serial), serial=serial
    )


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    first, second, third = node("urn:node:A", 0x0A), node("urn:node:A", 0x0B), node("urn:node:B", 0x0C)
    (tmp_path / "newcerts").mkdir()
    for made in (first, second, third):
        text = b"Certificate:\n    Data:\n"  # openssl ca writes it out in words, too
        (tmp_path / f"newcerts/{made.serial_number:02X}.pem").write_bytes(text + pem(made))
    (tmp_path / "index.txt").write_text(
        row(first, "/DC=org/CN=urn:node:A", "260401000000Z,superseded")
        + row(second, "/DC=org/CN=urn:node:A")
        + row(third, "/DC=org/CN=urn:node:B")
    )
    return tmp_path


def names(batch: Batch) -> list[tuple[str, str]]:
    return [(event["kind"], event["lineage"]) for event in batch.events]


def reasons(batch: Batch) -> list[tuple[str, str]]:
    return [(rejected.position, rejected.reason) for rejected in batch.rejected]


def test_each_certificate_is_a_row_and_an_event(ca: Path) -> None:
    found = read(OpensslCaSource(ca, clock=clock))
    assert found.rejected == []
    assert [row["serial"] for row in found.certificates] == ["a", "b", "c"]
    assert [row["names"] for row in found.certificates] == [["urn:node:a"], ["urn:node:a"], ["urn:node:b"]]
    began = [START + timedelta(seconds=serial) for serial in (10, 11, 12)]
    assert [row["known_at"] for row in found.certificates] == began
    issued = [event for event in found.events if event["kind"] == "issued"]
    assert [(event["at"], event["known_at"]) for event in issued] == [(at, at) for at in began]
    assert issued[0] == {
        "at": began[0],
        "lineage": "urn:node:A",
        "kind": "issued",
        "host": "urn:node:a",
        "detail": "serial number a",
        "fingerprint": found.certificates[0]["fingerprint"],
        "actor": "openssl ca",
        "source": "openssl_ca",
        "known_at": began[0],
    }
    assert found.positions["certificates"][0] == "newcerts/0A.pem#1"


def test_a_revocation_is_known_from_its_time_on(ca: Path) -> None:
    found = read(OpensslCaSource(ca, clock=clock))
    (revoked,) = (event for event in found.events if event["kind"] == "revoked")
    assert revoked["at"] == revoked["known_at"] == datetime(2026, 4, 1, tzinfo=UTC)
    assert (revoked["lineage"], revoked["host"], revoked["code"]) == (
        "urn:node:A",
        "urn:node:a",
        "superseded",
    )
    early = read(OpensslCaSource(ca, clock=lambda: datetime(2026, 3, 31, tzinfo=UTC)))
    assert reasons(early) == [("index.txt#1", "time of revocation lies in the future")]


def test_nothing_is_known_before_now(ca: Path) -> None:
    early = START + timedelta(seconds=11)
    found = read(OpensslCaSource(ca, clock=lambda: early))
    assert [row["known_at"] for row in found.certificates] == [START + timedelta(seconds=10), early, early]
    assert [event["detail"] for event in found.events] == ["serial number a", "serial number b"]


@pytest.mark.parametrize("ending", ["tar.gz", "tgz", "tar"])
def test_an_archive_tells_what_the_folder_does(ca: Path, ending: str) -> None:
    expected = read(OpensslCaSource(ca, clock=clock))
    with tarfile.open(ca / f"newcerts.{ending}", "w" if ending == "tar" else "w:gz") as archive:
        archive.add(ca / "newcerts", "newcerts")
        link = tarfile.TarInfo("newcerts/link.pem")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
        outside = tarfile.TarInfo("../../outside.pem")
        archive.addfile(outside, io.BytesIO())
    for path in (ca / "newcerts").iterdir():
        path.unlink()
    (ca / "newcerts").rmdir()
    before = set(ca.rglob("*"))
    found = read(OpensslCaSource(ca, clock=clock))
    assert sorted(row["serial"] for row in found.certificates) == ["a", "b", "c"]
    assert sorted(names(found)) == sorted(names(expected))
    assert reasons(found) == [(f"newcerts.{ending}/../../outside.pem", "file is empty")]
    assert set(ca.rglob("*")) == before


def test_a_row_without_its_certificate_is_rejected_and_its_revocation_kept(ca: Path) -> None:
    (ca / "newcerts/0A.pem").unlink()
    found = read(OpensslCaSource(ca, clock=clock))
    ((position, reason),) = reasons(found)
    assert position == "index.txt#1"
    assert "serial number a " in reason
    assert "does not tell when it began" in reason
    assert ("revoked", "urn:node:A") in names(found)


def test_a_serial_used_twice_is_two_certificates(ca: Path) -> None:
    """As when two copies of a CA issue side by side: the file is of one, the row of the other."""
    other = certificate(subject=name(COMMON_NAME="urn:node:C"), start=START, days=30, serial=0x0B)
    (ca / "newcerts/0B.pem").write_bytes(pem(other))
    found = read(OpensslCaSource(ca, clock=clock))
    assert [position for position, _ in reasons(found)] == ["index.txt#2"]
    assert ("issued", "urn:node:C") in names(found)


def test_several_indexes_and_certificates_without_a_row(ca: Path) -> None:
    (ca / "index.txt").rename(ca / "Old.index.txt")
    made = node("urn:node:D", 0x0D)
    (ca / "New.index.txt").write_text(row(made, "/CN=urn:node:D"))
    for extra in (made, node("urn:node:E", 0x0E)):
        (ca / f"newcerts/{extra.serial_number:02X}.pem").write_bytes(pem(extra))
    found = read(OpensslCaSource(ca, clock=clock))
    assert found.rejected == []
    assert len(found.certificates) == 5
    only = read(OpensslCaSource(ca / "Old.index.txt", clock=clock))
    assert len(only.certificates) == 5
    assert OpensslCaSource.recognises(ca) == "database of openssl ca: New.index.txt, Old.index.txt"


def test_a_ca_within_a_ca(ca: Path) -> None:
    inner = ca / "intermediate/db"
    inner.mkdir(parents=True)
    (inner / "index.txt").write_text(row(node("urn:node:D", 0x0D), "/CN=urn:node:D"))
    (ca / "docs").mkdir()
    (ca / "docs/index.txt").write_text("Table of contents\n")
    found = read(OpensslCaSource(ca, clock=clock))
    assert [position for position, _ in reasons(found)] == ["intermediate/db/index.txt#1"]


def test_ca_certificates_are_passed_over(ca: Path) -> None:
    made = authority()
    (ca / "newcerts/FF.pem").write_bytes(pem(made))
    with (ca / "index.txt").open("a") as index:
        index.write(row(made, "/CN=Test CA"))
    found = read(OpensslCaSource(ca, clock=clock))
    assert found.rejected == []
    assert len(found.certificates) == 3
    assert ("issued", "Test CA") not in names(found)


def test_host_names_of_many_and_of_one(ca: Path) -> None:
    made = certificate("*.a.example", "z.example", "b.example", start=START, serial=0x0D)
    (ca / "newcerts/0D.pem").write_bytes(pem(made))
    (ca / "index.txt").write_text(row(made, "/CN=*.a.example", "260401000000Z"))
    found = read(OpensslCaSource(ca, clock=clock))
    hosts = [(event["kind"], event["host"]) for event in found.events if event["lineage"] == "*.a.example"]
    assert hosts == [("revoked", None), ("issued", "b.example")]


def test_the_next_import_reads_what_is_new(ca: Path) -> None:
    with History(None) as history:
        assert history.ingest(OpensslCaSource(ca, clock=clock)).new == 3 + 4
        again = history.ingest(OpensslCaSource(ca, clock=clock))
        assert (again.skipped, again.changed) == (2, 0)
    marks = {mark.place: mark.state for mark in read(OpensslCaSource(ca, clock=clock)).marks}
    made = node("urn:node:D", 0x0D)
    (ca / "newcerts/0D.pem").write_bytes(pem(made))
    with (ca / "index.txt").open("a") as index:
        index.write(row(made, "/CN=urn:node:D"))
    found = read(OpensslCaSource(ca, clock=clock), marks)
    assert [row["serial"] for row in found.certificates] == ["d"]
    assert found.rejected == []
    # An older file put there later is met all the same: then the whole folder is read.
    late = ca / "newcerts/0E.pem"
    late.write_bytes(pem(node("urn:node:E", 0x0E)))
    os.utime(late, (1, 1))
    assert len(read(OpensslCaSource(ca, clock=clock), marks).certificates) == 5


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("V\t270101000000Z\t\t0A\tunknown", "5 fields"),
        ("X\t270101000000Z\t\t0A\tunknown\t/CN=a", "status 'X'"),
        ("V\t270101000000\t\t0A\tunknown\t/CN=a", "end of validity '270101000000'"),
        ("V\t271301000000Z\t\t0A\tunknown\t/CN=a", "end of validity"),
        ("R\t270101000000Z\t\t0A\tunknown\t/CN=a", "time of revocation ''"),
        ("V\t270101000000Z\t\t0xA\tunknown\t/CN=a", "serial number '0xA'"),
    ],
)
def test_bad_rows_are_told_and_lose_no_other(ca: Path, line: str, reason: str) -> None:
    with (ca / "index.txt").open("a") as index:
        index.write(f"\n{line}\n")
    found = read(OpensslCaSource(ca, clock=clock))
    ((position, told),) = reasons(found)
    assert position == "index.txt#5"
    assert reason in told
    assert len(found.certificates) == 3


@pytest.mark.parametrize(
    ("revocation", "expected"),
    [
        ("260401000000Z", (None, None)),
        ("260401000000Z,keyCompromise", ("keyCompromise", None)),
        ("260401000000Z,keyTime,20260301000000Z", ("keyCompromise", "20260301000000Z")),
        ("260401000000Z,CAkeyTime,20260301000000Z", ("cACompromise", "20260301000000Z")),
        ("260401000000Z,holdInstruction,holdInstructionReject", ("certificateHold", "holdInstructionReject")),
    ],
)
def test_reasons_are_those_of_rfc_5280(revocation: str, expected: tuple[str | None, str | None]) -> None:
    parsed = parse_row(f"R\t270101000000Z\t{revocation}\t0A\tunknown\t/CN=a", "")
    assert (parsed.reason, parsed.detail) == expected


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ("/C=US/O=A/B, Inc./CN=a.example/emailAddress=x@a.example", "a.example"),
        ("/O=Example/CN=path/with/slashes", "path/with/slashes"),
        (r"/CN=B\xC3\xBCcher", "Bücher"),
        (r"/O=Example/CN=a\/O=b\+c", "a/O=b+c"),
        ("/DC=org/UID=u+CN=both", "both"),
        ("/dc=org/cn=lower", "lower"),
        ("/O=No name", "/O=No name"),
    ],
)
def test_common_names_in_slash_form(subject: str, expected: str) -> None:
    assert parse_row(f"V\t270101000000Z\t\t0A\tunknown\t{subject}", "").common_name == expected


@pytest.mark.parametrize(
    ("written", "year"), [("491231235959Z", 2049), ("500101000000Z", 1950), ("21120213030113Z", 2112)]
)
def test_both_forms_of_time(written: str, year: int) -> None:
    assert parse_row(f"V\t{written}\t\t0A\tunknown\t/CN=a", "").not_after.year == year


def test_what_is_no_database_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SourceError, match=r"holds no index\.txt"):
            read(OpensslCaSource(path))
        assert OpensslCaSource.recognises(path) is None
    (tmp_path / "notes.txt").write_text("a\tb\n")
    assert OpensslCaSource.recognises(tmp_path / "notes.txt") is None
    with pytest.raises(SourceError, match="is no index of openssl ca"):
        read(OpensslCaSource(tmp_path / "notes.txt"))
    (tmp_path / "index.txt").write_text("")  # a CA that has issued nothing yet
    assert read(OpensslCaSource(tmp_path)).rejected == []
    with pytest.raises(SourceError, match="does not exist"):
        read(OpensslCaSource(tmp_path, certificates=tmp_path / "missing"))


def test_certificates_kept_elsewhere(ca: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (ca / "newcerts").rename(elsewhere)
    found = read(OpensslCaSource(ca / "index.txt", certificates=elsewhere, clock=clock))
    assert len(found.certificates) == 3
    assert found.rejected == []


def test_broken_certificate_files_lose_no_other(ca: Path) -> None:
    (ca / "newcerts/0A.pem").write_bytes(b"")
    (ca / "newcerts/0B.pem").write_bytes(b"garbage")
    (ca / "newcerts/0E.pem").mkdir()
    (ca / "newcerts/0F.pem").symlink_to("0F.pem")
    (ca / "newcerts/key.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    found = read(OpensslCaSource(ca, clock=clock))
    assert len(found.certificates) == 1
    told = dict(reasons(found))
    assert told["newcerts/0A.pem"] == "file is empty"
    assert "not a whole DER certificate" in told["newcerts/0B.pem"]
    assert "not a file" in told["newcerts/0E.pem"]
    assert "cannot be read" in told["newcerts/0F.pem"]
    assert told["newcerts/key.pem"] == "file holds no certificate"
    assert {"index.txt#1", "index.txt#2"} < set(told)


def test_a_forged_archive_takes_no_memory(ca: Path) -> None:
    """A header that claims gigabytes, where gzip makes them of nothing."""
    for kind, member in ((tarfile.XHDTYPE, "PaxHeader"), (tarfile.REGTYPE, "newcerts/huge.pem")):
        header = tarfile.TarInfo(member)
        header.type, header.size = kind, 1 << 32
        with gzip.open(ca / "newcerts.tar.gz", "wb") as file:
            file.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))
        told = reasons(read(OpensslCaSource(ca, clock=clock)))
        assert all(position.startswith("newcerts.tar.gz") for position, _ in told)
        assert any("claims to be" in reason or "longer than" in reason for _, reason in told)


def archive_of(data: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("newcerts/0A.pem")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


@given(st.data())
def test_anything_at_all_is_read_or_rejected(data: st.DataObject) -> None:
    """Mutated and arbitrary bytes as index, file and archive: rows or reasons, never an exception."""
    made = node("urn:node:A", 0x0A)
    whole = {
        "index.txt": row(made, "/CN=urn:node:A", "260401000000Z,superseded").encode() * 2,
        "newcerts/0A.pem": pem(made),
        "newcerts.tar": archive_of(pem(made)),
        "newcerts.tar.gz": gzip.compress(archive_of(pem(made)), 1),
    }
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "newcerts").mkdir()
        for place, content in whole.items():
            changed = bytearray(content)
            for _ in range(data.draw(st.integers(0, 3))):
                at = data.draw(st.integers(0, 9999)) * len(changed) // 10_000
                changed[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=4))
                changed = changed or bytearray(b"\0")
            (Path(folder) / place).write_bytes(changed)
        source = OpensslCaSource(folder, clock=clock)
        OpensslCaSource.recognises(Path(folder))
        found = read(source)
        assert found.certificates or found.rejected
        assert all(isinstance(mark, Mark) for mark in found.marks)
        rows, _, misfits = from_rows(EVENTS, found.events, found.positions.get("events", []))
        assert (misfits, check(EVENTS, rows)[1]) == ([], [])


@given(st.text())
def test_any_line_is_a_row_or_an_input_error(line: str) -> None:
    with contextlib.suppress(InputError):
        parse_row(line, "")
