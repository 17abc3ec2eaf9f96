"""A certbot tree: the versions it keeps of each lineage, and how each renews."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from configobj import ConfigObj, ConfigObjError

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, batches
from certforecast.history.sources.pem import read_file

__all__ = ["CertbotSource"]

_VERSION: Final = re.compile(r"cert(\d{1,9})\.pem")

#: Settings that the newest version's event tells of.
_TOLD: Final = ("authenticator", "installer", "account", "renew_before_expiry", "version")


class CertbotSource(Source):
    """Lineages of a certbot configuration folder (``/etc/letsencrypt``: ``live/ archive/ renewal/``).

    Every ``archive/NAME/certN.pem`` is a certificate and an event ``issued`` of the lineage NAME, known from
    the file's modification time on. The version that ``live/NAME/cert.pem`` points at is also an event
    ``staged`` at the link's own time: certbot has put it in place, which proves no server that loaded it.

    certbot keeps in ``renewal/NAME.conf`` what the newest version was issued with. So that version's event
    tells of it (the server as its code), those of older versions do not, and the row of ``hosts`` that it
    gives for the version's first name is known from the newest version on.

    Private keys are never opened.

    Parameters
    ----------
    path : path or str
        The folder that holds ``archive/``.
    clock : callable
        Bounds times from the future.
    """

    name = "certbot"

    def __init__(self, path: Path | str, *, clock: Clock = system_clock) -> None:
        self.path = Path(path)
        self.clock = clock

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of certificates, events and hosts.

        A broken certificate or renewal file is rejected with its position; the rest is read.

        Raises
        ------
        SourceError
            If the folder has no ``archive/``.
        """
        if not (self.path / "archive").is_dir():
            raise SourceError(
                f"{self.path} is no certbot tree: it has no archive/ folder; give the folder that holds"
                " live/, archive/ and renewal/, such as /etc/letsencrypt"
            )
        yield from batches(self._read())

    def _read(self) -> Iterator[Found | Rejected]:
        for folder in sorted((self.path / "archive").iterdir()):
            if folder.is_dir():
                yield from self._lineage(folder)

    def _lineage(self, folder: Path) -> Iterator[Found | Rejected]:
        certificates: dict[str, Found] = {}
        for path in _versions(folder):
            for find in read_file(path, f"archive/{folder.name}/{path.name}", self.name, self.clock):
                if isinstance(find, Found):
                    certificates[path.name] = find
                yield find
        settings: dict[str, str] = {}
        conf = f"renewal/{folder.name}.conf"
        try:
            settings = _settings(self.path / conf)
        except InputError as error:
            yield Rejected(conf, str(error))
        if certificates:
            yield from self._events(folder.name, list(certificates.values()), settings)
            yield from self._staged(folder.name, certificates)
            if settings:
                yield self._host(list(certificates.values()), settings, conf)

    def _events(self, lineage: str, certificates: list[Found], settings: dict[str, str]) -> Iterator[Found]:
        *older, newest = certificates
        for found in older:
            yield self._event(lineage, "issued", found.row["known_at"], found)
        told = "; ".join(f"{key}={settings[key]}" for key in _TOLD if key in settings)
        event = self._event(lineage, "issued", newest.row["known_at"], newest)
        event.row.update(code=settings.get("server"), detail=told or None)
        yield event

    def _staged(self, lineage: str, certificates: dict[str, Found]) -> Iterator[Found]:
        link = self.path / "live" / lineage / "cert.pem"
        if link.is_symlink() and (found := certificates.get(link.readlink().name)):
            staged = datetime.fromtimestamp(link.lstat().st_mtime, UTC)
            yield self._event(lineage, "staged", min(staged, self.clock()), found)

    def _event(self, lineage: str, kind: str, at: datetime, found: Found) -> Found:
        row = {
            "at": at,
            "lineage": lineage,
            "kind": kind,
            "host": _first_name(found),
            "actor": "certbot",
            "source": self.name,
            "known_at": at,
        }
        return Found("events", row, found.position)

    def _host(self, certificates: list[Found], settings: dict[str, str], position: str) -> Found:
        row = {
            "host": _first_name(certificates[-1]),
            "automation": "certbot",
            "issuer": settings.get("server"),
            "installer": settings.get("installer"),
            "valid_from": min(found.row["known_at"] for found in certificates),
            "known_at": certificates[-1].row["known_at"],
        }
        return Found("hosts", row, position)


def _settings(path: Path) -> dict[str, str]:
    """Read what a renewal configuration sets, ``[renewalparams]`` and the rest in one; empty if gone."""
    if not path.exists():
        return {}
    try:
        parsed = ConfigObj(str(path), encoding="utf-8", file_error=True, interpolation=False)
    except (ConfigObjError, OSError, ValueError) as error:
        raise InputError(f"renewal configuration cannot be read: {error}") from error
    parameters = parsed.get("renewalparams")
    if not isinstance(parameters, dict):
        raise InputError("renewal configuration has no [renewalparams]; it is empty or cut off")
    settings = {key: _text(value) for key, value in [*parsed.items(), *parameters.items()]}
    return {key: value for key, value in settings.items() if value not in ("", "None")}


def _versions(folder: Path) -> list[Path]:
    """List ``certN.pem`` in the order of N."""
    matched = [(match, path) for path in folder.iterdir() if (match := _VERSION.fullmatch(path.name))]
    return [path for _, path in sorted((int(match[1]), path) for match, path in matched)]


def _first_name(found: Found) -> str:
    """Give the first name that is one host's, else the first."""
    names: list[str] = found.row["names"]
    return next((name for name in names if "*" not in name), names[0])


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
