"""Every command on a small store, as a table and as JSON."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from certforecast.features import FEATURES
from certforecast.planning import Plan
from certforecast.simulation.sandbox import Sandbox
from tests.cli.conftest import Shell

END = "2026-10-01"


@pytest.mark.timeout(1500)
def test_the_whole_road(shell: Shell, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    table = shell("renewals", "--as-of", END, "--limit", "1000")
    assert "margin (from in service to expiry) in days" in table
    assert "endpoint, exact" in table  # why they are linked
    one = failed[0]["fingerprint"]
    story = shell.json("renewals", "--as-of", END, "--lineage", one[:12], "--check", expected=1)
    assert one in [row["fingerprint"] for row in story["renewals"]]
    assert "failed" in {entry["kind"] for entry in story["entries"]}
    drawn = home / "story.png"
    told = shell("renewals", "--as-of", END, "--lineage", story["lineage"], "--plot", str(drawn))
    assert all(entry["text"][:40] in told for entry in story["entries"])
    assert drawn.read_bytes().startswith(b"\x89PNG")

    wide = shell.json("features", "--as-of", END)
    assert set(FEATURES) <= set(wide[0])
    told = shell("features", "--as-of", END)
    assert all(name in told for name in ("lag_trend", "crowding"))
    one = wide[0]["fingerprint"]
    explained = shell.json("features", "--as-of", END, "--explain", one[:12])
    assert explained["fingerprint"] == one
    assert [(row["feature"], row["value"]) for row in explained["features"]] == [
        (name, wide[0][name]) for name in FEATURES
    ]
    told = shell("features", "--as-of", END, "--explain", one)
    assert "the certificate itself" in told
    assert "resolved renewals of its issuer (" in told
    shell("features", "--as-of", END, "--output", str(home / "features.parquet"))
    assert pq.read_metadata(home / "features.parquet").num_rows == len(wide)

    trained = shell.json("train", "--as-of", END)
    assert trained["rows"] > 100
    assert Path(trained["model"]).is_file()
    assert "there is no challenger" in shell.complaint("promote", "--as-of", END, expected=3)
    again = shell.json("train", "--as-of", END)
    assert Path(again["model"]).name == "challenger.skops"
    assert Path(again["model"]).read_bytes() == Path(trained["model"]).read_bytes()
    refused = shell.json("promote", "--as-of", END, "--check", expected=1)
    assert (refused["promoted"], refused["difference"]) == (False, None)
    assert "there is nothing new in it" in refused["reason"]
    assert "is the champion now: as demanded" in shell("promote", "--force")
    predicted = shell.json("predict", "--as-of", END)
    assert all(0.0 <= row["p_failed"] <= 1.0 for row in predicted)
    shares = [[row[f"p_{o}"] for o in ("on_time", "slipped", "failed", "retired")] for row in predicted]
    assert [sum(row) for row in shares] == pytest.approx([1.0] * len(predicted))
    assert [row["p_failed"] for row in predicted] == sorted((r["p_failed"] for r in predicted), reverse=True)
    shell("predict", "--as-of", END, "--check", "--threshold", "0", expected=1)

    assert "hindsight" not in shell.errors
    shell("predict", "--as-of", "2026-08-01")
    assert "champion.skops was trained as of 2026-10-01 00:00 UTC" in shell.errors

    first = predicted[0]
    told = shell.json(
        "predict", "--as-of", END, "--explain", first["fingerprint"][:12], "--outcome", "failed"
    )
    assert (told["fingerprint"], told["probability"]) == (first["fingerprint"], first["p_failed"])
    assert told["base"] + sum(part["adds"] for part in told["features"]) == pytest.approx(first["p_failed"])
    assert {part["feature"]: part["value"] for part in told["features"]}.keys() == FEATURES.keys()
    assert told["topics"]["time"] == pytest.approx(
        sum(part["adds"] for part in told["features"] if part["topic"] == "time")
    )
    shown = shell("predict", "--as-of", END, "--explain", first["fingerprint"])
    assert all(reason["words"][:40] in shown for reason in told["reasons"])
    listed = shell("predict", "--as-of", END, "--reasons", "--limit", "3", "--outcome", "late")
    assert "late because" in listed
    assert "no open renewal" in shell.complaint("predict", "--as-of", END, "--explain", "no.example")
    assert "--outcome lost" in shell.complaint("predict", "--outcome", "lost")
    assert "--explain NAME or --reasons" in shell.complaint("predict", "--outcome", "late")

    scores = shell.json("backtest", "--as-of", END, "--cutoffs", "2")
    assert {row["model"] for row in scores["summary"]["failed"]} >= {"certforecast", "fewest days left"}

    beside = shell.json("backtest", "--history", str(home / "tables"), "--as-of", END, "--cutoffs", "2")
    assert beside["summary"] == scores["summary"]

    with monkeypatch.context() as quicker:
        quicker.setenv("CERTFORECAST_MODEL__METHOD", "logistic")
        page = home / "page.html"
        shown = shell("backtest", "--as-of", END, "--cutoffs", "1", "--k", "3", "--page", str(page))
    assert "Looking into 3 at each moment, each renewal once" in shown
    assert f"written: {page}" in shell.errors
    assert "shares by day" in page.read_text()

    plan = shell.json("plan", "--as-of", END)
    assert plan == json.loads((home / "plan.json").read_text())
    assert Plan.read(home / "plan.json").actions
    assert "because" in shell("plan", "--as-of", END)
    results = shell.json("act")
    assert {result["status"] for result in results} == {"for_people"}
    assert "Would be done" in shell("act")

    monkeypatch.setenv("CERTFORECAST_EXECUTOR__ISSUER", "ca")
    monkeypatch.setenv("CERTFORECAST_COSTS__REHEARSE", "0")  # so that it is worth it for all
    monkeypatch.setenv("CERTFORECAST_ISSUERS", json.dumps({"ca": {"kind": "embedded", "directory": "ca"}}))
    chosen = shell.json("rehearse", "--as-of", END, "--dry-run", "--top", "3")
    gains = [row["gain"] for row in chosen]
    assert len(gains) == 3
    assert gains == sorted(gains, reverse=True)
    assert chosen[0]["name"] in shell("rehearse", "--as-of", END, "--dry-run")
    assert "--dry-run" in shell.complaint("rehearse", "--as-of", END)


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


@pytest.mark.parametrize("command", ["predict", "plan", "rehearse", "load", "what-if", "drill"])
def test_help_says_that_the_champion_is_the_default_model(shell: Shell, command: str) -> None:
    told = " ".join(shell(command, "--help").split())
    assert "--model" in told
    assert "Default: the champion, models/champion.skops in the home folder." in told
    assert "trained last" not in told
