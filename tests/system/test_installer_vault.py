"""Hand-over to the key-value store of a real OpenBao (Vault's API)."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certforecast.errors import InstallationError
from certforecast.execution.checks import leaf_fingerprint
from certforecast.execution.installers import make_installer
from certforecast.execution.installers.vault import VaultInstaller, VaultInstallerSettings
from certforecast.execution.staging import new_key
from tests.system.openbao import TOKEN, client, openbao, token_for

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with openbao(tmp_path_factory.mktemp("bao")) as address:
        yield address


class Store:
    """A key-value mount of the test's own, with a pair in place."""

    def __init__(self, server: str, mount: str, issue: Any) -> None:
        self.server, self.mount = server, mount
        self.client = client(server)
        self.client.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})
        self.old = issue("a.test")
        self.write(*self.old)

    def write(self, chain: bytes, key: bytes) -> None:
        secret = {"certificate": chain.decode(), "private_key": key.decode(), "note": "for the shop"}
        self.client.secrets.kv.v2.create_or_update_secret(
            "certificates/a.test", secret, mount_point=self.mount
        )

    def read(self) -> dict[str, str]:
        told = self.client.secrets.kv.v2.read_secret_version(
            "certificates/a.test", mount_point=self.mount, raise_on_deleted_version=True
        )
        return dict(told["data"]["data"])

    def installer(self, **options: Any) -> VaultInstaller:
        given = {"kind": "vault", "address": self.server, "mount": self.mount}
        section = VaultInstallerSettings(**{**given, **options})
        made = make_installer(section, name="a.test", host="192.0.2.1", port=443)
        assert isinstance(made, VaultInstaller)
        return made


@pytest.fixture
def store(server: str, request: pytest.FixtureRequest, issue: Any, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    return Store(server, request.node.name[5:30], issue)


def test_it_is_handed_over_and_back_again(store: Store, issue: Any) -> None:
    installer, new = store.installer(), issue("a.test")
    installer.precheck()
    before = installer.current()
    assert before == leaf_fingerprint(store.old[0])
    installer.swap(*new)
    installer.swap(*new)
    assert store.read() == {
        "certificate": new[0].decode(),
        "private_key": new[1].decode(),
        "note": "for the shop",
    }
    assert installer.current() == leaf_fingerprint(new[0])
    metadata = store.client.secrets.kv.v2.read_secret_metadata("certificates/a.test", mount_point=store.mount)
    assert metadata["data"]["current_version"] == 2, "done twice, written once"
    installer.restore(before)
    installer.restore(before)
    assert (store.read()["certificate"].encode(), store.read()["private_key"].encode()) == store.old
    with pytest.raises(InstallationError, match="no version of"):
        installer.restore("0" * 64)


def test_one_field_may_hold_both(store: Store, issue: Any) -> None:
    pair = {"pem": (store.old[0] + store.old[1]).decode()}
    store.client.secrets.kv.v2.create_or_update_secret("one", pair, mount_point=store.mount)
    installer = store.installer(path="one", certificate_field="pem", key_field="pem")
    installer.precheck()
    chain, key = issue("a.test")
    installer.swap(chain, key)
    told = store.client.secrets.kv.v2.read_secret_version(
        "one", mount_point=store.mount, raise_on_deleted_version=True
    )
    assert told["data"]["data"] == {"pem": (chain + key).decode()}
    installer.restore(leaf_fingerprint(store.old[0]))
    assert installer.current() == leaf_fingerprint(store.old[0])


def test_what_others_write_in_between_is_not_lost(
    store: Store, issue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = store.installer()
    read, times = installer._read, []

    def meddled(*given: Any, **options: Any) -> Any:
        told = read(*given, **options)
        if not times:
            times.append(1)
            fields = {**store.read(), "note": "changed meanwhile"}
            store.client.secrets.kv.v2.create_or_update_secret(
                "certificates/a.test", fields, mount_point=store.mount
            )
        return told

    monkeypatch.setattr(installer, "_read", meddled)
    new = issue("a.test")
    installer.swap(*new)
    assert store.read() == {
        "certificate": new[0].decode(),
        "private_key": new[1].decode(),
        "note": "changed meanwhile",
    }


def test_what_cannot_end_well_is_refused(
    store: Store, issue: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chain, _ = issue("a.test")
    with pytest.raises(InstallationError, match="does not match"):
        store.installer().swap(chain, new_key())
    with pytest.raises(InstallationError, match="does not exist") as caught:
        store.installer(path="none").precheck()
    assert caught.value.code == "config"
    data = f'path "{store.mount}/data/*" {{ capabilities = ["read"] }}'
    monkeypatch.setenv("VAULT_TOKEN", token_for(store.server, data))
    with pytest.raises(InstallationError, match="may not update") as caught:
        store.installer().precheck()
    assert caught.value.code == "permission"
    with pytest.raises(InstallationError) as caught:
        store.installer().swap(*issue("a.test"))
    assert caught.value.code == "permission"
    assert store.read()["certificate"].encode() == store.old[0]
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    store.write(store.old[0], new_key())
    with pytest.raises(InstallationError, match="broken already"):
        store.installer().precheck()
    store.client.sys.enable_secrets_engine("kv", path=f"{store.mount}-1", options={"version": "1"})
    store.client.write_data(f"{store.mount}-1/certificates/a.test", data={"certificate": "x"})
    with pytest.raises(InstallationError, match="version 2"):
        store.installer(mount=f"{store.mount}-1").precheck()
    with pytest.raises(InstallationError) as caught:
        store.installer(address="http://127.0.0.1:9").current()
    assert caught.value.code == "unreachable"
    with pytest.raises(ValueError, match="not both"):
        store.installer(role_id="x", token_file=tmp_path)


def test_secrets_with_a_pair_are_found(store: Store, issue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write = store.client.secrets.kv.v2.create_or_update_secret
    chain, key = issue("b.test")
    write("certificates/deep/b", {"pem": (key + chain).decode()}, mount_point=store.mount)
    write("certificates/no-pair", {"certificate": chain.decode(), "password": "x"}, mount_point=store.mount)
    write("elsewhere", {"pem": (key + chain).decode()}, mount_point=store.mount)
    write("certificates/gone", {"pem": (key + chain).decode()}, mount_point=store.mount)
    store.client.secrets.kv.v2.delete_latest_version_of_secret("certificates/gone", mount_point=store.mount)
    with pytest.raises(InstallationError, match="set VAULT_ADDR"):
        VaultInstallerSettings.discover_at(store.mount)
    monkeypatch.setenv("VAULT_ADDR", store.server)
    found = VaultInstallerSettings.discover_at(f"{store.mount}/certificates")
    told = [(one.names, one.fingerprint, one.settings["path"]) for one in found]
    assert told == [
        (("a.test",), leaf_fingerprint(store.old[0]), "certificates/a.test"),
        (("b.test",), leaf_fingerprint(chain), "certificates/deep/b"),
    ]
    assert [VaultInstallerSettings.model_validate(one.settings).open("x").current() for one in found] == [
        print_ for _, print_, _ in told
    ]
    assert len(VaultInstallerSettings.discover_at(store.mount)) == 3
    (one,) = VaultInstallerSettings.discover_at(f"{store.mount}/elsewhere")
    assert (one.settings["certificate_field"], one.settings["key_field"]) == ("pem", "pem")
    assert "PRIVATE KEY" not in repr(found)
    with pytest.raises(InstallationError, match="version 2"):
        VaultInstallerSettings.discover_at("cubbyhole")
    monkeypatch.setenv("VAULT_TOKEN", token_for(store.server, 'path "none" { capabilities = ["read"] }'))
    with pytest.raises(InstallationError) as caught:
        VaultInstallerSettings.discover_at(store.mount)
    assert caught.value.code == "permission"


def test_no_key_is_told_whatever_the_log_level(
    store: Store, issue: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    chain, key = issue("a.test")
    store.installer().swap(chain, key)
    store.installer().restore(leaf_fingerprint(store.old[0]))
    from hvac import exceptions
    from hvac.api.secrets_engines.kv_v2 import KvV2

    def fail(*given: Any, **options: Any) -> None:
        raise exceptions.InternalServerError(f"cannot store {key!r}")

    monkeypatch.setattr(KvV2, "create_or_update_secret", fail)
    with pytest.raises(InstallationError) as caught:
        store.installer().swap(chain, key)
    told = caplog.text + f"{caught.value} {caught.value.__cause__!r}"
    for line in key.decode().splitlines()[1:-1]:
        assert line not in told
