"""The commands around the executor, where nothing was ever carried out, and how they say what is wrong."""

from pathlib import Path

import pytest

from tests.cli.conftest import Shell


def test_stop_status_resume_where_nothing_was_begun(empty: Shell) -> None:
    seen = empty.json("status", "--executor")
    assert (seen["stopped"], seen["counts"], seen["runs"]) == (None, {}, [])
    told = empty.json("stop", "--reason", "a drill", "--by", "ann")
    assert (told["by"], told["reason"]) == ("ann", "a drill")
    seen = empty.json("status", "--executor")
    assert (seen["stopped"]["by"], seen["runs"]) == ("ann", [])
    assert empty.json("resume")["resumed"] is True
    assert empty.json("resume")["resumed"] is False


def test_a_worker_wants_a_key_and_postgresql(empty: Shell, tmp_path: Path) -> None:
    assert "signing.pub to check signatures with" in empty.complaint("worker", expected=3)
    config = tmp_path / "away.toml"
    config.write_text('database_url = "postgresql://nobody@127.0.0.1:1/none"\n')
    said = empty.complaint("--config", str(config), "status", "--executor", expected=3)
    assert "the executor's database does not answer" in said
    assert "SELECT" not in said


@pytest.mark.parametrize("flags", [["--watch", "--json"]])
def test_a_table_that_is_watched_is_no_document(empty: Shell, flags: list[str]) -> None:
    assert "give one of them" in empty.complaint("status", *flags, expected=2)
