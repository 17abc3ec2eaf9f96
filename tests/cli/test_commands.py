"""The command line on a small store: every command, as a table and as JSON."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from certforecast.cli import main
from certforecast.clock import system_clock
from certforecast.history import History
from certforecast.planning import Plan
from certforecast.simulation import Fleet
from certforecast.simulation.sandbox import Sandbox
from tests.certificates import certificate, der

END = "2026-10-01"


class Shell:
    """Runs the command line in this process, in one home folder."""

    def __init__(
        self, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.home, self._capsys, self._monkeypatch = home, capsys, monkeypatch

    def __call__(self, *arguments: str, expected: int = 0) -> str:
        self._monkeypatch.setattr("sys.argv", ["certforecast", "--home", str(self.home), *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        shown = self._capsys.readouterr()
        self.errors = shown.err
        assert (end.value.code or 0) == expected, shown.err
        return shown.out

    def json(self, *arguments: str, expected: int = 0) -> Any:
        lines = self(*arguments, "--json", expected=expected).splitlines()
        assert len(lines) == 1
        return json.loads(lines[0])

    def complaint(self, *arguments: str, expected: int = 2) -> str:
        """Run what must fail; give its one line."""
        assert self(*arguments, expected=expected) == ""
        (line,) = self.errors.splitlines()
        assert line.startswith("certforecast: ")
        return line


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def shell(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(home, capsys, monkeypatch)


@pytest.fixture
def empty(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(tmp_path / "empty", capsys, monkeypatch)


def test_the_whole_road(shell: Shell, home: Path) -> None:
    """One test, as each command needs what the ones before it made."""
    made = shell.json("simulate", str(home / "tables"), "--seed", "3", "--lineages", "60", "--years", "2")
    assert made["rows"]["certificates"] > 300
    done = shell.json("ingest", "tables", str(home / "tables"))
    assert done["tables"]["certificates"]["new"] == made["rows"]["certificates"]
    again = shell.json("ingest", "tables", str(home / "tables"))
    assert again["tables"]["certificates"] == {
        "new": 0,
        "updated": 0,
        "unchanged": made["rows"]["certificates"],
    }

    status = shell.json("status", "--as-of", END)
    assert status["rows"] == made["rows"]
    assert status["quarantined"] == 0
    assert "lineages" in shell("status", "--as-of", END)

    renewals = shell.json("renewals", "--as-of", END)
    assert len(renewals) == made["rows"]["certificates"]
    failed = shell.json("renewals", "--as-of", END, "--outcome", "failed", "--check", expected=1)
    assert {row["outcome"] for row in failed} == {"failed"}
    assert "margin (from in service to expiry) in days" in shell("renewals", "--as-of", END)

    trained = shell.json("train", "--as-of", END)
    assert trained["rows"] > 100
    assert Path(trained["model"]).is_file()
    predicted = shell.json("predict", "--as-of", END)
    assert all(0.0 <= row["p_failed"] <= 1.0 for row in predicted)
    shares = [[row[f"p_{o}"] for o in ("on_time", "slipped", "failed", "retired")] for row in predicted]
    assert [sum(row) for row in shares] == pytest.approx([1.0] * len(predicted))
    assert [row["p_failed"] for row in predicted] == sorted((r["p_failed"] for r in predicted), reverse=True)
    shell("predict", "--as-of", END, "--check", "--threshold", "0", expected=1)

    scores = shell.json("backtest", "--as-of", END, "--cutoffs", "2")
    assert {row["model"] for row in scores["summary"]["failed"]} >= {"certforecast", "fewest days left"}

    plan = shell.json("plan", "--as-of", END)
    assert plan == json.loads((home / "plan.json").read_text())
    assert Plan.read(home / "plan.json").actions
    assert "because" in shell("plan", "--as-of", END)
    results = shell.json("act")
    assert {result["status"] for result in results} == {"for_people"}
    assert "Would be done" in shell("act")


def test_a_scan_says_what_is_served_and_findings_are_an_exit_code(shell: Shell, tmp_path: Path) -> None:
    with Sandbox(tmp_path / "sandbox") as sandbox:
        listed = tmp_path / "endpoints.txt"
        listed.write_text("".join(f"{p.host}:{p.port}={p.server_name}\n" for p in sandbox.endpoints))
        roots = ("--ca-file", str(sandbox.roots))
        seen = shell.json("scan", "--file", str(listed), *roots, "--check", expected=1)
        statuses = {row["server_name"]: row["chain_status"] for row in seen["endpoints"]}
        assert {name for name, status in statuses.items() if status == "expired"} == set(sandbox.outages())
        healthy = sandbox.endpoints[0]
        shell("scan", f"{healthy.host}:{healthy.port}={healthy.server_name}", *roots, "--check")


def test_version_and_help(shell: Shell) -> None:
    assert shell("--version").startswith("certforecast 0.")
    listing = shell("--help")
    for command in re.findall(r"^  ([a-z]+)  ", listing.split("Commands:")[1], flags=re.MULTILINE):
        assert command in listing
        assert "--json" in shell(command, "--help")


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
    plan.write(tmp_path / "plan.json")
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
