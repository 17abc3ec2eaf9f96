"""Keystores, read by Java's own keytool after every change.

The server is the sandbox's endpoint: its reload has OpenSSL (for JKS, keytool before it) take the pair out of
the keystore, so that what is served is what other programs read in it.
"""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certforecast.errors import InstallationError
from certforecast.execution.installers.keystore import KeystoreInstallerSettings
from tests.system.installing import ServerSite, home, read_only

__all__ = ["home"]

pytestmark = pytest.mark.system

SECRET = "open sesame & more"


def keytool(*arguments: object) -> str:
    done = subprocess.run(
        ["keytool", *map(str, arguments)],
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "SECRET": SECRET, "LC_ALL": "C.UTF-8"},
    )
    return done.stdout.decode()


class KeystoreSite(ServerSite):
    section = KeystoreInstallerSettings

    def __init__(self, home: Path, kind: str, others: bool) -> None:
        super().__init__(home)
        self.kind, self.others = kind, others
        (home / "keys").mkdir()
        self.store, self.password = home / "keys" / f"site.{kind}", home / "password"
        self.password.write_text(f"{SECRET}\n")
        self.password.chmod(0o600)
        made = home / "made.p12"
        self.openssl("-export", "-in", self.certificate, "-inkey", self.key, "-name", "site", "-out", made)
        self.merge(made, "site", self.store, kind)
        if others:
            self.merge(made, "site", self.store, kind, alias="other")
            keytool(
                "-importcert",
                "-noprompt",
                "-alias",
                "root",
                "-file",
                self.roots,
                "-keystore",
                self.store,
                "-storepass:env",
                "SECRET",
            )
        self.store.chmod(0o640)

    def openssl(self, *arguments: object) -> None:
        word = "-passin" if "-export" not in arguments else "-passout"
        command = ["openssl", "pkcs12", *map(str, arguments), word, f"file:{self.password}"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def merge(self, source: Path, name: str, store: Path, kind: str, alias: str | None = None) -> None:
        keytool(
            "-importkeystore",
            "-noprompt",
            "-srckeystore",
            source,
            "-srcstorepass:env",
            "SECRET",
            "-srcalias",
            name,
            "-destalias",
            alias or name,
            "-destkeystore",
            store,
            "-deststoretype",
            kind,
            "-deststorepass:env",
            "SECRET",
            "-destkeypass:env",
            "SECRET",
        )

    def more(self) -> dict[str, Any]:
        """Give what reloads: the pair taken out by others' programs, then SIGHUP."""
        plain, home = self.store, self.home
        script = "set -e\n"
        if self.kind == "jks" or self.others:
            plain = home / "taken.p12"
            script += (
                f"rm -f {plain}; keytool -importkeystore -noprompt -srckeystore {self.store} -srcalias site"
                f" -srcstorepass:file {self.password} -destkeystore {plain} -deststoretype pkcs12"
                f" -deststorepass:file {self.password}\n"
            )
        script += (
            f"openssl pkcs12 -in {plain} -passin file:{self.password} -nodes -out {home}/taken.pem\n"
            f"umask 077; openssl pkey -in {home}/taken.pem -out {self.key}\n"
            f"openssl crl2pkcs7 -nocrl -certfile {home}/taken.pem"
            f" | openssl pkcs7 -print_certs -out {self.certificate}\n"
            f"kill -HUP $(cat {self.pid_file})\n"
        )
        return {"reload": ["sh", "-c", script]}

    def section_of(self, **changes: Any) -> Any:
        values = {
            "keystore": str(self.store),
            "password_file": str(self.password),
            "certificate": None,
            "key": None,
            "alias": "site" if self.others else None,
        }
        return super().section_of(**{**values, **changes})

    def entries(self) -> dict[str, str]:
        """Give by alias the kind of entry and its fingerprint, as keytool lists them."""
        told = keytool("-list", "-keystore", self.store, "-storepass:env", "SECRET")
        lines = told.splitlines()
        return {
            line.partition(",")[0]: line.rpartition(", ")[0].rpartition(", ")[2]
            + " "
            + lines[place + 1].rpartition(" ")[2].replace(":", "").lower()
            for place, line in enumerate(lines)
            if line.endswith("Entry, ")
        }


@pytest.mark.parametrize(
    ("kind", "others"), [("pkcs12", False), ("pkcs12", True), ("jks", False), ("jks", True)]
)
class TestKeystore:
    @pytest.fixture
    def server(self, home: Path, kind: str, others: bool) -> Iterator[KeystoreSite]:
        with KeystoreSite(home, kind, others).served() as site:
            yield site  # type: ignore[misc]

    def test_renews_keeps_other_entries_and_java_reads_it(
        self, server: KeystoreSite, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CERTFORECAST_PASSWORD", SECRET)
        found = KeystoreInstallerSettings.discover_at(str(server.store.parent))
        aliases = {one.settings.get("alias") for one in found}
        assert aliases == ({"other", "site"} if server.others else {None})
        assert {(one.names, one.fingerprint) for one in found} == {((server.name,), server.before)}
        before = server.entries()
        for _ in range(2):
            result = server.renew()
            assert result.status == "verified", result.detail
            assert server.look().fingerprint == result.fingerprint_after != server.before
            after = server.entries()
            assert after.pop("site") == f"PrivateKeyEntry {result.fingerprint_after}"
            assert after == {alias: entry for alias, entry in before.items() if alias != "site"}
        assert stat.S_IMODE(server.store.stat().st_mode) == 0o640
        kept = list((server.store.parent / ".certforecast" / server.name).iterdir())
        assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o640}

    def test_a_reload_without_effect_is_rolled_back(self, server: KeystoreSite) -> None:
        data = server.store.read_bytes()
        result = server.renew(reload=["true"])
        assert result.status == "rolled_back", result.detail
        assert server.store.read_bytes() == data
        assert server.look().fingerprint == server.before

    def test_what_does_not_open_is_left_alone_and_no_password_is_told(self, server: KeystoreSite) -> None:
        data, issued = server.store.read_bytes(), server.issued()
        server.password.write_text("another one\n")
        wrong = server.renew()
        missing = server.renew(password_file=None)
        absent = server.renew(password_file=None, password_env="NO_SUCH_VARIABLE")
        server.password.write_text(f"{SECRET}\n")
        unknown = server.renew(alias="nobody")
        with read_only(server.store.parent):
            closed = server.renew()
        for result in (wrong, missing, absent, unknown, closed):
            assert result.status == "failed", result.detail
            assert "no file was changed" in result.detail
            assert SECRET not in result.detail
            assert "another one" not in result.detail
        assert "password" in wrong.detail or "keytool" in wrong.detail
        assert "is not writable" in closed.detail
        assert server.store.read_bytes() == data
        assert server.issued() == issued

    def test_a_pair_that_does_not_match_is_refused(self, server: KeystoreSite) -> None:
        from certforecast.execution.staging import new_key

        installer = KeystoreInstallerSettings(
            kind="keystore", keystore=str(server.store), password_file=str(server.password), alias="site"
        ).open(server.name)
        data = server.store.read_bytes()
        with pytest.raises(InstallationError, match="does not match"):
            installer.swap(server.certificate.read_bytes(), new_key())
        assert server.store.read_bytes() == data
        assert [folder.name for folder in installer.folders()] == ["keys"]
