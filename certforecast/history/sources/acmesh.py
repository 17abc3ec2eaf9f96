"""What acme.sh keeps of the certificates it manages."""

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import SourceError
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, batches
from certforecast.history.sources.clients import Lineage

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
#: The end of the folders of elliptic keys.
_ELLIPTIC: Final = "_ecc"


class AcmeShSource(Source):
    """Lineages of acme.sh, from its home (``~/.acme.sh``): ``DOMAIN/DOMAIN.conf`` and ``DOMAIN.cer``.

    acme.sh keeps one version of each lineage: a row of ``certificates``, an event ``issued`` and a row of
    ``hosts``, known from the time in the configuration (`Le_CertCreateTime`), or else from the file's.
    When it means to renew next is in the event's detail. Keys, commands and saved credentials are never
    repeated.

    Parameters
    ----------
    path : path or str
        The home of acme.sh (its ``--config-home``).
    clock : callable
        Bounds times from the future.
    """

    name = "acmesh"

    def __init__(self, path: Path | str, *, clock: Clock = system_clock) -> None:
        self.path = Path(path)
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say how many lineages there are."""
        found = _configurations(path)
        return f"{len(found)} lineages of acme.sh" if found else None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of certificates, events and hosts.

        Raises
        ------
        SourceError
            If the folder holds no lineage.
        """
        if not _configurations(self.path):
            raise SourceError(
                f"{self.path} holds no lineage of acme.sh (DOMAIN/DOMAIN.conf); give its home, ~/.acme.sh"
                " unless set"
            )
        yield from batches(self._read())

    def _read(self) -> Iterator[Found | Rejected]:
        for file in _configurations(self.path):
            folder = file.parent.name
            try:
                settings = _settings(file)
            except (OSError, ValueError) as error:
                yield Rejected(f"{folder}/{file.name}", f"configuration cannot be read: {error}")
                settings = {}
            certificate = file.with_suffix(".cer")
            if not certificate.exists():
                if settings:
                    yield Rejected(
                        f"{folder}/{file.name}", f"no certificate {certificate.name} beside it yet"
                    )
                continue
            # The key's kind is part of the name: both kinds are renewed side by side.
            lineage = Lineage(
                name=settings.get("Le_Domain", file.stem) + (_ELLIPTIC if folder.endswith(_ELLIPTIC) else ""),
                client=self.name,
                issuer=settings.get("Le_API"),
                detail="; ".join(f"{key}={settings[key]}" for key in _TOLD if key in settings) or None,
                issued_at=_moment(settings.get("Le_CertCreateTime")),
            )
            yield from lineage.finds(certificate, f"{folder}/{certificate.name}", self.clock)


def _configurations(path: Path) -> list[Path]:
    return sorted(
        file
        for file in path.glob("*/*.conf")
        if file.stem == file.parent.name.removesuffix(_ELLIPTIC) and not file.parent.is_symlink()
    )


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


def _moment(seconds: str | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(seconds or ""), UTC)
    except (ValueError, OverflowError, OSError):
        return None
