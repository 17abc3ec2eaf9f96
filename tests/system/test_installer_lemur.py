"""Hand-over to Lemur: what answers is ours, because no Lemur is to be had here.

The fake keeps certificates as Lemur's schemas have them: uploads with ``replaces``, edits that empty the
lists they leave out, ``replacedBy`` as the other side. This is not tested against Lemur.
"""

import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from certforecast.errors import InstallationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import make_installer
from certforecast.execution.installers.lemur import LemurInstaller, LemurInstallerSettings
from certforecast.execution.staging import new_key
from tests.system.json_server import Answered, json_server

pytestmark = pytest.mark.system

TOKEN = "token-of-the-test"


class Lemur:
    def __init__(self) -> None:
        self.kept: dict[int, dict[str, Any]] = {}
        self.cut_after: int | None = None  # so many writes are done, then the connection breaks
        self.writes = 0
        self.url = ""

    def add(self, document: dict[str, Any]) -> int:
        number = len(self.kept) + 1
        self.kept[number] = {"id": number, "hasPrivateKey": bool(document.get("privateKey")), **document}
        return number

    def act(self, request: BaseHTTPRequestHandler, body: dict[str, Any] | None) -> Answered:
        if body is not None and self.cut_after is not None:
            if self.cut_after == 0:
                return None
            self.cut_after -= 1
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"message": "Token is invalid"}
        what = request.path.removeprefix("/api/1/certificates/")
        if request.command == "POST":
            assert what == "upload"
            assert body is not None
            try:
                check_pair(body["body"].encode(), body["privateKey"].encode())
            except InstallationError:
                return 400, {"message": f"Private key does not match: {body['privateKey']}"}
            self.writes += 1
            return 200, self.shown(self.add(body))
        number = int(what)
        if number not in self.kept:
            return 404, {"message": "Cannot find specified certificate"}
        if body is not None:
            self.writes += 1
            for name in ("destinations", "notifications", "roles", "replaces"):
                self.kept[number][name] = []
            self.kept[number] |= body
        return 200, self.shown(number)

    def shown(self, number: int) -> dict[str, Any]:
        document = {name: value for name, value in self.kept[number].items() if name != "privateKey"}
        document["replacedBy"] = [
            {"id": other} for other, one in self.kept.items() if {"id": number} in one.get("replaces", [])
        ]
        return document

    def installer(self, **options: Any) -> LemurInstaller:
        section = LemurInstallerSettings(
            **{"kind": "lemur", "url": f"{self.url}/api/1", "certificate": 1, **options}
        )
        made = make_installer(section, name="a.test", host="192.0.2.1", port=443)
        assert isinstance(made, LemurInstaller)
        return made


@pytest.fixture
def lemur(monkeypatch: pytest.MonkeyPatch, issue: Any) -> Iterator[Lemur]:
    monkeypatch.setenv("LEMUR_TOKEN", TOKEN)
    made = Lemur()
    chain, key = issue("a.test")
    made.add(
        {
            "body": chain.decode(),
            "privateKey": key.decode(),
            "owner": "ops@example.org",
            "description": "the shop",
            "notify": True,
            "rotation": True,
            "destinations": [{"id": 7}],
            "notifications": [{"id": 8}],
            "roles": [{"id": 9}],
            "replaces": [],
        }
    )
    with json_server(made.act) as made.url:
        yield made


def test_a_replacement_is_uploaded_once_and_turned_around(lemur: Lemur, issue: Any) -> None:
    installer, (chain, key) = lemur.installer(), issue("a.test")
    installer.precheck()
    before = installer.current()
    installer.swap(chain, key)
    installer.swap(chain, key)
    assert sorted(lemur.kept) == [1, 2]
    new = lemur.kept[2]
    assert (new["body"], new["privateKey"]) == (chain.decode(), key.decode())
    for name in ("owner", "description", "destinations", "notifications", "roles", "rotation"):
        assert new[name] == lemur.kept[1][name], name
    assert new["replaces"] == [{"id": 1}]
    assert installer.current() == leaf_fingerprint(chain)
    installer.restore(before)
    writes = lemur.writes
    installer.restore(before)
    assert lemur.writes == writes
    assert installer.current() == before
    assert lemur.shown(1)["replacedBy"] == []
    assert lemur.shown(2)["replacedBy"] == [{"id": 1}]
    assert lemur.kept[2]["destinations"] == lemur.kept[1]["destinations"] == [{"id": 7}]
    third = issue("a.test")
    installer.swap(*third)
    assert installer.current() == leaf_fingerprint(third[0])
    with pytest.raises(InstallationError, match="has no certificate"):
        installer.restore("0" * 64)


def test_a_rollback_that_was_cut_off_is_done_again(lemur: Lemur, issue: Any) -> None:
    installer = lemur.installer()
    before = installer.current()
    installer.swap(*issue("a.test"))
    assert before is not None
    for cut in (0, 1):
        lemur.cut_after = cut
        with pytest.raises(InstallationError) as caught:
            installer.restore(before)
        assert caught.value.code == "unreachable"
    lemur.cut_after = None
    installer.restore(before)
    assert installer.current() == before


def test_what_cannot_end_well_is_refused(lemur: Lemur, issue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chain, _ = issue("a.test")
    with pytest.raises(InstallationError, match="does not match"):
        lemur.installer().swap(chain, new_key())
    with pytest.raises(InstallationError, match=r"404 .*Cannot find"):
        lemur.installer(certificate=5).precheck()
    with pytest.raises(InstallationError) as caught:
        lemur.installer(url="http://127.0.0.1:9").current()
    assert caught.value.code == "unreachable"
    lemur.kept[1]["hasPrivateKey"] = False
    with pytest.raises(InstallationError, match="no private key in Lemur"):
        lemur.installer().precheck()
    for _ in range(2):
        lemur.add({"body": chain.decode(), "replaces": [{"id": 1}]})
    with pytest.raises(InstallationError, match="has 2 certificates that no other replaces"):
        lemur.installer().precheck()
    monkeypatch.setenv("LEMUR_TOKEN", "another-token")
    with pytest.raises(InstallationError, match="401") as caught:
        lemur.installer().current()
    assert caught.value.code == "permission"
    assert "another-token" not in str(caught.value)
    monkeypatch.delenv("LEMUR_TOKEN")
    with pytest.raises(InstallationError, match="no API key"):
        lemur.installer().current()
    assert lemur.writes == 0


def test_no_key_is_told_even_when_the_server_quotes_it(
    lemur: Lemur, issue: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    chain, key = issue("a.test")
    lemur.installer().swap(chain, key)
    other = issue("a.test")[1]
    monkeypatch.setattr("certforecast.execution.installers.lemur.check_pair", lambda *_: None)
    with pytest.raises(InstallationError, match="400") as caught:
        lemur.installer().swap(issue("a.test")[0], other)
    told = caplog.text + f"{caught.value} {caught.value.__cause__!r}"
    for secret in (key, other):
        for line in secret.decode().splitlines()[1:-1]:
            assert line not in told
