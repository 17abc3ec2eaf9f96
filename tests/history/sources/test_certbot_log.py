"""certbot's log, in the words of certbot 5.8 and, where it says so, of older versions (published source).

The log that a real run writes is read in tests/system/test_source_certbot.py.
"""

import gzip
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.clock import parse_moment
from certforecast.errors import InputError, SourceError
from certforecast.history import History
from certforecast.history.schema import EVENTS
from certforecast.history.sources import Batch, Marks
from certforecast.history.sources.certbot import CertbotSource
from certforecast.history.validation import from_rows
from tests.certificates import certificate, pem
from tests.history.sources.reading import read

NOW = datetime(2026, 8, 1, tzinfo=UTC)
START = datetime(2026, 7, 1, 3, tzinfo=UTC)
#: When the tree's files were written.
ISSUED = START - timedelta(days=60)
SECRET = "hunter2"


class Log:
    """Writes a log, a second an entry, `ahead` of UTC."""

    def __init__(self, start: datetime = START, ahead: timedelta = timedelta()) -> None:
        self.at, self.ahead, self.text = start, ahead, ""

    def say(self, message: str, logger: str = "certbot._internal.renewal", level: str = "DEBUG") -> "Log":
        local = self.at + self.ahead
        self.text += f"{local:%Y-%m-%d %H:%M:%S},250:{level}:{logger}:{message}\n"
        self.at += timedelta(seconds=1)
        return self

    def run(self, *arguments: str) -> "Log":
        self.say("certbot version: 5.8.0", "certbot._internal.main")
        return self.say(f"Arguments: {list(arguments)!r}", "certbot._internal.main")

    def turn(self, lineage: str, *names: str) -> "Log":
        self.say(f"Notifying user: Processing /etc/letsencrypt/renewal/{lineage}.conf")
        return self.ask(*names, action="Renewing an existing certificate")

    def ask(self, *names: str, action: str = "Requesting a certificate") -> "Log":
        more = (
            f" and {len(names) - 1} more domains"
            if len(names) > 2
            else "".join(f" and {x}" for x in names[1:])
        )
        self.say(f"Notifying user: {action} for {names[0]}{more}")
        payload = {"identifiers": [{"type": "dns", "value": name} for name in names]}
        return self.say(f"JWS payload:\n{json.dumps(payload, indent=2).encode()!r}", "acme.client")

    def answer(self, status: int, body: dict[str, Any]) -> "Log":
        head = f"HTTP {status}\nDate: {self.at:%a, %d %b %Y %H:%M:%S} GMT\nContent-Type: application/json\n"
        return self.say(f"Received response:\n{head}\n{json.dumps(body, indent=3)}", "acme.client")

    def order(self) -> "Log":
        return self.answer(201, {"status": "pending", "identifiers": [], "authorizations": ["https://ca/1"]})

    def refuse(self, name: str, kind: str) -> "Log":
        problem = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": "no such\nluck", "status": 400}
        challenges = [{"type": "http-01"}, {"type": "dns-01", "status": "invalid", "error": problem}]
        identifier = {"type": "dns", "value": name}
        return self.answer(200, {"status": "invalid", "identifier": identifier, "challenges": challenges})

    def fail(self, lineage: str, exception: str, message: str) -> "Log":
        self.say(f"Failed to renew certificate {lineage} with error: {message}", level="ERROR")
        return self.say(
            f"Traceback was:\nTraceback (most recent call last):\n  File x\n{exception}: {message}\n"
        )

    def exit(self, exception: str, message: str) -> "Log":
        trace = f"Exiting abnormally:\nTraceback (most recent call last):\n{exception}: {message}"
        return self.say(trace, "certbot._internal.log").say(message, "certbot._internal.log", "ERROR")

    def written(self, lineage: str, number: int = 2) -> "Log":
        path = f"/etc/letsencrypt/archive/{lineage}/cert{number}.pem"
        return self.say(f"Writing certificate to {path}.", "certbot._internal.storage")

    def save(self, path: Path) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.text)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two lineages of three names, and a third of the names of the second."""
    for lineage, names in {
        "a.test": ("a.test", "b.test"),
        "c.test": ("*.c.test", "c.test"),
        "c.test-0001": ("*.c.test", "c.test"),
    }.items():
        folder = tmp_path / "etc" / "archive" / lineage
        folder.mkdir(parents=True)
        (folder / "cert1.pem").write_bytes(pem(certificate(*names)))
        os.utime(folder / "cert1.pem", (ISSUED.timestamp(), ISSUED.timestamp()))
    return tmp_path / "etc"


def source(tree: Path, **options: Any) -> CertbotSource:
    return CertbotSource(tree, clock=lambda: NOW, **options)


def told(batch: Batch) -> list[tuple[Any, ...]]:
    """What comes from the log, in short."""
    return [
        (row["lineage"], row["kind"], row["host"], row["code"])
        for row, position in zip(batch.events, batch.positions.get("events", []), strict=True)
        if position.startswith("letsencrypt.log")
    ]


def events(tree: Path, log: Log, marks: Marks | None = None, **options: Any) -> list[tuple[Any, ...]]:
    log.save(tree.parent / "log" / "letsencrypt.log")
    batch = read(source(tree, **options), marks or {})
    assert batch.rejected == []
    assert from_rows(EVENTS, batch.events, [])[2] == []
    return told(batch)


def test_a_renewal_that_works(tree: Path) -> None:
    log = Log().run().turn("a.test", "b.test", "a.test").order().written("a.test")
    assert events(tree, log) == [
        ("a.test", "order_created", "a.test", None),
        ("a.test", "issued", "a.test", None),
    ]


def test_an_issue_that_a_file_tells_of_is_told_once(tree: Path) -> None:
    log = Log(ISSUED - timedelta(seconds=30)).run().turn("a.test", "a.test").order().written("a.test", 1)
    assert [kind for _, kind, *_ in events(tree, log)] == ["order_created"]


def test_a_refused_challenge_and_its_order(tree: Path) -> None:
    log = Log().run().turn("a.test", "a.test", "b.test").order()
    log.refuse("b.test", "dns").refuse("b.test", "dns")
    log.fail("a.test", "certbot.errors.AuthorizationError", "Some challenges have failed.")
    log.turn("c.test", "c.test", "*.c.test").order().written("c.test")
    log.exit("certbot.errors.Error", "1 renew failure(s), 0 parse failure(s)")
    assert events(tree, log) == [
        ("a.test", "order_created", "a.test", None),
        ("a.test", "challenge_failed", "b.test", "dns"),
        ("a.test", "order_failed", "a.test", "dns"),
        ("c.test", "order_created", "c.test", None),
        ("c.test", "issued", "c.test", None),
    ]


@pytest.mark.parametrize(
    ("exception", "message", "code"),
    [
        (
            "acme.messages.Error",
            "urn:ietf:params:acme:error:rateLimited :: too many :: certificates",
            "rateLimited",
        ),
        ("acme.errors.IssuanceError", "urn:acme:error:caa :: CAA forbids", "caa"),
        ("requests.exceptions.ConnectionError", "HTTPSConnectionPool(host='ca', port=443)", "unreachable"),
        ("requests.exceptions.ReadTimeout", "HTTPSConnectionPool(host='ca', port=443)", "timeout"),
        ("certbot.errors.PluginError", "The nginx plugin is not working", "plugin"),
        ("certbot.errors.StandaloneBindError", "Problem binding to port 80", "http_port"),
        ("certbot.errors.OverlappingMatchFound", "no", None),
        ("certbot.errors.ReverterError", "no", "ReverterError"),
        ("not an exception", "no", None),
    ],
)
def test_why_an_order_failed(tree: Path, exception: str, message: str, code: str | None) -> None:
    log = Log().run().turn("a.test", "a.test").fail("a.test", exception, message)
    assert events(tree, log) == [("a.test", "order_failed", "a.test", code)]
    log = Log().run().ask("a.test", "b.test").exit(exception, message)
    assert events(tree, log) == [("a.test", "order_failed", "a.test", code)]


def test_a_refused_nonce_is_no_failure(tree: Path) -> None:
    log = Log().run().turn("a.test", "a.test")
    log.answer(400, {"type": "urn:ietf:params:acme:error:badNonce", "detail": "again", "status": 400})
    assert events(tree, log.order()) == [("a.test", "order_created", "a.test", None)]


@pytest.mark.parametrize(
    ("names", "arguments", "lineage"),
    [
        (("b.test", "a.test"), (), "a.test"),  # just its names
        (("b.test",), (), "b.test"),  # no lineage of these
        (("new.test", "a.test"), (), "new.test"),
        (("*.c.test", "c.test"), (), "*.c.test"),  # of two lineages: the first name asked for
        (("c.test", "*.c.test"), ("--cert-name", "c.test-0001"), "c.test-0001"),
        (("c.test", "*.c.test"), ("--cert-name=c.test-0001", "-v"), "c.test-0001"),
        (("BÜCHER.test",), (), "xn--bcher-kva.test"),
    ],
)
def test_whose_a_request_is(
    tree: Path, names: tuple[str, ...], arguments: tuple[str, ...], lineage: str
) -> None:
    log = Log().run(*arguments).ask(*names).exit("certbot.errors.AuthorizationError", "Some failed.")
    ((found, kind, host, _),) = events(tree, log)
    assert (found, kind) == (lineage, "order_failed")
    assert host is not None


def test_a_numbered_lineage_has_a_host_to_be_linked_by(tree: Path) -> None:
    log = Log().run().say("Renewal configuration file /etc/letsencrypt/renewal/c.test-0001.conf is broken.")
    assert events(tree, log) == [("c.test-0001", "order_failed", "c.test", "config")]
    assert {row["host"] for row in read(source(tree)).events} == {"a.test", "c.test"}


@pytest.mark.parametrize(
    "message",
    [
        "Renewal configuration file /x/renewal/a.test.conf lacks renewalparams. Skipping.",
        "Renewal configuration file /x/renewal/a.test.conf does not specify an authenticator. Skipping.",
        "Renewal configuration file /x/renewal/a.test.conf (cert: a.test) produced an unexpected error: x.",
        "An error occurred while parsing /x/renewal/a.test.conf. The error was bad. Skipping the file.",
    ],
)
def test_configurations_that_cannot_be_read(tree: Path, message: str) -> None:
    assert events(tree, Log().run().say(message, level="ERROR")) == [
        ("a.test", "order_failed", "a.test", "config")
    ]


def test_hooks(tree: Path) -> None:
    log = Log().run("--deploy-hook", f"deploy --token {SECRET}")
    for lineage in ("a.test", "c.test"):
        log.turn(lineage, lineage).order().written(lineage)
        log.say(f"Running deploy-hook command: deploy --token {SECRET}", "certbot.compat.misc", "INFO")
    log.say("Hook 'deploy-hook' reported error code 3", "certbot.display.ops", "WARNING")
    log.say(f"Hook 'deploy-hook' ran with error output:\n {SECRET}", "certbot.display.ops", "WARNING")
    log.say("Hook 'pre-hook' reported error code 1", "certbot.display.ops", "WARNING")
    log.say("Hook 'post-hook' reported error code 1", "certbot.display.ops", "WARNING")
    found = events(tree, log)
    assert [one for one in found if one[1] == "install_failed"] == [
        ("c.test", "install_failed", "c.test", "deploy-hook"),
        ("a.test", "install_failed", "a.test", "post-hook"),
        ("c.test", "install_failed", "c.test", "post-hook"),
    ]
    assert SECRET not in str(read(source(tree)))


def test_a_failure_after_the_issue_is_one_of_installing(tree: Path) -> None:
    log = Log().run().turn("a.test", "a.test").order().written("a.test")
    log.say("Notifying user: Reloading nginx server after certificate renewal")
    log.fail("a.test", "certbot.errors.MisconfigurationError", "nginx restart failed:\nno")
    log.run().ask("c.test").order().written("c.test-0001").say("Notifying user: Deploying certificate")
    log.exit("certbot.errors.PluginError", "Cannot find a VirtualHost matching domain c.test.")
    assert [one for one in events(tree, log) if one[1].endswith("_failed")] == [
        ("a.test", "reload_failed", "a.test", "installer"),
        ("c.test-0001", "install_failed", "c.test", "installer"),
    ]


@pytest.mark.parametrize(
    "log",
    [Log().run("--dry-run"), Log().run().say("Notifying user: Simulating a certificate request for a.test")],
)
def test_a_dry_run_is_no_attempt(tree: Path, log: Log) -> None:
    log.ask("a.test").order().refuse("a.test", "dns").exit(
        "certbot.errors.AuthorizationError", "Some failed."
    )
    assert events(tree, log.run().ask("a.test").order()) == [("a.test", "order_created", "a.test", None)]


def test_what_asks_for_no_certificate_fails_no_order(tree: Path) -> None:
    log = Log().run("--cert-name", "a.test").exit("certbot.errors.Error", "No certificate found")
    log.run().say("Notifying user: Processing /etc/letsencrypt/renewal/a.test.conf")
    assert events(tree, log.say("Notifying user: Certificate not yet due for renewal")) == []


def test_revocation_and_deletion(tree: Path) -> None:
    main = "certbot._internal.main"
    log = Log().run().say("Revoking /etc/letsencrypt/live/c.test-0001/cert.pem using Account Key", main)
    log.say("Reason code for revocation: 4", main)
    log.say(
        "Notifying user: Congratulations! You have successfully revoked the certificate that was ...", main
    )
    log.run().say("Notifying user: Deleted all files relating to certificate gone.test.", main)
    assert events(tree, log) == [
        ("c.test-0001", "revoked", "c.test", "superseded"),
        ("gone.test", "retired", None, None),
    ]


def test_the_words_of_certbot_1(tree: Path) -> None:
    """Version 1.0 says neither whose turn it is, nor what for."""
    log = Log().run()
    log.say("Cert is due for renewal, auto-renewing...", "certbot.renewal", "INFO")
    log.say("Renewing an existing certificate", "certbot.main", "INFO").order()
    log.say("Writing certificate to /etc/letsencrypt/archive/a.test/cert7.pem.", "certbot.storage")
    log.say('deploy-hook command "x" returned error code 9', "certbot.hooks", "ERROR")
    log.say("Cert is due for renewal, auto-renewing...", "certbot.renewal", "INFO")
    log.say("Renewing an existing certificate", "certbot.main", "INFO").order().refuse(
        "c.test", "unauthorized"
    )
    error = (
        "Attempting to renew cert (c.test) from /etc/letsencrypt/renewal/c.test.conf produced an unexpected"
    )
    log.say(f"{error} error: Some challenges have failed.. Skipping.", "certbot.renewal", "WARNING")
    log.say("Traceback was:\nTraceback:\ncertbot.errors.AuthorizationError: Some challenges have failed.")
    assert events(tree, log) == [
        ("a.test", "order_created", "a.test", None),
        ("a.test", "issued", "a.test", None),
        ("a.test", "install_failed", "a.test", "deploy-hook"),
        ("c.test", "order_created", "c.test", None),
        ("c.test", "challenge_failed", "c.test", "unauthorized"),
        ("c.test", "order_failed", "c.test", "unauthorized"),
    ]


def test_a_run_that_goes_on_in_the_next_file(tree: Path) -> None:
    """certbot begins a new file at 1 MB."""
    logs, log = tree.parent / "log", Log().run().turn("a.test", "a.test").order()
    log.save(logs / "letsencrypt.log.1")
    after = Log(log.at).refuse("a.test", "dns")
    after.fail("a.test", "certbot.errors.AuthorizationError", "Some challenges have failed.")
    assert events(tree, after) == [
        ("a.test", "order_created", "a.test", None),
        ("a.test", "challenge_failed", "a.test", "dns"),
        ("a.test", "order_failed", "a.test", "dns"),
    ]


def times(tree: Path, **options: Any) -> list[datetime]:
    found = read(source(tree, **options))
    return [
        row["at"]
        for row, position in zip(found.events, found.positions["events"], strict=True)
        if position.startswith("letsencrypt.log")
    ]


@pytest.mark.parametrize("hours", [-9.5, 0, 5.75, 13])
def test_the_answers_of_the_ca_tell_the_time(tree: Path, hours: float) -> None:
    log = Log(ahead=timedelta(hours=hours, seconds=40)).run().turn("a.test", "a.test").order()
    log.save(tree.parent / "log" / "letsencrypt.log")
    # The sixth entry; the clock that wrote it is 40 s fast.
    assert times(tree, timezone="Asia/Tokyo") == [START + timedelta(seconds=45.25)]


@pytest.mark.parametrize(
    ("zone", "local", "utc"),
    [
        ("UTC", "2026-07-01T03:00", "2026-07-01T03:00"),
        ("Europe/Paris", "2026-07-01T03:00", "2026-07-01T01:00"),
        ("Europe/Paris", "2025-12-01T03:00", "2025-12-01T02:00"),
        # The hour that comes twice: the later one.
        ("Europe/Paris", "2025-10-26T02:30", "2025-10-26T01:30"),
    ],
)
def test_without_answers_the_zone_is_the_one_given(tree: Path, zone: str, local: str, utc: str) -> None:
    log = Log(parse_moment(local)).run().say("Renewal configuration file /x/a.test.conf is broken.")
    log.save(tree.parent / "log" / "letsencrypt.log")
    assert times(tree, timezone=zone) == [parse_moment(utc) + timedelta(seconds=2.25)]


def test_what_is_in_the_future_is_set_aside_until_the_zone_is_right(tree: Path) -> None:
    log = Log(NOW + timedelta(hours=1)).run().say("Renewal configuration file /x/a.test.conf is broken.")
    log.save(tree.parent / "log" / "letsencrypt.log")
    found = read(source(tree))
    assert [rejected.position for rejected in found.rejected] == ["letsencrypt.log#3"]
    assert "timezone" in found.rejected[0].reason
    marks = {mark.place: mark.state for mark in found.marks}
    assert len(read(source(tree, timezone="Europe/Paris"), marks).events) == 1


@pytest.mark.parametrize("zone", ["Nowhere/Land", "", "../etc/passwd", "\0"])
def test_an_unknown_zone_is_an_error(tree: Path, zone: str) -> None:
    with pytest.raises(InputError, match="Europe/Paris"):
        read(source(tree, timezone=zone))


def test_where_the_log_is(tree: Path, tmp_path: Path) -> None:
    log = Log().run().turn("a.test", "a.test").order()
    assert len(events(tree, log)) == 1  # beside
    elsewhere = tmp_path / "far" / "away"
    elsewhere.parent.mkdir()
    (tree.parent / "log").rename(elsewhere)
    assert told(read(source(tree))) == []
    assert len(told(read(source(tree, logs=elsewhere)))) == 1
    with pytest.raises(SourceError, match="--logs-dir"):
        read(source(tree, logs=tmp_path))


def test_only_what_is_new_is_read(tree: Path) -> None:
    path = tree.parent / "log" / "letsencrypt.log"
    log = Log().run().turn("a.test", "a.test").order()
    log.save(path)

    def step() -> tuple[int, int, int]:
        report = history.ingest(source(tree))
        assert report.changed == report.new
        assert history.counts()["quarantine"] == 0
        return report.new, report.skipped, len(told(read(source(tree), history.marks("certbot"))))

    with History(None) as history:
        everything = 3 + 3 + 1  # certificates, their issues, the log's event
        assert step() == (everything, 0, 0)
        assert step() == (0, 4, 0)
        # It grows: the last run is read again, earlier ones are not.
        log.refuse("a.test", "dns").run().turn("c.test", "c.test").order().save(path)
        assert step()[:2] == (2, 3)
        log.fail("c.test", "certbot.errors.Error", "no").save(path)
        assert step()[:2] == (1, 3)
        # It is rotated, then packed; a new one begins.
        path.rename(path.with_name("letsencrypt.log.1"))
        Log(log.at).run().turn("a.test", "a.test").order().save(path)
        assert step()[:2] == (1, 4)
        with gzip.open(path.with_name("letsencrypt.log.2.gz"), "wb") as packed:
            packed.write(path.with_name("letsencrypt.log.1").read_bytes())
        path.with_name("letsencrypt.log.1").unlink()
        assert step()[:2] == (0, 4)
        assert step() == (0, 5, 0)


def test_a_grown_log_is_read_from_its_last_run_on(tree: Path) -> None:
    path = tree.parent / "log" / "letsencrypt.log"
    log = Log().run().turn("a.test", "a.test").order().run().turn("c.test", "c.test").order()
    log.save(path)
    marks = {mark.place: mark.state for mark in read(source(tree)).marks}
    log.run().turn("a.test", "a.test").order().save(path)
    found = read(source(tree), marks)
    assert [lineage for lineage, *_ in told(found)] == ["c.test", "a.test"]
    lines = log.text.splitlines()
    place, _, number = found.positions["events"][0].partition("#")
    assert place == "letsencrypt.log"
    assert "Received response" in lines[int(number) - 1]


def test_a_file_that_is_not_what_it_was_is_read_anew(tree: Path) -> None:
    path = tree.parent / "log" / "letsencrypt.log"
    log = Log().run().turn("a.test", "a.test").order().run()
    log.save(path)
    marks = {mark.place: mark.state for mark in read(source(tree)).marks}
    other = Log().run().turn("c.test", "c.test", "www.c.test").order()  # the same first line
    other.say("x" * len(log.text)).save(path)
    assert [lineage for lineage, *_ in told(read(source(tree), marks))] == ["c.test"]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("letsencrypt.log.1", b"not a log\n", "does not begin"),
        ("letsencrypt.log.1.gz", b"not gzip", "gzip"),
        ("letsencrypt.log.1.gz", gzip.compress(Log().run().text.encode() * 9)[:-20], "to its end"),
        ("letsencrypt.log.1", b"\x00" * 5000, "does not begin"),
    ],
)
def test_a_file_that_is_no_log_loses_no_other(tree: Path, name: str, content: bytes, reason: str) -> None:
    logs = tree.parent / "log"
    Log().run().turn("a.test", "a.test").order().save(logs / "letsencrypt.log")
    (logs / name).write_bytes(content)
    (logs / "letsencrypt.log.7").touch()  # certbot leaves an empty one behind
    (logs / "letsencrypt.log.8").symlink_to("letsencrypt.log.8")
    (logs / "letsencrypt.log.9").mkdir()
    found = read(source(tree))
    assert sorted(rejected.position for rejected in found.rejected) == [
        name,
        "letsencrypt.log.8",
        "letsencrypt.log.9",
    ]
    (told_why,) = (rejected.reason for rejected in found.rejected if rejected.position == name)
    assert reason in told_why
    assert len(told(found)) == 1


REAL = (
    Log().run("--cert-name", "a.test").turn("a.test", "a.test", "b.test").order().refuse("b.test", "caa")
    .fail("a.test", "certbot.errors.AuthorizationError", "Some challenges have failed.")
    .turn("c.test", "c.test").order().written("c.test").say("Hook 'deploy-hook' reported error code 3")
).text.encode()  # fmt: skip


@given(
    content=st.binary(max_size=300)
    | st.tuples(st.integers(0, len(REAL)), st.integers(0, len(REAL)), st.binary(max_size=9)).map(
        lambda cut: REAL[: cut[0]] + cut[2] + REAL[cut[1] :]
    ),
    packed=st.booleans(),
)
def test_nothing_in_a_log_breaks_the_import(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, packed: bool
) -> None:
    tree = tmp_path_factory.mktemp("certbot") / "etc"
    (tree / "archive").mkdir(parents=True)
    (tree.parent / "log").mkdir()
    name = "letsencrypt.log.1.gz" if packed else "letsencrypt.log"
    (tree.parent / "log" / name).write_bytes(content)
    found = read(source(tree))
    assert from_rows(EVENTS, found.events, [])[2] == []
    assert all(row["known_at"] == row["at"] <= NOW for row in found.events)


def test_answers_of_any_shape(tree: Path) -> None:
    log = Log().run().turn("a.test", "a.test")
    odd: list[Any] = [None, 1, "x", [], {}, [None], [{"error": 1}], [{"error": {"type": 1, "detail": []}}]]
    for value in odd:
        log.answer(200, {"status": "invalid", "identifier": value, "challenges": []})
        log.answer(200, {"status": "invalid", "identifier": {"value": value}, "challenges": value})
        log.answer(200, {"status": "invalid", "identifier": {"value": "a.test"}, "challenges": value})
    log.say("Received response:\nHTTP 201\n\n{" + '"identifiers":' + "[" * 100_000, "acme.client")
    log.say("Received response:\nHTTP 200\nDate: yesterday\n\n[]", "acme.client")
    log.say("Arguments: [" + "(" * 50_000, "certbot._internal.main")
    assert events(tree, log) == [("a.test", "challenge_failed", "a.test", None)]
