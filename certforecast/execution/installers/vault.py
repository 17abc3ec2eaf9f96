"""Vault's or OpenBao's key-value store: the certificate is handed over there, and servers fetch it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, Literal

from pydantic import Field

from certforecast.errors import InstallationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import Found, Installer, InstallerSection
from certforecast.execution.installers.elsewhere import ElsewhereInstaller, shown
from certforecast.execution.vault_client import VaultSection, explained, login

__all__ = ["VaultInstaller", "VaultInstallerSettings"]

#: Another writer between our reading and our writing is seen by Vault; so often we read again.
_TRIES: Final = 5


class VaultInstallerSettings(VaultSection, InstallerSection):
    """A secret in the key-value store, version 2, of HashiCorp Vault or OpenBao."""

    kind: Literal["vault"]
    mount: str = Field("secret", description="path of the key-value mount")
    path: str = Field("certificates/{name}", description="of the secret")
    certificate_field: str = Field("certificate", description="holds the full chain, leaf first")
    key_field: str = Field("private_key", description="holds the private key; may be the same field")

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        del name
        return VaultInstaller(self)

    @classmethod
    def discover_at(cls, place: str | None) -> list[Found]:
        """Find the secrets below a path that hold a certificate and a key; every one there is read.

        Parameters
        ----------
        place : str or None
            Mount and path, such as ``secret/certificates``; None stands for ``secret``. The address is
            VAULT_ADDR's or BAO_ADDR's, the token as in a section without one.

        Raises
        ------
        InstallationError
            If no address is set, Vault cannot be asked, or the mount is no key-value store of version 2.
        """
        address = os.environ.get("VAULT_ADDR") or os.environ.get("BAO_ADDR")
        if not address:
            raise InstallationError("set VAULT_ADDR or BAO_ADDR to where the store is", code="config")
        section = cls.model_validate({"kind": "vault", "address": address})
        client = login(section, InstallationError)
        with explained(section, InstallationError):
            mount, below = _mount(client, place or section.mount)
            found = []
            for path in _paths(client, mount, below):
                told = client.secrets.kv.v2.read_secret_version(
                    path, mount_point=mount, raise_on_deleted_version=False
                )
                fields = told["data"]["data"] or {}
                certificate, key = (
                    next((name for name, text in fields.items() if mark in str(text)), None)
                    for mark in ("-----BEGIN CERTIFICATE-----", "PRIVATE KEY-----")
                )
                if certificate and key:
                    names, leaf = shown(fields[certificate])
                    settings = {"kind": "vault", "address": address, "mount": mount, "path": path}
                    settings |= {"certificate_field": certificate, "key_field": key}
                    found.append(Found("vault", names, (), leaf, settings))
        return found


class VaultInstaller(ElsewhereInstaller):
    """One secret with a certificate and its key.

    Other fields of the secret stay as they are. The store keeps versions itself, which a rollback goes
    back to: its ``max_versions`` (10, unless set) must be 2 at least.

    Parameters
    ----------
    settings : VaultInstallerSettings
        Its texts without fields to fill in.
    """

    def __init__(self, settings: VaultInstallerSettings) -> None:
        self._settings = settings

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return self._where

    def current(self) -> str | None:
        """Give the fingerprint of the leaf in the secret; None if there is none.

        Raises
        ------
        InstallationError
            If Vault cannot be asked.
        """
        _, fields = self._read(login(self._settings, InstallationError))
        return _fingerprint(fields.get(self._settings.certificate_field))

    def check_files(self) -> None:
        """Refuse a secret that is not there, is broken, or may not be written.

        Raises
        ------
        InstallationError
            If so.
        """
        settings = self._settings
        client = login(settings, InstallationError)
        _, fields = self._read(client)
        pair = [
            str(fields.get(name, "")).encode() for name in (settings.certificate_field, settings.key_field)
        ]
        try:
            check_pair(*pair)
        except InstallationError as error:
            raise InstallationError(
                f"what is in {self._where} is broken already and could not be put back: {error}",
                code="config",
            ) from error
        path = f"{settings.mount}/data/{settings.path}"
        with explained(settings, InstallationError):
            told = client.sys.get_capabilities([path])
        able = set(told.get("data", told).get(path, []))
        if not able & {"root", "update"}:
            raise InstallationError(
                f"the token may not update {path}: give its policy the capabilities read and update",
                code="permission",
            )

    def swap(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Write a new version of the secret, and read it back.

        Raises
        ------
        InstallationError
            If certificate and key do not belong together, or Vault refuses.
        """
        check_pair(chain_pem, key_pem)
        settings = self._settings
        new = {
            settings.certificate_field: chain_pem.decode("ascii"),
            settings.key_field: key_pem.decode("ascii"),
        }
        if settings.certificate_field == settings.key_field:
            new = {settings.key_field: (chain_pem.rstrip() + b"\n" + key_pem).decode("ascii")}
        self._put(new, leaf_fingerprint(chain_pem), key_pem)

    def restore(self, fingerprint: str) -> None:
        """Write an older version of the secret again.

        Raises
        ------
        InstallationError
            If no version that is kept holds it, or Vault refuses.
        """
        client, settings = login(self._settings, InstallationError), self._settings
        version, fields = self._read(client)
        if _fingerprint(fields.get(settings.certificate_field)) == fingerprint:
            return
        for older in range(version - 1, 0, -1):
            _, fields = self._read(client, older, missing_ok=True)
            if _fingerprint(fields.get(settings.certificate_field)) == fingerprint:
                names = {settings.certificate_field, settings.key_field}
                pair = {name: str(fields.get(name, "")) for name in names}
                self._put(pair, fingerprint, *(text.encode() for text in pair.values()))
                return
        raise InstallationError(
            f"no version of {self._where} holds {fingerprint[:12]}: raise max_versions, and put back a backup"
        )

    def describe(self) -> list[str]:
        """Say what would be replaced."""
        return [f"switch {self._where}"]

    @property
    def _where(self) -> str:
        settings = self._settings
        return f"{settings.mount}/{settings.path} of Vault at {settings.address}"

    def _put(self, new: dict[str, str], fingerprint: str, *secrets: bytes) -> None:
        from hvac import exceptions

        client, settings = login(self._settings, InstallationError), self._settings
        for _ in range(_TRIES):
            version, fields = self._read(client)
            if _fingerprint(fields.get(settings.certificate_field)) == fingerprint:
                return
            with explained(settings, InstallationError, *secrets):
                try:
                    client.secrets.kv.v2.create_or_update_secret(
                        settings.path, {**fields, **new}, cas=version, mount_point=settings.mount
                    )
                except exceptions.InvalidRequest as error:
                    if "check-and-set" not in str(error):
                        raise
        _, fields = self._read(client)
        if _fingerprint(fields.get(settings.certificate_field)) != fingerprint:
            raise InstallationError(f"{self._where} is written by others all the time: act again later")

    def _read(
        self, client: Any, version: int | None = None, *, missing_ok: bool = False
    ) -> tuple[int, dict[str, Any]]:
        """Give the number of a version and its fields."""
        from hvac import exceptions

        settings = self._settings
        with explained(settings, InstallationError):
            try:
                told = client.secrets.kv.v2.read_secret_version(
                    settings.path, version, mount_point=settings.mount, raise_on_deleted_version=True
                )
            except exceptions.InvalidPath:
                if missing_ok:
                    return version or 0, {}
                raise InstallationError(
                    f"{self._where} does not exist, or its mount is not version 2 of the key-value store: "
                    "certificates are replaced, a first one is put in place by hand",
                    code="config",
                ) from None
        try:
            return int(told["data"]["metadata"]["version"]), dict(told["data"]["data"])
        except (KeyError, TypeError, ValueError):
            raise InstallationError(
                f"{self._where} is in no key-value store of version 2, which keeps what is replaced",
                code="config",
            ) from None


def _fingerprint(pem: Any) -> str | None:
    try:
        return leaf_fingerprint(str(pem or "").encode())
    except InstallationError:
        return None


def _mount(client: Any, place: str) -> tuple[str, str]:
    """Split a path into its mount and the rest."""
    told = client.adapter.get(f"/v1/sys/internal/ui/mounts/{place.strip('/')}")["data"]
    mount = str(told["path"]).strip("/")
    if told.get("type") != "kv" or (told.get("options") or {}).get("version") != "2":
        raise InstallationError(f"{mount} is no key-value store of version 2", code="config")
    return mount, place.strip("/").removeprefix(mount).strip("/")


def _paths(client: Any, mount: str, path: str) -> Iterator[str]:
    """Give the secrets below a path, or the one that is there."""
    from hvac import exceptions

    try:
        told = client.secrets.kv.v2.list_secrets(path, mount_point=mount)
    except exceptions.InvalidPath:  # no folder
        with suppress(exceptions.InvalidPath):
            client.secrets.kv.v2.read_secret_metadata(path, mount_point=mount)
            yield path
        return
    for name in told["data"]["keys"]:
        whole = f"{path}/{name}".strip("/")
        if name.endswith("/"):
            yield from _paths(client, mount, whole)
        else:
            yield whole
