"""What a user may get wrong: one clear line each, and nothing else is lost."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from certforecast.clock import system_clock
from certforecast.history import History
from certforecast.planning import Plan
from certforecast.simulation import Fleet
from tests.certificates import certificate, der
from tests.cli.conftest import Shell


def test_what_is_not_there_yet_is_said_with_what_to_do(empty: Shell, tmp_path: Path) -> None:
    assert "fill one with 'certforecast ingest" in empty.complaint("status", expected=3)
    History(tmp_path / "empty" / "history.duckdb").close()
    assert "train one with 'certforecast train'" in empty.complaint("predict", expected=3)
    assert "make one with 'certforecast plan'" in empty.complaint("act")
    assert "import history first" in empty.complaint("train", expected=3)
    assert "nothing to scan" in empty.complaint("scan")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["renewals", "--as-of", "yesterday"], "is not an ISO 8601 time"),
        (["renewals", "--outcome", "odd"], "is none of on_time, slipped"),
        (["renewals", "--lineage", "nobody.example"], "no lineage goes by 'nobody.example'"),
        (["renewals", "--plot", "story.png"], "name it with --lineage"),
        (["features", "--explain", "shop.example"], "is no fingerprint: give 8 or more"),
        (["features", "--explain", "0123456789"], "no certificate whose fingerprint begins with 0123456789"),
        (["features", "--country", "QQ"], "no public holidays are known of 'QQ'"),
        (["features", "--output", "features.txt"], "as .parquet or .csv"),
        (["ingest", "nosuch", "x"], "no source is called 'nosuch'; there are: "),
        (["--config", "none.toml", "status"], "there is no settings file none.toml; create it"),
        (["ingest", "pem", "missing"], "missing does not exist"),
        (["act", "nowhere.json"], "there is no plan at nowhere.json"),
    ],
)
def test_bad_use_gets_one_clear_line_and_exit_2(
    empty: Shell, tmp_path: Path, arguments: list[str], said: str
) -> None:
    History(tmp_path / "empty" / "history.duckdb").close()
    assert said in empty.complaint(*arguments)


def test_a_backtest_tells_what_of_a_history_was_set_aside(empty: Shell, tmp_path: Path) -> None:
    index = tmp_path / "authority" / "index.txt"
    index.parent.mkdir()
    index.write_text("V\t270227173652Z\t\t1A2B\tunknown\t/CN=shop.example\n")
    empty("backtest", "--history", str(index.parent), expected=2)
    assert "holds no certificate that can be read: 1 row was set aside, such as index.txt#1: no cert" in (
        empty.errors
    )
    table = tmp_path / "looks.csv"
    table.write_text(
        "observed_at,host,not_before,not_after\n"
        "2026-01-02T00:00:00Z,a.example,2025-12-01T00:00:00Z,2026-03-01T00:00:00Z\n"
        "2026-01-02T00:00:00Z,a.example,2026-04-01T00:00:00Z,2026-03-01T00:00:00Z\n"
    )
    empty("backtest", "--history", str(table), expected=3)
    assert "1 row was set aside, such as looks.csv#3: " in empty.errors


def test_a_bad_setting_is_named(empty: Shell, tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text("[costs]\noutage_per_week = 3\n")
    assert "costs.outage_per_week" in empty.complaint("--config", str(config), "status")
    config.write_text("[costs\n")
    assert "not valid TOML" in empty.complaint("--config", str(config), "status")


def test_bad_files_are_refused_or_set_aside_and_nothing_else_is_lost(empty: Shell, tmp_path: Path) -> None:
    good = der(certificate("a.example"))
    (tmp_path / "good.der").write_bytes(good)
    (tmp_path / "garbage.pem").write_bytes(b"\x00garbage" * 40)
    (tmp_path / "empty.pem").write_bytes(b"")
    (tmp_path / "cut.der").write_bytes(good[: len(good) // 2])
    for name, said in (
        ("garbage.pem", "not a whole DER certificate"),
        ("empty.pem", "file is empty"),
        ("cut.der", "truncated"),
    ):
        assert said in empty.complaint("ingest", "pem", str(tmp_path / name))
    # Together in a folder the good one is kept, and the others are counted.
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("good.der", "garbage.pem", "cut.der"):
        (folder / name).write_bytes((tmp_path / name).read_bytes())
    done = empty.json("ingest", "pem", str(folder))
    assert (done["tables"]["certificates"]["new"], done["quarantined"]) == (1, 2)
    export = tmp_path / "export.json"
    row = {
        "issuer_ca_id": 1,
        "issuer_name": "C=US, O=X, CN=Y",
        "common_name": "b.example",
        "name_value": "b.example",
        "id": 1,
        "entry_timestamp": "2026-01-01T00:00:00",
        "not_before": "2026-01-01T00:00:00",
        "not_after": "2026-03-01T00:00:00",
        "serial_number": "0a",
    }
    export.write_text(json.dumps([row, row | {"id": 2, "serial_number": "0b", "not_before": "bad"}]))
    done = empty.json("ingest", "crtsh", str(export), "--check", expected=1)
    assert (done["tables"]["certificates"]["new"], done["quarantined"]) == (1, 1)
    export.write_text('[{"id": ')
    assert "is not JSON: line 1" in empty.complaint("ingest", "crtsh", str(export))
    assert empty.json("status")["quarantined"] == 3
    aside = empty.json("status", "--quarantine")
    assert {Path(row["position"]).name for row in aside} == {"garbage.pem", "cut.der", "export.json#1"}
    assert "export.json#1" in empty("status", "--quarantine")


def test_a_store_of_a_newer_schema_and_a_damaged_model_are_refused(empty: Shell, tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "empty" / "history.duckdb"
    History(path).close()
    model = tmp_path / "champion.skops"
    model.write_bytes(b"PK garbage")
    assert "is not a model file" in empty.complaint("predict", "--model", str(model), expected=3)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta SET schema_version = 99")
    assert "upgrade certforecast" in empty.complaint("status", expected=3)


def test_an_expired_or_torn_plan_is_refused(empty: Shell, tmp_path: Path) -> None:
    History(tmp_path / "empty" / "history.duckdb").close()
    now = system_clock()
    plan = Plan(
        id="x", created_at=now - timedelta(days=2), as_of=now, expires_at=now - timedelta(days=1), actions=()
    )
    plan.signed(empty.home).write(tmp_path / "plan.json")
    assert "make a new one with 'certforecast plan'" in empty.complaint("act", str(tmp_path / "plan.json"))
    (tmp_path / "plan.json").write_text('{"id": "x",')
    assert "is not JSON: EOF while parsing a value at line 1 column 11; make it again" in empty.complaint(
        "act", str(tmp_path / "plan.json")
    )


def test_the_simulator_refuses_what_it_cannot_play(empty: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "is a file; name a folder" in empty.complaint(
        "simulate", str(tmp_path / "file"), "--lineages", "10"
    )
    assert "--end 'soon' is not an ISO 8601" in empty.complaint(
        "simulate", str(tmp_path / "x"), "--end", "soon"
    )
    assert Fleet(seed=1, lineages=10, years=0.2).tables()["certificates"].num_rows > 0


def store(shell: Shell) -> Path:
    """Make an empty store in the shell's home."""
    path = shell.home / "history.duckdb"
    History(path).close()
    return path


def test_a_store_in_use_is_said_to_be(empty: Shell) -> None:
    path = store(empty)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); input()",
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert "is in use by another process; wait" in empty.complaint("status", expected=3)
    finally:
        holder.communicate("\n", timeout=30)
    assert empty.json("status")["rows"]["certificates"] == 0


@pytest.mark.parametrize("content", [b"", b"not a database", bytes(5000)])
def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(empty: Shell, content: bytes) -> None:
    # "lock" in its path must not make it a locked store.
    home = empty.home.with_name("blocks")
    home.mkdir()
    (home / "history.duckdb").write_bytes(content)
    empty.home = home
    assert "cannot be opened" in empty.complaint("status", expected=3)
    assert (home / "history.duckdb").read_bytes() == content


def test_a_damaged_store_is_refused_in_words(empty: Shell, tmp_path: Path) -> None:
    path = store(empty)
    (tmp_path / "tables").mkdir()
    Fleet(seed=1, lineages=10, years=0.5).write(tmp_path / "tables")
    empty("ingest", "tables", str(tmp_path / "tables"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "cannot be read or written" in empty.complaint("renewals", expected=3)


def test_a_home_that_is_a_file_is_refused(empty: Shell, tmp_path: Path) -> None:
    empty.home = tmp_path / "file"
    empty.home.write_text("mine")
    good = tmp_path / "good.der"
    good.write_bytes(der(certificate("a.example")))
    assert "cannot be made" in empty.complaint("ingest", "pem", str(good), expected=3)
    assert empty.home.read_text() == "mine"


def test_a_place_that_cannot_be_written_is_named(empty: Shell, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "below"
    complaint = empty.complaint("simulate", str(place), "--lineages", "10", "--years", "0.2", expected=3)
    assert complaint == f"certforecast: {place}: Not a directory"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "--as-of", "9999-12-31"], "outside the years 1970 to 2199"),
        (["status", "--as-of", "0001-01-01T00:00+14:00"], "is not an ISO 8601 time"),
        (["status", "--as-of", ""], "is not an ISO 8601 time"),
        (["backtest", "--outcome", "odd"], "is none of on_time"),
        (["backtest", "--page", "nowhere/page.html"], "there is no folder nowhere"),
        (["backtest", "--page", "."], "is a folder; name a file in it"),
        (
            ["promote", "--force", "--cutoffs", "3", "--outcome", "late"],
            "--outcome, --cutoffs would do nothing",
        ),
        (["scan", "a.example", "--file", "list.txt"], "not both"),
        (["act", "."], "plan . cannot be read: Is a directory"),
    ],
)
def test_more_bad_use(empty: Shell, arguments: list[str], said: str) -> None:
    store(empty)
    assert said in empty.complaint(*arguments)


def test_settings_that_are_not_text_are_refused(empty: Shell, tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_bytes(b"\xff\xfe")
    assert "not valid TOML" in empty.complaint("--config", str(config), "status")
    config.write_text("[costs]\nslip = inf\n")
    assert "costs.slip: Input should be a finite number" in empty.complaint("--config", str(config), "status")


def test_an_endpoint_that_cannot_be_read_is_a_finding(empty: Shell) -> None:
    seen = empty.json("scan", "host:99999", "--check", expected=1)
    assert (seen["endpoints"], seen["import"]["quarantined"]) == ([], 1)


def test_a_model_that_was_changed_or_cut_is_refused(empty: Shell, tmp_path: Path) -> None:
    fleet = Fleet(seed=3, lineages=40, years=1.5)
    fleet.write(tmp_path / "tables")
    empty("ingest", "tables", str(tmp_path / "tables"))
    empty("train", "--as-of", "2026-10-01")
    champion = empty.home / "models" / "champion.skops"
    foreign, whole = tmp_path / "foreign.skops", champion.read_bytes()
    middle = len(whole) // 2
    foreign.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    complaint = empty.complaint("predict", "--model", str(foreign), expected=3)
    assert "was changed after it was signed; train it again" in complaint
    foreign.write_bytes(whole[: len(whole) // 2])
    assert "is not signed" in empty.complaint("plan", "--model", str(foreign), expected=3)
    (empty.home / "signing.pub").unlink()
    assert "no key at" in empty.complaint("predict", expected=3)


def test_the_console_script_shows_no_traceback_and_a_reader_may_leave(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("certforecast")
    command = [str(script), "--home", str(tmp_path / "none"), "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1
    History(tmp_path / "none" / "history.duckdb").close()
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(writer)
    assert "Traceback" not in done.stderr
