"""PKI mounts of a real OpenBao server in development mode (Vault's API)."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509

from certforecast.errors import SourceError
from certforecast.history import History
from certforecast.history.sources import Batch
from certforecast.history.sources.vault import VaultSource
from tests.history.sources.reading import read
from tests.system.openbao import TOKEN, client, openbao

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with openbao(tmp_path_factory.mktemp("bao")) as address:
        yield address


class Authority:
    """A PKI mount of the test's own."""

    def __init__(self, server: str, mount: str) -> None:
        self.server, self.mount = server, mount
        self.client = client(server)
        self.client.sys.enable_secrets_engine("pki", path=mount)
        self.client.write_data(
            f"{mount}/root/generate/internal", data={"common_name": "ca.example", "key_type": "ec"}
        )
        role = {"allow_any_name": True, "key_type": "ec", "ttl": "24h"}
        self.client.write_data(f"{mount}/roles/web", data=role)

    def issue(self, name: str) -> dict[str, Any]:
        answer = self.client.write_data(f"{self.mount}/issue/web", data={"common_name": name})
        return dict(answer["data"])

    def revoke(self, issued: dict[str, Any]) -> None:
        self.client.write_data(f"{self.mount}/revoke", data={"serial_number": issued["serial_number"]})

    def look(self, before: Batch | None = None, **options: Any) -> Batch:
        marks = {mark.place: mark.state for mark in before.marks} if before else {}
        return read(VaultSource(self.server, mount=self.mount, **options), marks)


@pytest.fixture
def authority(server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Authority:
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    return Authority(server, f"pki/{request.node.name[5:30]}")


def serials(batch: Batch) -> set[str]:
    numbers = (x509.load_der_x509_certificate(whole.der).serial_number for whole in batch.wholes)
    return {f"{number:x}" for number in numbers}


def serial(issued: dict[str, Any]) -> str:
    return str(issued["serial_number"]).replace(":", "").lstrip("0")


def test_issued_certificates_are_known_from_when_they_were_issued(authority: Authority) -> None:
    start = datetime.now(UTC)
    issued = [authority.issue(f"{name}.example") for name in "abc"]
    end = datetime.now(UTC)
    found = authority.look()
    assert serials(found) == {serial(each) for each in issued}, "without the CA's own"
    assert not found.rejected
    whole = next(whole for whole in found.wholes if issued[0]["serial_number"] in whole.position)
    # Certificates have whole seconds.
    assert start - timedelta(seconds=1) <= whole.known_at <= end


def test_the_second_import_fetches_only_what_is_new(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        authority.issue(f"{name}.example")
    first = authority.look()
    new = authority.issue("d.example")
    asked: list[str] = []
    send = requests.Session.request

    def spy(self: requests.Session, method: str, url: str, **options: Any) -> Any:
        asked.append(url)
        return send(self, method, url, **options)

    monkeypatch.setattr(requests.Session, "request", spy)
    second = authority.look(first)
    assert serials(second) == {serial(new)}
    assert [url for url in asked if "/cert/" in url] == [
        f"{authority.server}/v1/{authority.mount}/cert/{new['serial_number']}"
    ]
    assert authority.look(Batch(marks=[*first.marks, *second.marks])).wholes == []


def test_a_revocation_is_seen_at_once_and_later(authority: Authority) -> None:
    early, late = authority.issue("early.example"), authority.issue("late.example")
    authority.revoke(early)
    first = authority.look()
    assert [event["host"] for event in first.events] == ["early.example"]
    start = datetime.now(UTC)
    authority.revoke(late)
    second = authority.look(first)
    (event,) = second.events
    assert (event["kind"], event["lineage"], event["host"]) == ("revoked", "late.example", "late.example")
    assert start - timedelta(seconds=1) <= event["at"] == event["known_at"] <= datetime.now(UTC)
    assert second.wholes == []
    third = authority.look(Batch(marks=[*first.marks, *second.marks]))
    assert (third.events, third.wholes) == ([], [])


def test_the_history_goes_into_a_store_without_the_authority(authority: Authority) -> None:
    for name in "abc":
        authority.issue(f"{name}.example")
    with History(None) as store:
        source = VaultSource(authority.server, mount=(authority.mount,))
        store.ingest(source)
        assert (store.counts()["certificates"], store.counts()["quarantine"]) == (3, 0)
        assert store.ingest(source).changed == 0


def test_a_token_that_may_not_see_revocations_still_reads(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.revoke(authority.issue("a.example"))
    policy = f'path "{authority.mount}/certs" {{ capabilities = ["list"] }}\n'
    policy += f'path "{authority.mount}/cert/*" {{ capabilities = ["read"] }}'
    authority.client.sys.create_or_update_policy("narrow", policy)
    os.environ["VAULT_TOKEN"] = authority.client.auth.token.create(policies=["narrow"])["auth"][
        "client_token"
    ]
    found = authority.look()
    assert [event["host"] for event in found.events] == ["a.example"], "told with the certificate"
    (rejected,) = found.rejected
    assert "later revocations" in rejected.reason
    assert "check the token" in rejected.reason


def test_what_is_wrong_is_told(authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere lists no certificates; give the path"):
        read(VaultSource(authority.server, mount="nowhere"))
    authority.client.sys.enable_secrets_engine("pki", path="empty")
    assert read(VaultSource(authority.server, mount="empty")).wholes == []
    (tmp_path / "token").write_text("s.not-a-token")
    with pytest.raises(SourceError, match="check the token") as error:
        authority.look(token_file=tmp_path / "token")
    assert "s.not-a-token" not in str(error.value)
