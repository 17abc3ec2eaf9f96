"""What lego keeps of the certificates it manages."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from certforecast.clock import Clock, system_clock
from certforecast.errors import SourceError
from certforecast.history.sources import NO_MARKS, Batch, Marks, Rejected, Source
from certforecast.history.sources.batching import Found, batches
from certforecast.history.sources.clients import Lineage
from certforecast.history.sources.jsonfiles import json_object
from certforecast.history.sources.pem import read_file

__all__ = ["LegoSource"]

#: What a description says that belongs to how the lineage renews, in versions 4 and 5.
_TOLD: Final = ("keyType", "profile", "preferredChain", "origin")


class LegoSource(Source):
    """Lineages of lego, from its folder (``.lego``): ``certificates/NAME.crt`` and ``NAME.json``.

    The certificate in ``certificates/`` is the one lego holds now: a row of ``certificates``, an event
    ``issued`` and a row of ``hosts``, known from the file's modification time on. The CA is the server of the
    address that ``NAME.json`` gives for the certificate. What version 5 keeps in ``archives/`` are
    certificates too. Keys are never opened.

    Parameters
    ----------
    path : path or str
        The folder that holds ``certificates/``.
    clock : callable
        Bounds times from the future.
    """

    name = "lego"

    def __init__(self, path: Path | str, *, clock: Clock = system_clock) -> None:
        self.path = Path(path)
        self.clock = clock

    @classmethod
    def recognises(cls, path: Path) -> str | None:
        """Say how many lineages there are."""
        found = [file for file in _certificates(path) if file.with_suffix(".json").is_file()]
        return f"{len(found)} lineages of lego" if found else None

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:  # noqa: ARG002
        """Yield batches of certificates, events and hosts.

        Raises
        ------
        SourceError
            If the folder has no ``certificates/``.
        """
        if not (self.path / "certificates").is_dir():
            raise SourceError(
                f"{self.path} is no folder of lego: it has no certificates/; give the folder that lego's"
                " --path names, .lego unless set"
            )
        yield from batches(self._read())

    def _read(self) -> Iterator[Found | Rejected]:
        for file in _certificates(self.path):
            position = f"certificates/{file.name}"
            about: dict[str, Any] = {}
            try:
                about = json_object(file.with_suffix(".json"))
            except (OSError, ValueError) as error:
                yield Rejected(f"certificates/{file.stem}.json", f"description cannot be read: {error}")
            url = about.get("certUrl")
            lineage = Lineage(
                name=_text(about.get("id")) or _text(about.get("domain")) or file.stem,
                client=self.name,
                issuer=urlsplit(url).hostname if isinstance(url, str) else None,
                detail="; ".join(f"{key}={about[key]}" for key in _TOLD if _text(about.get(key))) or None,
            )
            yield from lineage.finds(file, position, self.clock)
        for file in sorted(self.path.glob("archives/**/*.crt")):
            if not file.name.endswith(".issuer.crt"):
                where = file.relative_to(self.path).as_posix()
                yield from read_file(file, where, self.name, self.clock)


def _certificates(path: Path) -> list[Path]:
    """List the certificates, without those of their issuers."""
    found = (path / "certificates").glob("*.crt")
    return sorted(file for file in found if not file.name.endswith(".issuer.crt"))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
