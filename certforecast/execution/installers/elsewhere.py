"""What installers have in common that hand certificates to a service: nothing is reloaded here."""

from abc import ABC, abstractmethod
from pathlib import Path

__all__ = ["ElsewhereInstaller"]


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
