"""What Caddy (its library certmagic) keeps of the certificates it manages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from certforecast.clock import Clock, system_clock
from certforecast.errors import SourceError
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, batches
from certforecast.history.sources.clients import Lineage
from certforecast.history.sources.jsonfiles import json_object

__all__ = ["CaddySource"]


class CaddySource(Source):
    """Lineages of Caddy, from the storage of its library certmagic (``certificates/ISSUER/NAME/NAME.crt``).

    The storage holds one version of each lineage: a row of ``certificates``, an event ``issued`` and a row of
    ``hosts``, known from the file's modification time on. The window in which the CA suggests to renew
    (RFC 9773), if Caddy knew it, is in the event's detail. Keys and locks are never opened.

    Parameters
    ----------
    path : path or str
        The folder that holds ``certificates/``, such as ``/var/lib/caddy/.local/share/caddy``.
    clock : callable
        Bounds times from the future.
    """

    name = "caddy"

    def __init__(self, path: Path | str, *, clock: Clock = system_clock) -> None:
        self.path = Path(path)
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say how many lineages there are."""
        found = [file for file in _certificates(path) if file.with_suffix(".json").is_file()]
        return f"{len(found)} lineages of Caddy" if found else None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of certificates, events and hosts.

        Raises
        ------
        SourceError
            If the folder has no ``certificates/``.
        """
        if not (self.path / "certificates").is_dir():
            raise SourceError(
                f"{self.path} is no storage of Caddy: it has no certificates/; give its data folder, such as"
                " /var/lib/caddy/.local/share/caddy"
            )
        yield from batches(self._read())

    def _read(self) -> Iterator[Found | Rejected]:
        for file in _certificates(self.path):
            position = file.relative_to(self.path).as_posix()
            about: dict[str, Any] = {}
            try:
                about = json_object(file.with_suffix(".json"))
            except (OSError, ValueError) as error:
                yield Rejected(
                    position.removesuffix(".crt") + ".json", f"description cannot be read: {error}"
                )
            told = _dict(about.get("issuer_data"))
            lineage = Lineage(
                # certmagic writes a wildcard as "wildcard_.".
                name=file.stem.replace("wildcard_", "*", 1),
                client=self.name,
                issuer=_text(told.get("ca")) or file.parent.parent.name,
                detail=_window(told),
            )
            yield from lineage.finds(file, position, self.clock)


def _certificates(path: Path) -> list[Path]:
    return sorted(file for file in path.glob("certificates/*/*/*.crt") if file.stem == file.parent.name)


def _window(told: dict[str, Any]) -> str | None:
    window = _dict(_dict(told.get("renewal_info")).get("suggestedWindow"))
    start, end = _text(window.get("start")), _text(window.get("end"))
    return f"suggested window {start} to {end}" if start and end else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
