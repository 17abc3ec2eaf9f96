"""acme.sh's log, in the words of its published source (version 3.1, and 2.8 where they differ).

No acme.sh has written these logs: no package of it is to be had here.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import InputError, SourceError
from certforecast.history import History
from certforecast.history.schema import EVENTS
from certforecast.history.sources.acmesh import AcmeShSource
from certforecast.history.validation import from_rows
from tests.certificates import certificate, pem
from tests.history.sources.reading import read

NOW = datetime(2026, 8, 1, tzinfo=UTC)
START = datetime(2026, 7, 1, 3, tzinfo=UTC)
ISSUED = START - timedelta(days=60)

RENEWS = """\
Renew: a.test
Renewing: 'a.test'
Renewing using Le_API=https://acme-v02.api.letsencrypt.org/directory
_main_domain='a.test'
"""
ORDERED = "Le_OrderFinalize='https://ca.test/finalize/1'\n"
REFUSED = """\
Verifying: b.test
error='"error":{"type":"urn:ietf:params:acme:error:dns","detail":"DNS problem: NXDOMAIN","status":400'
b.test: Invalid status. Verification error details: DNS problem: NXDOMAIN
"""
GIVEN_UP = "_on_issue_err\nPlease check log file for more details: /root/.acme.sh/acme.sh.log\n"
SUCCESS = """\
Verification finished, beginning signing.
Let's finalize the order.
Le_OrderFinalize='https://ca.test/finalize/1'
Downloading cert.
Cert success.
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "a.test_ecc"
    folder.mkdir()
    (folder / "a.test.cer").write_bytes(pem(certificate("a.test", "b.test")))
    created = int(ISSUED.timestamp())
    (folder / "a.test.conf").write_text(f"Le_Domain='a.test'\nLe_CertCreateTime='{created}'\n")
    return tmp_path


def log(text: str, start: datetime = START, form: str = "%a %b %e %H:%M:%S UTC %Y") -> str:
    """Give each line its date, a second apart."""
    lines = (line for line in text.splitlines(keepends=True))
    return "".join(
        f"[{start + timedelta(seconds=number):{form}}] {line}" for number, line in enumerate(lines)
    )


def source(home: Path, **options: Any) -> AcmeShSource:
    return AcmeShSource(home, clock=lambda: NOW, **options)


def told(home: Path, text: str, **options: Any) -> list[tuple[Any, ...]]:
    (home / "acme.sh.log").write_text(text)
    found = read(source(home, **options))
    assert found.rejected == []
    assert from_rows(EVENTS, found.events, [])[2] == []
    return [
        (row["lineage"], row["kind"], row["host"], row["code"])
        for row, position in zip(found.events, found.positions["events"], strict=True)
        if position.startswith("acme.sh.log")
    ]


ORDER = ("a.test", "order_created", "a.test", None)


def test_a_renewal_that_works_is_ordered_once_and_issued(home: Path) -> None:
    text = RENEWS + ORDERED + SUCCESS + "Run reload cmd: x --token hunter2\nReload successful\n"
    assert told(home, log(text)) == [
        ORDER,
        ("a.test", "issued", "a.test", None),
        ("a.test", "reloaded", "a.test", None),
    ]
    assert "hunter2" not in repr(read(source(home)))


def test_an_issue_that_the_configuration_tells_of_is_told_once(home: Path) -> None:
    assert told(home, log(RENEWS + ORDERED + SUCCESS, ISSUED - timedelta(seconds=9))) == [ORDER]


@pytest.mark.parametrize(
    "refused",
    [
        REFUSED,
        REFUSED.replace(": Invalid status. Verification error details: ", ":Verify error:"),
        REFUSED.replace(
            "b.test: Invalid status. Verification", "Invalid status, b.test:Verify error detail:"
        ),
        REFUSED.replace("b.test: Inv", "\x1b[1;31mb.test: Inv"),
    ],
)
def test_a_refused_challenge_and_its_order(home: Path, refused: str) -> None:
    assert told(home, log(RENEWS + ORDERED + refused + GIVEN_UP + "Error renewing a.test.\n")) == [
        ORDER,
        ("a.test", "challenge_failed", "b.test", "dns"),
        ("a.test", "order_failed", "a.test", "dns"),
    ]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (
            'response=\'{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many"}\'\n',
            "rateLimited",
        ),
        ('response=\'{"type":"urn:ietf:params:acme:error:badNonce","detail":"again"}\'\n', None),
        ("Error adding TXT record to domain: _acme-challenge.a.test\n", None),
        ("", None),
    ],
)
def test_why_an_order_failed(home: Path, lines: str, code: str | None) -> None:
    assert told(home, log(RENEWS + lines + GIVEN_UP)) == [("a.test", "order_failed", "a.test", code)]


def test_the_next_attempt_knows_nothing_of_the_one_before(home: Path) -> None:
    text = RENEWS + ORDERED + REFUSED + GIVEN_UP + RENEWS.replace("a.test", "c.test") + GIVEN_UP
    assert told(home, log(text + RENEWS + ORDERED + RENEWS + ORDERED))[-3:] == [
        ("c.test", "order_failed", "c.test", None),
        ORDER,
        ORDER,  # the one before was cut off
    ]


def test_what_fails_after_the_issue(home: Path) -> None:
    text = RENEWS + ORDERED + SUCCESS + "Reload error for: a.test\nError deploying for domain: a.test\n"
    assert told(home, log(text))[-2:] == [
        ("a.test", "reload_failed", "a.test", "reloadcmd"),
        ("a.test", "install_failed", "a.test", "deploy-hook"),
    ]


@pytest.mark.parametrize(
    ("form", "zone", "hours"),
    [
        ("%a %b %e %H:%M:%S UTC %Y", "UTC", 0),
        ("%a %b %d %I:%M:%S %p GMT %Y", "Asia/Tokyo", 0),
        ("%a %d %b %Y %I:%M:%S %p UTC", "UTC", 0),
        ("%a %b %e %H:%M:%S CEST %Y", "Europe/Paris", 2),
        ("%a %b %e %H:%M:%S +0530 %Y", "UTC", 5.5),
        ("%a %b %e %H:%M:%S -03 %Y", "UTC", -3),
    ],
)
def test_dates(home: Path, form: str, zone: str, hours: float) -> None:
    (home / "acme.sh.log").write_text(log(RENEWS + GIVEN_UP, START + timedelta(hours=hours), form))
    found = read(source(home, timezone=zone))
    assert found.rejected == []
    assert found.events[-1]["at"] == found.events[-1]["known_at"] == START + timedelta(seconds=4)


def test_the_zones_name_tells_which_of_two_hours_it_is(home: Path) -> None:
    twice = datetime(2025, 10, 26, 2, 30, tzinfo=UTC)
    for name, hours in (("CEST", 2), ("CET", 1)):
        text = log(RENEWS + GIVEN_UP, twice, f"%a %b %e %H:%M:%S {name} %Y")
        (home / "acme.sh.log").write_text(text)
        (event,) = read(source(home, timezone="Europe/Paris")).events[1:]
        assert event["at"] == twice + timedelta(seconds=4, hours=-hours)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (log(RENEWS + GIVEN_UP, form="%a %b %e %H:%M:%S CEST %Y"), "CEST"),
        (log(RENEWS + GIVEN_UP, NOW + timedelta(hours=1)), "future"),
        (log("Starting\n") + log(RENEWS + GIVEN_UP, form="Wed Feb 30 %H:%M:%S UTC %Y"), "LC_ALL=C"),
        (log(RENEWS + GIVEN_UP, form="mer. 1 juil. %Y %H:%M:%S CEST"), "does not begin"),
        ("no log at all", "does not begin"),
    ],
)
def test_what_cannot_be_dated_is_set_aside(home: Path, text: str, reason: str) -> None:
    (home / "acme.sh.log").write_text(text)
    found = read(source(home))
    assert len(found.events) == 1
    assert len(found.rejected) == 1
    assert reason in found.rejected[0].reason


def test_only_what_is_new_is_read(home: Path) -> None:
    path, text = home / "acme.sh.log", log(RENEWS + ORDERED + REFUSED + GIVEN_UP)
    path.write_text(text)
    with History(None) as history:
        assert history.ingest(source(home)).tables["events"].new == 4
        assert history.ingest(source(home)).skipped == 2
        path.write_text(text + log(RENEWS + ORDERED, START + timedelta(days=1)))
        assert history.ingest(source(home)).tables["events"].new == 1
        marks = history.marks("acmesh")
        path.rename(home / "acme.sh.log.1")
        path.write_text(log(RENEWS + GIVEN_UP, START + timedelta(days=2)))
        assert len(read(source(home), marks).events) == 1
        assert history.counts()["quarantine"] == 0


def test_a_log_elsewhere(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.log"
    other.write_text(log(RENEWS + GIVEN_UP))
    assert len(read(source(home)).events) == 1
    assert len(read(source(home, log=other)).events) == 2
    with pytest.raises(SourceError, match="LOG_FILE"):
        read(source(home, log=tmp_path / "missing"))
    with pytest.raises(InputError, match="Europe/Paris"):
        read(source(home, timezone="Nowhere/Land"))


WHOLE = log(RENEWS + ORDERED + REFUSED + GIVEN_UP).encode()


@given(
    content=st.binary(max_size=300)
    | st.tuples(st.integers(0, len(WHOLE)), st.integers(0, len(WHOLE)), st.binary(max_size=9)).map(
        lambda cut: WHOLE[: cut[0]] + cut[2] + WHOLE[cut[1] :]
    )
)
def test_nothing_in_a_log_breaks_the_import(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    home = tmp_path_factory.mktemp("acmesh")
    (home / "a.test").mkdir()
    (home / "a.test" / "a.test.conf").write_text("Le_Domain='a.test'\n")
    (home / "acme.sh.log").write_bytes(content)
    found = read(source(home))
    assert from_rows(EVENTS, found.events, [])[2] == []
    assert all(row["known_at"] == row["at"] <= NOW for row in found.events)
