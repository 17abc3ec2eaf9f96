"""What acme.sh keeps of the certificates it manages, and its log."""

import base64
import binascii
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from certforecast.clock import Clock, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.names import normalise_name
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source
from certforecast.history.sources.acmesh_log import LogEvent, begins_attempt, read_log, time_of
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.sources.clients import Lineage, unless_unchanged
from certforecast.history.sources.rotating import LogFile, log_files
from certforecast.history.sources.zones import time_zone

__all__ = ["AcmeShSource"]

#: One setting, as acme.sh writes it: a shell assignment in single quotes.
_SETTING: Final = re.compile(r"^([A-Za-z_][A-Za-z0-9_]*)='(.*)'\s*$", re.MULTILINE)
_ENCODED: Final = re.compile(r"^__ACME_BASE64__START_(.*)__ACME_BASE64__END_$")
#: The longest configuration that is read, in bytes; real ones have one or two thousand.
_LIMIT: Final = 1 << 20
#: What tells how the lineage renews. Others hold commands and credentials, and are not repeated.
_TOLD: Final = (
    "Le_Keylength",
    "Le_RenewalDays",
    "Le_NextRenewTimeStr",
    "Le_Certificate_Profile",
)
#: Commands that reload one service and nothing else; of any other it is not certain what they do.
_RELOAD: Final = re.compile(
    r"(?:sudo )?(?:systemctl (?:force-)?(?:try-)?(?:reload|restart|reload-or-restart) ([\w@-]+)(?:\.service)?"
    r"|(?:service |/etc/init\.d/)([\w-]+) (?:force-)?(?:reload|restart)|([\w-]+) -s reload)"
)
#: The end of the folders of elliptic keys.
_ELLIPTIC: Final = "_ecc"
_LOG: Final = "acme.sh.log"

#: How far apart the log's line and the configuration's time are for one issue.
_SAME: Final = timedelta(minutes=1)


class AcmeShSource(Source):
    """Lineages of acme.sh, from its home (``~/.acme.sh``): ``DOMAIN/DOMAIN.conf`` and ``DOMAIN.cer``.

    acme.sh keeps one version of each lineage: a row of ``certificates``, an event ``issued`` and a row of
    ``hosts``, known from the time that the configuration gives (`Le_CertCreateTime`), or else from the
    file's. The row of ``hosts`` is known from the time of the configuration, as attempts that fail write it
    too. When acme.sh means to renew next is in the event's detail. Keys, commands and saved credentials are
    never repeated.

    The log tells of orders, failed challenges and orders with their ACME kind as code, earlier issues,
    reloads and what went wrong with them, known from the time of the line on.

    Parameters
    ----------
    path : path or str
        The home of acme.sh (its ``--config-home``).
    log : path, optional
        The log, if it is not ``acme.sh.log`` in the home; acme.sh writes one only when told to (``--log``).
    timezone : str
        Of the log's times where they name a zone that is not UTC, by its IANA name.
    clock : callable
        Bounds times from the future.
    """

    name = "acmesh"

    def __init__(
        self,
        path: Path | str,
        *,
        log: Path | None = None,
        timezone: str = "UTC",
        clock: Clock = system_clock,
    ) -> None:
        self.path = Path(path)
        self.log = log
        self.timezone = timezone
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say how many lineages there are."""
        with suppress(OSError):
            found = _configurations(path)
            if any(_has_domain(file) for file in found):
                return f"{len(found)} lineages of acme.sh"
        return None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of certificates, events and hosts. What has not changed is not read again.

        Raises
        ------
        SourceError
            If the folder holds no lineage, or the log that was named is missing.
        InputError
            If the time zone is unknown.
        """
        if not _configurations(self.path):
            raise SourceError(
                f"{self.path} holds no lineage of acme.sh (DOMAIN/DOMAIN.conf); give its home, ~/.acme.sh"
                " unless set"
            )
        if self.log is not None and not _is_file(self.log):
            raise SourceError(f"{self.log} does not exist; give the log of acme.sh, its LOG_FILE")
        yield from batches(self._read(marks, time_zone(self.timezone)))

    def _read(self, marks: Marks, zone: ZoneInfo) -> Iterator[Found | Rejected | Mark | Skipped]:
        for file in _configurations(self.path):
            certificate = file.with_suffix(".cer")
            yield from unless_unchanged(marks, [file, certificate], self._lineage(file, certificate))
        log = self.path / _LOG if self.log is None else self.log
        for part in log_files(log, time_of, begins_attempt):
            yield from [part] if isinstance(part, Rejected) else self._log(part, zone, marks)

    def _lineage(self, file: Path, certificate: Path) -> Iterator[Found | Rejected]:
        folder, settings = file.parent.name, dict[str, str]()
        try:
            settings = _settings(file)
        except (OSError, ValueError) as error:
            yield Rejected(f"{folder}/{file.name}", f"configuration cannot be read: {error}")
        if not certificate.exists():
            if settings:
                yield Rejected(f"{folder}/{file.name}", f"no certificate {certificate.name} beside it yet")
            return
        lineage = Lineage(
            name=settings.get("Le_Domain", file.stem),
            client=self.name,
            issuer=settings.get("Le_API"),
            detail="; ".join(f"{key}={settings[key]}" for key in _TOLD if key in settings) or None,
            issued_at=_moment(settings.get("Le_CertCreateTime")),
            installer=_installer(settings),
            settings_at=min(_modified(file), self.clock()),
        )
        yield from lineage.finds(certificate, f"{folder}/{certificate.name}", self.clock)

    def _log(
        self, file: LogFile, zone: ZoneInfo, marks: Marks
    ) -> Iterator[Found | Rejected | Mark | Skipped]:
        state = marks.get(file.place)
        if state is not None and not file.resume(state, zone.key):
            yield Skipped(file.place)
            return
        now, kept = self.clock(), self._issues()
        for event in read_log(file.lines(), zone):
            if not isinstance(event, LogEvent):
                yield Rejected(event[0], str(event[1]))
            elif event.at > now:
                when = f"{event.kind} at {event.at:%Y-%m-%d %H:%M:%S}Z"
                yield Rejected(event.position, f"{when} is in the future; give the log's own timezone")
            elif event.kind != "issued" or not any(
                abs(at - event.at) <= _SAME for at in kept.get(event.lineage, [])
            ):
                yield Found("events", self._row(event), event.position)
        if file.error is not None:
            yield Rejected(file.path.name, f"log cannot be read to its end: {file.error}")
        yield Mark(file.place, file.state(zone.key))

    def _issues(self) -> dict[str, list[datetime]]:
        """Give by domain the issues that the configurations tell of."""
        found: dict[str, list[datetime]] = {}
        for file in _configurations(self.path):
            with suppress(OSError, ValueError):
                settings = _settings(file)
                if at := _moment(settings.get("Le_CertCreateTime")):
                    found.setdefault(settings["Le_Domain"], []).append(at)
        return found

    def _row(self, event: LogEvent) -> dict[str, Any]:
        host = event.host or event.lineage
        with suppress(InputError):
            host = normalise_name(host)
        return {
            "at": event.at,
            "lineage": event.lineage,
            "kind": event.kind,
            "host": host,
            "code": event.code,
            "detail": event.detail,
            "actor": self.name,
            "source": self.name,
            "known_at": event.at,
        }


def _configurations(path: Path) -> list[Path]:
    return sorted(
        file
        for file in path.glob("*/*.conf")
        if file.stem == file.parent.name.removesuffix(_ELLIPTIC) and not file.parent.is_symlink()
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _has_domain(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return b"Le_Domain=" in content.read(_LIMIT)
    except OSError:
        return False


def _settings(path: Path) -> dict[str, str]:
    """Read the settings named Le_ ...

    Raises
    ------
    ValueError
        If there are none.
    """
    if path.stat().st_size > _LIMIT:
        raise ValueError(f"it is longer than {_LIMIT} bytes")
    text = path.read_text(encoding="utf-8")
    found = {
        name: _decoded(value) for name, value in _SETTING.findall(text) if name.startswith("Le_") and value
    }
    if "Le_Domain" not in found:
        raise ValueError("it has no Le_Domain; it is empty or cut off")
    return found


def _decoded(value: str) -> str:
    if (match := _ENCODED.match(value)) is None:
        return value
    try:
        return base64.b64decode(match[1], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return value


def _installer(settings: dict[str, str]) -> str | None:
    """Tell what the certificate is installed into: a deploy hook of acme.sh, or the service reloaded."""
    if hook := settings.get("Le_DeployHook", "").strip(", "):
        return hook
    match = _RELOAD.fullmatch(settings.get("Le_ReloadCmd", "").strip())
    return next(name for name in match.groups() if name) if match else None


def _modified(file: Path) -> datetime:
    with suppress(OSError, OverflowError, ValueError):
        return datetime.fromtimestamp(file.stat().st_mtime, UTC)
    return datetime.fromtimestamp(0, UTC)


def _moment(seconds: str | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(seconds or ""), UTC)
    except (ValueError, OverflowError, OSError):
        return None
