"""Tables of other tools: headers as their published exports have them, rows made here."""

import gzip
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import CertForecastError, InputError, SourceError
from certforecast.history import History
from certforecast.history.schema import TABLES
from certforecast.history.sources.inventory import InventorySource
from certforecast.history.sources.inventory_guess import SYNONYMS
from certforecast.history.sources.inventory_mapping import FIELDS, Mapping
from certforecast.history.sources.inventory_times import read_time
from certforecast.history.sources.inventory_values import (
    kind_of_error,
    read_distinguished_name,
    read_fingerprint,
    read_host,
    read_names,
    read_serial,
)
from certforecast.history.validation import check, from_rows
from tests.history.sources.reading import read

NOW = datetime(2026, 7, 1, tzinfo=UTC)
WRITTEN = datetime(2026, 6, 1, tzinfo=UTC)

LOOKS = """\
observed_at,observer,host,subject_cn,issuer_org,issuer_cn,not_before,not_after
2026-03-02T10:00:00Z,o1,a.example,a.example,Let's Encrypt,R3,2026-03-01T00:00:00Z,2026-05-30T00:00:00Z
2026-03-01T10:00:00Z,o1,a.example,a.example,Let's Encrypt,,2026-03-01T00:00:00Z,2026-05-30T00:00:00Z
2026-03-01T10:00:00Z,o1,b.example,,,,,
"""


def clock() -> datetime:
    return NOW


def day(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


@pytest.fixture
def put(tmp_path: Path) -> Any:
    def write(content: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, (WRITTEN.timestamp(), WRITTEN.timestamp()))
        return path

    return write


def source(path: Path, **options: Any) -> InventorySource:
    return InventorySource(path, clock=clock, **options)


def reasons(path: Path, **options: Any) -> list[tuple[str, str]]:
    return [(rejected.position, rejected.reason) for rejected in read(source(path, **options)).rejected]


def test_looks_with_the_certificate_in_the_row(put: Any) -> None:
    found = read(source(put(LOOKS)))
    assert found.rejected == []
    first, second = found.certificates  # the store makes one of them: it is one fingerprint
    assert first["fingerprint"] == second["fingerprint"]
    assert first["fingerprint"].startswith("~")
    assert (first["issuer_dn"], second["issuer_dn"]) == ("CN=R3,O=Let's Encrypt", "O=Let's Encrypt")
    assert (first["names"], first["known_at"]) == (["a.example"], day(3, 2, 10))
    assert second["known_at"] == day(3, 1, 10)
    assert [(row["host"], row["fingerprint"], row["error"]) for row in found.observations] == [
        ("a.example", first["fingerprint"], None),
        ("a.example", first["fingerprint"], None),
        ("b.example", None, "other"),
    ]
    assert all(row["known_at"] == row["observed_at"] for row in found.observations)
    assert found.positions["observations"] == ["table.csv#2", "table.csv#3", "table.csv#4"]
    with History(None) as history:
        assert history.ingest(source(put(LOOKS))).new == 1 + 3
        assert history.ingest(source(put(LOOKS))).skipped == 1


def test_the_end_only_and_errors_in_its_place(put: Any) -> None:
    """A beginning is estimated from the first look, though a later one stands first in the file."""
    path = put(
        "commit_unix,domain,expiry_or_error\n"
        f"{int(day(5, 20).timestamp())},a.example,2026-05-30\n"
        f"{int(day(3, 10).timestamp())},a.example,2026-05-30\n"
        f"{int(day(3, 11).timestamp())},b.example,LookupFailed\n"
    )
    found = read(source(path))
    assert found.rejected == []
    (certificate,) = found.certificates
    assert certificate["not_before"] == day(5, 30) - timedelta(days=90)
    assert certificate["known_at"] == day(3, 10)
    assert [(row["host"], row["error"]) for row in found.observations] == [
        ("a.example", None),
        ("a.example", None),
        ("b.example", "dns"),
    ]


def test_an_estimate_takes_nothing_from_later_looks(put: Any) -> None:
    """What is known at any time is the same, whatever the file says of the time after."""
    lines = [f"2026-03-{at:02},a.example,2026-05-30\n" for at in range(3, 28, 4)]
    whole = read(source(put("checked_at,host,expires\n" + "".join(lines)))).certificates
    for count in range(1, len(lines)):
        assert read(source(put("checked_at,host,expires\n" + "".join(lines[:count])))).certificates == whole


#: Headers of exports, as their makers' documentation has them.
EXPORTS = {
    "Venafi": "Certificate DN,Common Name,Issuer DN,Serial Number,Valid From,Valid To,Thumbprint,Contact\n"
    '"CN=a.example,O=Own","a.example","CN=CA,O=Own",0A:FF,2026-03-01 00:00:00,2026-05-30 00:00:00,'
    + "AB" * 20
    + ",web\n",
    "Keyfactor": "SerialNumber,IssuedDN,IssuedCN,NotBefore,NotAfter,IssuerDN,ImportDate,RequesterName\n"
    "0AFF,CN=a.example,a.example,2026-03-01T00:00:00,2026-05-30T00:00:00,"
    '"CN=CA, O=Own",2026-03-02T00:00:00,web\n',
    "DigiCert": "Order ID,Common Name,SANs,Serial Number,Valid From,Valid To,Issuing CA,Organization\n"
    '17,a.example,"a.example, www.a.example",0AFF,2026-03-01,2026-05-30,Own CA,Own\n',
    "ServiceNow": "Name,Subject common name,Issuer common name,Valid from,Valid to,Serial number,"
    "Owned by,Environment\n"
    "a,a.example,CA,2026-03-01 00:00:00,2026-05-30 00:00:00,0aff,web,prod\n",
    "AppViewX": "Common Name;Serial Number;Issuer Common Name;Valid From;Valid To;Subject Alternative Name\n"
    "a.example;0A FF;CA;Mar 1 00:00:00 2026 GMT;May 30 00:00:00 2026 GMT;DNS:a.example\n",
}


@pytest.mark.parametrize("tool", EXPORTS)
def test_exports_of_managers_read_by_guess(put: Any, tool: str) -> None:
    found = read(source(put(EXPORTS[tool])))
    assert found.rejected == []
    (row,) = found.certificates
    assert (row["not_before"], row["not_after"]) == (day(3, 1), day(5, 30))
    assert row["serial"] == "aff"
    assert "a.example" in row["names"]
    assert row["subject_cn"] == "a.example"
    assert row["known_at"] == (day(3, 2) if tool == "Keyfactor" else WRITTEN)
    if tool in ("Venafi", "Keyfactor", "ServiceNow"):
        (host,) = found.hosts
        assert (host["host"], host["owner"], host["known_at"]) == ("a.example", "web", WRITTEN)
    assert InventorySource.recognises(put(EXPORTS[tool])).startswith("table of certificates: ")  # type: ignore[union-attr]


def test_hosts(put: Any) -> None:
    path = put(
        "Hostname,Team,Env,Criticality,Last Modified,Retired at\n"
        "A.example.,web,prod,high,2026-05-01T00:00:00Z,\n"
        "b.example,db,test,0.1,,2026-05-20\n"
        "c.example,db,test,P1,,\n"
        "not a host,db,test,low,,\n"
    )
    found = read(source(path))
    first, second = found.hosts
    assert (first["host"], first["owner"], first["environment"], first["criticality"]) == (
        "a.example",
        "web",
        "prod",
        0.75,
    )
    assert first["known_at"] == first["valid_from"] == day(5, 1)
    assert (second["known_at"], second["valid_to"]) == (WRITTEN, day(5, 20))
    (position, reason), (_, other) = reasons(path)
    assert position == "table.csv#4"
    assert "[criticality]" in reason
    assert "host" in other


def test_a_mapping_says_what_a_guess_cannot(put: Any) -> None:
    path = put(
        "Bericht\nWer;Bis;Ab;Zuletzt;Lage;Nr\n"
        "a.example;30.05.2026 02:00;01.03.2026 01:00;02.03.2026 11:00;gut;255\n"
        "b.example;;;02.03.2026 11:00;Namensfehler;\n"
    )
    with pytest.raises(SourceError, match=r"no column of .* looks like what is needed"):
        read(source(path))
    mapping = put(
        'table = "observations"\nskip_rows = 1\nday_first = true\ntime_zone = "Europe/Berlin"\n'
        '[columns]\nobserved_at = "Zuletzt"\nhost = "Wer"\nnot_before = "Ab"\nnot_after = "Bis"\n'
        'serial = "Nr"\nerror = "Lage"\n[constants]\nport = "8443"\n[formats]\nserial = "decimal"\n'
        '[errors]\ngut = ""\nNamensfehler = "dns"\n',
        "mapping.toml",
    )
    found = read(source(path, mapping=mapping))
    assert found.rejected == []
    assert [(row["port"], row["error"]) for row in found.observations] == [(8443, None), (8443, "dns")]
    assert found.observations[0]["observed_at"] == day(3, 2, 10)
    (certificate,) = found.certificates
    assert (certificate["not_before"], certificate["not_after"]) == (day(3, 1), day(5, 30))
    assert certificate["serial"] == "ff"
    assert found.positions["observations"] == ["table.csv#3", "table.csv#4"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "table: Field required"),
        ("x", "cannot be read"),
        ('table = "hosts"\n[columns]\nhost = "h"\nserial = "s"', "field 'serial'; hosts have"),
        ('table = "hosts"\n[columns]\nhost = "h"\nsreial = "s"', "unknown field 'sreial'"),
        ('table = "hosts"\ncolour = 1', "colour: Extra inputs"),
        ('table = "hosts"', "no column is given for host"),
        ('table = "hosts"\ntime_zone = "Mars"\n[columns]\nhost = "h"', "no time zone"),
        (
            'table = "observations"\n[constants]\nhost="h"\nobserved_at="x"\n[errors]\na="b"',
            "no kind of error",
        ),
        ('table = "hosts"\nencoding = "base64"\n[columns]\nhost = "h"', "no encoding"),
        ('table = "hosts"\n[columns]\nhost = "nowhere"', "has no column 'nowhere'"),
    ],
)
def test_a_wrong_mapping_is_told(put: Any, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason.replace("[", r"\[")):
        read(source(put("h,s\na.example,1\n"), mapping=put(text, "mapping.toml")))


def test_the_day_or_the_month_first(put: Any) -> None:
    head = "host,checked at,valid to\n"
    unclear = put(head + "a.example,02/03/2026,01/02/2027\n")
    with pytest.raises(SourceError, match="day_first = true or false"):
        read(source(unclear))
    with pytest.raises(SourceError, match="day_first = true or false"):
        source(unclear).preview()
    proven = put(head + "a.example,02/03/2026,01/02/2027\na.example,03/03/2026,31/12/2026\n")
    assert read(source(proven)).certificates[0]["not_after"] == datetime(2027, 2, 1, tzinfo=UTC)
    assert "day_first = true" in source(proven).preview().mapping
    american = put(head + "a.example,02/03/2026 5:06 PM,12/31/2026\n")
    assert read(source(american)).observations[0]["observed_at"] == datetime(2026, 2, 3, 17, 6, tzinfo=UTC)
    both = put(head + "a.example,02/13/2026,31/12/2026\n")
    with pytest.raises(SourceError, match="some with the month first"):
        read(source(both))


def test_a_day_is_known_when_it_is_over(put: Any) -> None:
    (row,) = read(source(put("host,checked at\na.example,2026-03-02\n"))).observations
    assert row["observed_at"] == row["known_at"] == day(3, 3)


def test_nothing_is_of_the_future(put: Any) -> None:
    assert "future" in reasons(put("host,checked at\na.example,2026-07-02T00:00:00Z\n"))[0][1]
    path = put("common name,valid from,valid to\na.example,2026-06-10,2026-09-08\n")
    assert read(source(path)).certificates[0]["known_at"] == day(6, 10)  # no earlier than it begins
    os.utime(path, (4e9, 4e9))
    assert read(source(path)).certificates[0]["known_at"] == NOW


def test_a_preview_gives_the_mapping_and_the_first_rows(put: Any) -> None:
    shown = source(put(LOOKS)).preview(1)
    assert [table for table, _ in shown.rows] == ["observations", "certificates"]
    mapping = put(str(shown), "mapping.toml")
    assert read(source(put(LOOKS), mapping=mapping)).observations == read(source(put(LOOKS))).observations
    assert source(put(LOOKS), mapping=mapping).preview(1) == shown


def test_a_preview_with_bad_rows_is_toml_all_the_same(put: Any) -> None:
    shown = source(put('host,checked at,owner\n"a\nb",2026-03-01T00:00:00Z,\x07\n')).preview()
    assert [rejected.position for rejected in shown.rejected] == ["table.csv#2"]
    assert Mapping.load(put(str(shown), "mapping.toml")).to_toml() == shown.mapping


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(texts, texts, texts)
def test_any_mapping_is_written_as_toml(tmp_path_factory: Any, column: str, error: str, sheet: str) -> None:
    mapping = Mapping(
        table="hosts", columns={"host": column}, errors={error: "dns"}, sheet=sheet, day_first=False
    )
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(mapping.to_toml().encode())
    assert Mapping.load(path) == mapping


def test_every_field_has_names_and_no_name_two_fields() -> None:
    assert set(SYNONYMS) == {field for fields in FIELDS.values() for field in fields}
    for table in FIELDS.values():
        words = [word for field in table for word in SYNONYMS[field].split()]
        assert len(words) == len(set(words))


@pytest.mark.parametrize("kind", ["tsv", "gz", "utf-16", "bom", "semicolon", "parquet", "typed", "xlsx"])
def test_the_same_table_in_every_kind_of_file(put: Any, tmp_path: Path, kind: str) -> None:
    expected = read(source(put(LOOKS)))
    rows = [line.split(",") for line in LOOKS.splitlines()]
    if kind == "xlsx":
        book = openpyxl.Workbook()
        book.active.title = "Notes"
        sheet = book.create_sheet("Looks")
        for row in rows:
            cells = [
                datetime.fromisoformat(cell).replace(tzinfo=None) if cell[:2] == "20" else cell
                for cell in row
            ]
            sheet.append([cell or None for cell in cells])
        path = tmp_path / "table.xlsx"
        book.save(path)
        with pytest.raises(SourceError, match="no rows in the sheet"):
            read(source(path))
        with pytest.raises(SourceError, match="has no sheet 'X'; it has: Notes, Looks"):
            read(source(path, sheet="X"))
        found = read(source(path, sheet="Looks"))
    elif kind in ("parquet", "typed"):
        table = pa.table([list(column) for column in zip(*rows[1:], strict=True)], names=rows[0])
        if kind == "typed":
            for name in ("observed_at", "not_before"):
                place = table.column_names.index(name)
                cells = [datetime.fromisoformat(cell) if cell else None for cell in table[name].to_pylist()]
                table = table.set_column(place, name, pa.array(cells, pa.timestamp("ms", "UTC")))
        path = tmp_path / "table.parquet"
        pq.write_table(table, path)
        found = read(source(path))
    else:
        content = {
            "tsv": LOOKS.replace(",", "\t").encode(),
            "gz": gzip.compress(LOOKS.encode()),
            "utf-16": LOOKS.encode("utf-16"),
            "bom": LOOKS.encode("utf-8-sig"),
            "semicolon": LOOKS.replace(",", ";").encode(),
        }[kind]
        found = read(source(put(content, f"table.{'csv.gz' if kind == 'gz' else 'csv'}")))
    assert found.rejected == []
    assert found.observations == expected.observations
    assert found.certificates == expected.certificates


def test_bad_rows_lose_no_other(put: Any) -> None:
    path = put(
        "host,checked at,valid to,port\n"
        "a.example,2026-03-02T00:00:00Z\n"
        "a.example,yesterday,2026-05-30,443\n"
        '"a\n.example",2026-03-02T00:00:00Z,2026-05-30,443\n'
        "a.example,2026-03-02T00:00:00Z,2026-05-30,https\n"
        ",2026-03-02T00:00:00Z,2026-05-30,443\n"
        "a.example,2026-03-02T00:00:00Z,2026-05-30,443\n"
        "a.example,2026-03-02T00:00:00Z,2026-05-30,443,5\n"
        "b.example,2026-03-02T00:00:00Z,0001-01-01,443\n"
    )
    found = read(source(path))
    assert found.positions["observations"] == ["table.csv#7", "table.csv#9"]
    told = dict(reasons(path))
    assert told["table.csv#2"] == "row has 2 fields; the header has 4"
    assert told["table.csv#3"].startswith("observed_at: 'yesterday' is not a time")
    assert "neither a DNS name" in told["table.csv#4"] or "not a host" in told["table.csv#4"]
    assert told["table.csv#5"] == "port 'https' is not a number"
    assert told["table.csv#6"] == "host is missing"
    assert told["table.csv#8"] == "row has 5 fields; the header has 4"
    assert "too early" in told["table.csv#9"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"a,a\n1,2\n", "several columns 'a'"),
        (b"host,checked at\na.example,\xff\xff\n", "encoding = "),
        (b"PAR1garbage", "cannot be read"),
        (b"PK\x03\x04garbage", "cannot be read as an Excel file"),
        (b"\x1f\x8bgarbage", "cannot be read"),
        (b"\0\0\0\0", "no column|cannot be read"),
    ],
)
def test_files_that_are_no_table(put: Any, content: bytes, reason: str) -> None:
    path = put(content)
    with pytest.raises(SourceError, match=reason):
        read(source(path))
    assert InventorySource.recognises(path) is None


def test_places_that_are_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(SourceError, match="is not a file"):
            read(source(path))
        assert InventorySource.recognises(path) is None
    (tmp_path / "prose.txt").write_text("Nothing, really\nof use\n")
    assert InventorySource.recognises(tmp_path / "prose.txt") is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-30T12:00:00Z", "2026-03-30T12:00"),
        ("2026-03-30 12:00:00 +0200", "2026-03-30T10:00"),
        ("2026-03-30 12:00:00 UTC", "2026-03-30T12:00"),
        ("2026-03-30T12:00:00.1234567Z", "2026-03-30T12:00"),
        ("2026/03/30 12:00", "2026-03-30T12:00"),
        ("Mar 30 12:00:00 2026 GMT", "2026-03-30T12:00"),
        ("Mon, 30 Mar 2026 12:00:00 +0100", "2026-03-30T11:00"),
        ("Monday, March 30, 2026 5:06:00 PM", "2026-03-30T17:06"),
        ("30-Mar-2026", "2026-03-30T00:00"),
        ("30.03.2026 14:00", "2026-03-30T14:00"),
        ("1774872000", "2026-03-30T12:00"),
        ("1774872000000", "2026-03-30T12:00"),
        ("260330120000Z", "2026-03-30T12:00"),
        ("20260330", "2026-03-30T00:00"),
    ],
)
def test_times_in_many_forms(written: str, expected: str) -> None:
    at = read_time(written, None, UTC, True).at
    assert at.replace(second=0, microsecond=0) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "written", ["12", "2026", "soon", "2026-13-01", "30 Mar 2026 12:00 PST", "99/99/2026", ""]
)
def test_what_is_no_time(written: str) -> None:
    with pytest.raises(InputError, match="is not a time"):
        read_time(written, None, UTC, True)


@pytest.mark.parametrize(
    ("form", "written"),
    [
        ("unix", "1774872000"),
        ("unix_ms", "1774872000000"),
        ("excel", "46111.5"),
        ("%d|%m|%Y %H", "30|03|2026 12"),
    ],
)
def test_times_in_a_given_form(form: str, written: str) -> None:
    assert read_time(written, form, UTC, None).at == day(3, 30, 12)
    with pytest.raises(InputError, match="in the form"):
        read_time("x", form, UTC, None)


def test_what_stands_in_cells() -> None:
    for written in ("CN=R3, O=Own, C=US", "C=US, O=Own, CN=R3", "/C=US/O=Own/CN=R3", 'CN=R3,O="Own",C=US'):
        assert read_distinguished_name(written).rfc4514 == "CN=R3,O=Own,C=US"
    assert read_distinguished_name("Own CA").rfc4514 == "CN=Own CA"
    assert read_host("https://a.example/x") == ("a.example", 443)
    assert read_host("[2001:DB8::1]:8443") == ("2001:db8::1", 8443)
    assert read_host("2001:DB8::1") == ("2001:db8::1", None)
    assert read_names("DNS Name=a.example, DNS:b.example;IP Address: 192.0.2.1 ['c.example']") == [
        "a.example",
        "b.example",
        "192.0.2.1",
        "c.example",
    ]
    assert read_serial("00:0A:FF", decimal=False) == read_serial("2815", decimal=True) == "aff"
    assert read_fingerprint("SHA256:" + "AB:" * 31 + "AB") == ("ab" * 32, None)
    for text, kind in {
        "i/o timeout": "timeout",
        "ECONNREFUSED: Connection refused": "refused",
        "SSLConnectionFailed": "handshake",
        "no such host": "dns",
        "OK": "",
        "?": "other",
    }.items():
        assert kind_of_error(text) == kind


headers = st.sampled_from(
    ["host", "checked at", "valid to", "valid from", "common name", "serial", "fingerprint", "owner", "x"]
)
cells = st.one_of(
    st.sampled_from(
        ["a.example", "2026-03-01", "9999-12-31", "01/02/2026", "0001-01-01", "-", "1e400", "nan", "CN=a,CN"]
    ),
    st.text(max_size=12),
)


def stored(path: Path) -> None:
    """Read, and let the schema judge: rows, reasons, or one error, nothing else."""
    InventorySource.recognises(path)
    try:
        found = read(source(path))
    except CertForecastError:
        return
    for name, table in TABLES.items():
        arrow, _, misfits = from_rows(table, getattr(found, name), found.positions.get(name, []))
        assert misfits == []
        check(table, arrow)


@given(st.lists(headers, min_size=1, max_size=6), st.lists(st.lists(cells, max_size=6), max_size=5))
def test_any_table_is_read_or_refused(columns: list[str], rows: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        path.write_text("\n".join(",".join(row) for row in [columns, *rows]), encoding="utf-8")
        stored(path)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=50).map(lambda end: LOOKS.encode()[:150] + end)))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "table.csv")
        path.write_bytes(content)
        stored(path)
        path.write_text("host,checked at\na.example,2026-03-01T00:00:00Z\n")
        Path(folder, "mapping.toml").write_bytes(content)
        with pytest.raises(InputError):
            read(source(path, mapping=Path(folder, "mapping.toml")))
