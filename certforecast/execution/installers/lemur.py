"""Netflix Lemur: the certificate is handed to the central manager, which takes it to where it is served."""

from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from certforecast.errors import InstallationError, SourceError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import Installer, InstallerSection
from certforecast.execution.installers.elsewhere import ElsewhereInstaller
from certforecast.history.sources.tokens import read_token
from certforecast.security.redaction import redact

__all__ = ["LemurInstaller", "LemurInstallerSettings"]

_TIMEOUT_S: Final = 60.0
#: What an edit must carry over: Lemur empties the lists that are left out.
_LISTS: Final = ("destinations", "notifications", "roles")
_TEXTS: Final = ("owner", "description", "notify", "rotation")
_SAID: Final = 300
#: Certificates of one lineage that are asked for; more points to something else than a lineage.
_MOST: Final = 200


class LemurInstallerSettings(InstallerSection):
    """Netflix Lemur, by its API."""

    kind: Literal["lemur"]
    url: str = Field(description="of the API, such as https://lemur.example.org/api/1")
    certificate: int = Field(description="id of a certificate in the lineage, such as the first")
    token_file: Path | None = Field(None, description="holds the API key; default LEMUR_TOKEN")
    ca_file: Path | None = Field(None, description="trust roots for the server itself; default the system's")

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        del name
        return LemurInstaller(self)


class LemurInstaller(ElsewhereInstaller):
    """One lineage of certificates in Lemur.

    In place is the certificate that no other replaces. A new one is uploaded as its replacement, with the
    same owner, destinations, notifications and roles; Lemur takes it to its destinations and rotates
    endpoints in its own time. A rollback turns the replacement around: then Lemur rotates back.

    Parameters
    ----------
    settings : LemurInstallerSettings
        Its texts without fields to fill in.
    """

    def __init__(self, settings: LemurInstallerSettings) -> None:
        self._settings = settings

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return self._where

    def current(self) -> str | None:
        """Give the fingerprint of the certificate that no other replaces.

        Raises
        ------
        InstallationError
            If Lemur cannot be asked, or there is no one such certificate.
        """
        return _fingerprint(self._newest())

    def check_files(self) -> None:
        """Refuse a lineage without one newest certificate, or one that Lemur has no key of.

        Raises
        ------
        InstallationError
            If so.
        """
        newest = self._newest()
        if newest.get("hasPrivateKey") is False:
            raise InstallationError(
                f"certificate {newest['id']} of {self._where} has no private key in Lemur, so it could not "
                "be put back",
                code="config",
            )

    def swap(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Upload a certificate as the replacement of the newest one; done already, it is not done again.

        Raises
        ------
        InstallationError
            If certificate and key do not belong together, or Lemur refuses.
        """
        check_pair(chain_pem, key_pem)
        fingerprint, newest = leaf_fingerprint(chain_pem), self._newest()
        if _fingerprint(newest) == fingerprint:
            return
        end = "-----END CERTIFICATE-----\n"
        leaf, _, others = chain_pem.decode("ascii").partition(end)
        upload = {
            **_carried(newest),
            "body": leaf + end,
            "chain": others or None,
            "privateKey": key_pem.decode("ascii"),
            "replaces": [{"id": newest["id"]}],
        }
        self._ask("POST", "certificates/upload", upload, key_pem)
        if self.current() != fingerprint:
            raise InstallationError(f"{self._where} does not have {fingerprint[:12]} after it was uploaded")

    def restore(self, fingerprint: str) -> None:
        """Make an older certificate the replacement of those that replace it.

        Raises
        ------
        InstallationError
            If Lemur has it not, or refuses.
        """
        lineage = self._lineage()
        target = next((one for one in lineage.values() if _fingerprint(one) == fingerprint), None)
        if target is None:
            raise InstallationError(f"{self._where} has no certificate {fingerprint[:12]}: upload it again")
        newer = [lineage[number] for number in _ids(target, "replacedBy")]
        if not newer:
            return
        # In this order: cut off between the two, the next attempt sees what is left to do.
        replaces = {*_ids(target, "replaces"), *(one["id"] for one in newer)}
        self._edit(target, replaces)
        for one in newer:
            self._edit(one, {*_ids(one, "replaces")} - {target["id"]})

    def describe(self) -> list[str]:
        """Say what would be replaced."""
        return [f"switch {self._where}"]

    @property
    def _where(self) -> str:
        return f"the lineage of certificate {self._settings.certificate} in Lemur at {self._settings.url}"

    def _newest(self) -> dict[str, Any]:
        newest = [one for one in self._lineage().values() if not _ids(one, "replacedBy")]
        if len(newest) != 1:
            raise InstallationError(
                f"{self._where} has {len(newest)} certificates that no other replaces, and one is wanted: "
                "mend what replaces what in Lemur",
                code="config",
            )
        return newest[0]

    def _lineage(self) -> dict[int, dict[str, Any]]:
        """Give all certificates that replace one another."""
        found: dict[int, dict[str, Any]] = {}
        wanted = [self._settings.certificate]
        while wanted:
            number = wanted.pop()
            if number in found:
                continue
            if len(found) >= _MOST:
                raise InstallationError(f"{self._where} has more than {_MOST} certificates", code="config")
            found[number] = self._ask("GET", f"certificates/{number}")
            wanted += [*_ids(found[number], "replaces"), *_ids(found[number], "replacedBy")]
        return found

    def _edit(self, certificate: dict[str, Any], replaces: set[int]) -> None:
        document = {**_carried(certificate), "replaces": [{"id": number} for number in sorted(replaces)]}
        self._ask("PUT", f"certificates/{certificate['id']}", document)

    def _ask(
        self, method: str, what: str, document: dict[str, Any] | None = None, *secrets: bytes
    ) -> dict[str, Any]:
        import requests

        settings = self._settings
        try:
            token = read_token(settings.token_file, ("LEMUR_TOKEN",))
        except SourceError as error:
            raise InstallationError(str(error), code="config") from error
        if token is None:
            raise InstallationError(
                "there is no API key for Lemur: set LEMUR_TOKEN or token_file", code="config"
            )
        try:
            answer = requests.request(
                method,
                f"{settings.url.rstrip('/')}/{what}",
                json=document,
                headers={"Authorization": f"Bearer {token}"},
                verify=True if settings.ca_file is None else str(settings.ca_file),
                timeout=_TIMEOUT_S,
                allow_redirects=False,  # a key goes where it was meant to go
            )
        except (requests.RequestException, OSError) as error:
            raise InstallationError(
                f"Lemur at {settings.url} cannot be asked: {redact(str(error), *secrets)}", code="unreachable"
            ) from None
        if answer.status_code == 200:
            told = _document(answer)
            if told is not None:
                return told
        denied = answer.status_code in (401, 403)
        said = " ".join(redact(answer.text, *secrets).split())[:_SAID]
        raise InstallationError(
            f"Lemur at {settings.url} refuses {method} {what}: {answer.status_code} {said or answer.reason}",
            code="permission" if denied else None,
        )


def _document(answer: Any) -> dict[str, Any] | None:
    try:
        told = answer.json()
    except ValueError:
        return None
    return told if isinstance(told, dict) and isinstance(told.get("id"), int) else None


def _carried(certificate: dict[str, Any]) -> dict[str, Any]:
    """Give what a replacement, or an edit, has in common with a certificate."""
    document = {name: certificate[name] for name in _TEXTS if certificate.get(name) is not None}
    return document | {name: [{"id": number} for number in _ids(certificate, name)] for name in _LISTS}


def _ids(certificate: dict[str, Any], name: str) -> list[int]:
    return [int(one["id"]) for one in certificate.get(name) or []]


def _fingerprint(certificate: dict[str, Any]) -> str | None:
    try:
        return leaf_fingerprint(str(certificate.get("body") or "").encode())
    except InstallationError:
        return None
