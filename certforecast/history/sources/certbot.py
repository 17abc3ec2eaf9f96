"""A certbot tree and its log: the versions kept of each lineage, how each renews, and what went wrong."""

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from configobj import ConfigObj, ConfigObjError

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.names import host_of
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.sources.certbot_lineages import Lineages, versions
from certforecast.history.sources.certbot_log import LogEvent
from certforecast.history.sources.certbot_log_files import NAME, read_logs
from certforecast.history.sources.pem import read_file
from certforecast.history.sources.zones import time_zone

__all__ = ["CertbotSource"]

#: Settings that the newest version's event tells of.
_TOLD: Final = ("authenticator", "installer", "account", "renew_before_expiry", "version")

#: Where certbot has its tree and its log unless told otherwise.
_USUAL_TREE: Final = Path("/etc/letsencrypt")
_USUAL_LOGS: Final = Path("/var/log/letsencrypt")


class CertbotSource(Source):
    """Lineages of certbot (``/etc/letsencrypt``: ``live/ archive/ renewal/``) and its log.

    Every ``archive/NAME/certN.pem`` is a certificate and an event ``issued`` of the lineage NAME, known from
    the file's modification time on. The version that ``live/NAME/cert.pem`` points at is also an event
    ``staged`` at the link's own time: certbot has put it in place, which proves no server that loaded it.

    certbot keeps in ``renewal/NAME.conf`` what the newest version was issued with. So that version's event
    tells of it (the server as its code), those of older versions do not, and the row of ``hosts`` that it
    gives for the version's first name is known from the newest version on.

    The log (``letsencrypt.log*``, also packed) tells what leaves no file: orders, failed challenges and
    orders with their ACME kind as code, failed hooks and reloads, configurations that cannot be read,
    revocations, deletions, and issues whose files are gone. All are known from the time of their line on. Dry
    runs are no attempts.

    A lineage's name need not be a certificate's (``www.example.org-0001``), so all its events carry the first
    name in `host`. A failed first request has no lineage; its events go by the first name asked for.

    Private keys are never opened.

    Parameters
    ----------
    path : path or str
        The folder that holds ``archive/``.
    logs : path, optional
        The folder of the log. Unless given, ``/var/log/letsencrypt`` if the tree is ``/etc/letsencrypt``, or
        else a folder beside the tree whose name begins with ``log``, if it holds certbot's.
    timezone : str
        Of the log's times, by its IANA name. It counts only for runs that hold no answer of a CA, as these
        carry the time in UTC.
    clock : callable
        Bounds times from the future.
    """

    name = "certbot"

    def __init__(
        self,
        path: Path | str,
        *,
        logs: Path | None = None,
        timezone: str = "UTC",
        clock: Clock = system_clock,
    ) -> None:
        self.path = Path(path)
        self.logs = logs
        self.timezone = timezone
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say how many lineages there are."""
        with suppress(OSError):
            if (path / "renewal").is_dir() and (found := _lineages(path)):
                return f"{len(found)} lineages of certbot"
        return None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of certificates, events and hosts.

        A broken certificate, renewal file or log is rejected with its position; the rest is read. Lineages
        and logs that have not changed are not read again; a log that has grown is read from its last run on.

        Raises
        ------
        SourceError
            If the folder has no ``archive/``, or the folder of logs no log.
        InputError
            If the time zone is unknown.
        """
        if not (self.path / "archive").is_dir():
            raise SourceError(
                f"{self.path} is no certbot tree: it has no archive/ folder; give the folder that holds"
                " live/, archive/ and renewal/, such as /etc/letsencrypt"
            )
        zone, logs = time_zone(self.timezone), self._logs()
        yield from batches(self._read(marks, zone, logs))

    def _logs(self) -> Path | None:
        if self.logs is not None:
            if not _has_logs(Path(self.logs)):
                raise SourceError(
                    f"{self.logs} is no folder with {NAME}; give the one of certbot's --logs-dir"
                )
            return Path(self.logs)
        tree = self.path.resolve()
        beside = [_USUAL_LOGS] if tree == _USUAL_TREE else sorted(tree.parent.glob("log*"))
        return next((folder for folder in beside if _has_logs(folder)), None)

    def _read(
        self, marks: Marks, zone: ZoneInfo, logs: Path | None
    ) -> Iterator[Found | Rejected | Mark | Skipped]:
        try:
            folders = _lineages(self.path)
        except OSError as error:
            raise SourceError(f"{self.path}/archive cannot be read: {error}") from error
        for folder in folders:
            place = str(folder.resolve())
            try:
                state = self._state(folder)
            except OSError as error:
                yield Rejected(f"archive/{folder.name}", f"folder cannot be read: {error}")
                continue
            if marks.get(place) == state:
                yield Skipped(place)
            else:
                yield from self._lineage(folder)
                yield Mark(place, state)
        if logs is not None:
            yield from self._log(logs, zone, marks, folders)

    def _state(self, folder: Path) -> str:
        """Tell the files of a lineage by their sizes and times."""
        parts = [*versions(folder), self.path / "renewal" / f"{folder.name}.conf", self._link(folder.name)]
        seen = hashlib.sha256()
        for path in parts:
            if path.is_symlink() or path.exists():
                stat = path.lstat()
                seen.update(f"{path.name}:{stat.st_size}:{stat.st_mtime_ns}\n".encode())
        return seen.hexdigest()[:32]

    def _link(self, lineage: str) -> Path:
        return self.path / "live" / lineage / "cert.pem"

    def _lineage(self, folder: Path) -> Iterator[Found | Rejected]:
        certificates: dict[str, Found] = {}
        for path in versions(folder):
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
        link = self._link(lineage)
        if link.is_symlink() and (found := certificates.get(link.readlink().name)):
            staged = datetime.fromtimestamp(link.lstat().st_mtime, UTC)
            yield self._event(lineage, "staged", min(staged, self.clock()), found)

    def _event(self, lineage: str, kind: str, at: datetime, found: Found) -> Found:
        row = {
            "at": at,
            "lineage": lineage,
            "kind": kind,
            "host": host_of(found.row["names"]),
            "fingerprint": found.row["fingerprint"],
            "actor": "certbot",
            "source": self.name,
            "known_at": at,
        }
        return Found("events", row, found.position)

    def _host(self, certificates: list[Found], settings: dict[str, str], position: str) -> Found:
        row = {
            "host": host_of(certificates[-1].row["names"]),
            "automation": "certbot",
            "issuer": settings.get("server"),
            "installer": settings.get("installer"),
            "valid_from": min(found.row["known_at"] for found in certificates),
            "known_at": certificates[-1].row["known_at"],
        }
        return Found("hosts", row, position)

    def _log(
        self, logs: Path, zone: ZoneInfo, marks: Marks, folders: list[Path]
    ) -> Iterator[Found | Rejected | Mark | Skipped]:
        tree = Lineages(folders, self.clock)
        for find in read_logs(logs, zone, marks, self.clock()):
            if not isinstance(find, LogEvent):
                yield find
            elif not tree.has_issue(find):
                yield Found(
                    "events", {**tree.row(find), "actor": "certbot", "source": self.name}, find.position
                )


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


def _has_logs(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob(f"{NAME}*"))


def _lineages(tree: Path) -> list[Path]:
    """List the folders of ``archive/``.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    return sorted(folder for folder in (tree / "archive").iterdir() if folder.is_dir())


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
