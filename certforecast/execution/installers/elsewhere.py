"""What installers have in common that hand certificates to a service: nothing is reloaded here."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from certforecast.errors import InputError
from certforecast.history.x509 import fingerprint, parse, split_pem

__all__ = ["ElsewhereInstaller", "shown", "shown_of"]


def shown(pem: Any) -> tuple[tuple[str, ...], str | None]:
    """Give the names and the fingerprint of the leaf in a text; none and None where there is none."""
    _, der = next(split_pem(str(pem or "").encode()), (0, None))
    return ((), None) if der is None or isinstance(der, InputError) else shown_of(der)


def shown_of(der: bytes) -> tuple[tuple[str, ...], str | None]:
    """Give the names and the fingerprint of a certificate; none and None if it cannot be read."""
    (row,) = parse([der]).to_pylist()
    return ((), None) if row["reason"] is not None else (tuple(row["names"]), fingerprint(der))


class ElsewhereInstaller(ABC):
    """A place elsewhere that checks what it is given, and loads it in its own time."""

    @abstractmethod
    def check_files(self) -> None:
        """Refuse a place that could not be written to, or not be put back."""

    def precheck(self) -> None:
        """Refuse a place that could not be written to, or not be put back.

        Raises
        ------
        InstallationError
            If so.
        """
        self.check_files()

    def check_reload(self) -> None:  # noqa: B027 (there is nothing to do)
        """Do nothing: nothing is reloaded."""

    def folders(self) -> list[Path]:
        """Give no folder: none of this machine is written to."""
        return []

    def test(self) -> None:  # noqa: B027 (there is nothing to do)
        """Do nothing: what was handed over was checked there."""

    def reload(self) -> None:  # noqa: B027 (there is nothing to do)
        """Do nothing: it is loaded there."""
