"""What Traefik keeps of the certificates it manages."""

import base64
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, batches
from certforecast.history.sources.clients import Lineage
from certforecast.history.sources.exports import look
from certforecast.history.sources.jsonfiles import json_object
from certforecast.history.x509 import certificate_row, split_pem

__all__ = ["TraefikSource"]

#: The longest storage that is read, in bytes.
_LIMIT: Final = 1 << 28


#: CAs date certificates back by so much at most, so that they hold where clocks are slow.
_DATED_BACK: Final = timedelta(hours=1)


class TraefikSource(Source):
    """Lineages of Traefik, from its storage ``acme.json`` (versions 1, 2 and 3).

    The file holds one version of each lineage: a row of ``certificates``, an event ``issued`` and a row of
    ``hosts``. It does not say when each was issued, but Traefik writes a certificate as soon as it has it:
    each is known from an hour after its beginning on (CAs date back by so much at most), and from the file's
    modification time on at the latest. Keys are never looked at.

    Parameters
    ----------
    path : path or str
        The file.
    clock : callable
        Bounds times from the future.
    """

    name = "traefik"

    def __init__(self, path: Path | str, *, clock: Clock = system_clock) -> None:
        self.path = Path(path)
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say whether a file is Traefik's storage."""
        beginning = look(path).lstrip()
        if beginning.startswith("{") and '"Account"' in beginning and '"Registration"' in beginning:
            return "Traefik's storage of ACME certificates"
        return None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of certificates, events and hosts.

        Raises
        ------
        SourceError
            If the file is missing or is no such storage.
        """
        if not self.path.is_file():
            raise SourceError(f"{self.path} is no file; give Traefik's acme.json")
        try:
            stored = json_object(self.path, _LIMIT)
            modified = datetime.fromtimestamp(self.path.stat().st_mtime, UTC)
        except (OSError, ValueError) as error:
            raise SourceError(f"{self.path} cannot be read as Traefik's acme.json: {error}") from error
        # Version 1 has one account, and no resolvers.
        resolvers = {"acme": stored} if "Certificates" in stored else stored
        held = {name: _list(_dict(resolver).get("Certificates")) for name, resolver in resolvers.items()}
        if not any("Account" in _dict(resolver) for resolver in resolvers.values()):
            raise SourceError(f"{self.path} has no account and no resolver: it is no acme.json of Traefik")
        yield from batches(
            find
            for name, entries in held.items()
            for number, entry in enumerate(entries)
            for find in self._finds(name, entry, f"{self.path.name}#{name}/{number}", modified)
        )

    def _finds(
        self, resolver: str, entry: Any, position: str, modified: datetime
    ) -> Iterator[Found | Rejected]:
        domain = _dict(_either(_dict(entry), "domain", "Domain"))
        try:
            row = self._row(_either(_dict(entry), "certificate", "Certificate"), modified)
        except InputError as error:
            yield Rejected(position, str(error))
            return
        main = _either(domain, "main", "Main")
        lineage = Lineage(
            name=main if isinstance(main, str) and main else row["names"][0],
            client=self.name,
            issuer=row["issuer_org"] or row["issuer_dn"],
            detail=f"resolver={resolver}",
        )
        found = Found("certificates", row, position)
        yield found
        yield from lineage.told_by(found)

    def _row(self, encoded: Any, modified: datetime) -> dict[str, Any]:
        if not isinstance(encoded, str):
            raise InputError("entry has no certificate")
        try:
            chain = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError(f"certificate is not base64: {error}") from error
        _, der = next(split_pem(chain), (0, InputError("entry holds no PEM certificate")))
        if isinstance(der, InputError):
            raise der
        row = certificate_row(der, source=self.name, known_at=modified)
        known = min(row["not_before"] + _DATED_BACK, max(modified, row["not_before"]), self.clock())
        return {**row, "known_at": known, "details_known_at": known}


def _either(entry: dict[str, Any], *names: str) -> Any:
    return next((entry[name] for name in names if name in entry), None)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
