"""``certforecast installers``."""

import json
import tomllib

import pytest

from certforecast.execution.installers import Found, discovery
from tests.cli.conftest import Shell

FOUND = Found(
    "nginx",
    ("a.test",),
    ("*:443",),
    "ab" * 32,
    {"kind": "nginx", "certificate": "/tls/a.pem", "key": "/tls/a.key"},
)


def test_kinds_and_sections_are_listed(shell: Shell) -> None:
    rows = {row["kind"]: row for row in shell.json("installers")}
    assert {"files", "nginx"} <= rows.keys()
    assert rows["nginx"] == {
        "kind": "nginx",
        "does": "nginx: its own configuration test, then a reload",
        "sections": [],
    }
    assert "nginx" in shell("installers")


def test_what_servers_use_is_shown_in_three_forms(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def discovered(only: list[str] | None, place: str | None) -> tuple[list[Found], list[str]]:
        asked.append((only, place))
        return [FOUND], []

    monkeypatch.setattr(discovery, "discovered", discovered)
    table = shell("installers", "discover")
    for said in ("nginx", "a.test", "*:443", "/tls/a.pem", "abababababababab"):
        assert said in table
    (row,) = shell.json("installers", "discover", "--kind", "nginx", "--at", "/x")
    assert (row["fingerprint"], row["settings"]) == (FOUND.fingerprint, FOUND.settings)
    written = tomllib.loads(shell("installers", "discover", "--toml"))
    assert written == {"installers": {"nginx-a-test": FOUND.settings}}
    assert asked == [(None, None), (["nginx"], "/x"), (None, None)]


def test_what_could_not_be_told_is_said_and_the_rest_is_shown(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discovery, "discovered", lambda *_: ([FOUND], ["apache: it says nothing"]))
    shown = shell("installers", "discover", "--json", expected=3)
    assert json.loads(shown)[0]["kind"] == "nginx"
    assert shell.errors == "certforecast: apache: it says nothing\n"


def test_an_unknown_kind_is_bad_use(shell: Shell) -> None:
    assert "no installer of kind 'odd'" in shell.complaint("installers", "discover", "--kind", "odd")
