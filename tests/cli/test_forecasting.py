"""The load, scenarios and the drill on the command line."""

from pathlib import Path

import pytest

from certforecast.history import History
from certforecast.models import train
from certforecast.settings import Settings
from tests.cli.conftest import Shell
from tests.forecasting.conftest import NOW, fleet

AT = ("--as-of", NOW.isoformat())


@pytest.fixture(scope="module", autouse=True)
def trained(home: Path) -> None:
    settings = Settings(home=home)
    with History(settings.store_path) as history:
        history.append(fleet().batch)
        train(history, NOW, settings)


def test_load(shell: Shell, tmp_path: Path) -> None:
    told = shell.json("load", "--horizon", "4w", "--by", "issuer", *AT)
    assert {row["group"] for row in told["weeks"]} == {"Let's Encrypt", "Private"}
    assert len(told["weeks"]) == 8
    assert all(row["renewals_low"] <= min(row["renewals"], row["renewals_high"]) for row in told["weeks"])
    assert "2026-08-31" in shell("load", "--horizon", "4w", *AT)
    assert "Private" in shell("load", "--horizon", "4w", "--by", "issuer", *AT)
    picture = tmp_path / "load.png"
    shell("load", "--horizon", "4w", "--plot", str(picture), *AT)
    assert picture.stat().st_size > 5_000
    assert shell.json("load", "--horizon", "0w", *AT)["weeks"] == []


def test_what_if(shell: Shell, tmp_path: Path) -> None:
    assert "47-days" in shell("what-if")
    assert "47-days" in shell.json("what-if")
    told = shell.json("what-if", "letsencrypt-45", "--horizon", "40w", *AT)
    ratios = {row["measure"]: row["ratio"] for row in told["summary"] if row["weeks"] == 26}
    assert 1.5 < ratios["renewals"] < 2.3
    assert {row["world"] for row in told["weeks"]} == {"before", "after"}
    mine = tmp_path / "mine.toml"
    mine.write_text('title = "core gets timers"\n[[automate]]\nowner = "core"\n')
    picture = tmp_path / "mine.svg"
    assert "core gets timers" in shell("what-if", str(mine), "--plot", str(picture), *AT)
    assert picture.exists()


def test_drill(shell: Shell) -> None:
    told = shell.json("drill", "--issuer", "private", "--within", "2h", *AT)
    assert told["certificates"] == len(told["order"]) == 10
    assert told["in_time"] + told["too_late"] == 10
    shell("drill", "--issuer", "private", "--within", "2h", "--check", *AT, expected=1)
    shell("drill", "--issuer", "private", "--within", "5d", "--check", *AT)
    assert "in time" in shell("drill", "--issuer", "Private", *AT)
    assert "no rate limits of Private are known" in shell.errors


def test_bad_use(shell: Shell, tmp_path: Path) -> None:
    assert "26w" in shell.complaint("load", "--horizon", "soon", *AT)
    assert "owner" in shell.complaint("load", "--by", "colour", *AT)
    assert ".png" in shell.complaint("load", "--plot", "load.doc", *AT)
    assert "no folder" in shell.complaint("load", "--plot", str(tmp_path / "none" / "a.png"), *AT)
    assert "six-days" in shell.complaint("what-if", "48-months", *AT)
    assert "nearest: Private" in shell.complaint("drill", "--issuer", "Privat", *AT)
    assert "24h" in shell.complaint("drill", "--issuer", "Private", "--within", "never", *AT)
