"""What installers have in common that hand certificates to a service: nothing is reloaded here."""

from pathlib import Path

__all__ = ["ElsewhereInstaller"]


class ElsewhereInstaller:
    """A place elsewhere that checks what it is given, and loads it in its own time."""

    def check_files(self) -> None:
        """Refuse a place that could not be written to, or not be put back."""
        raise NotImplementedError

    def precheck(self) -> None:
        """Refuse a place that could not be written to, or not be put back.

        Raises
        ------
        InstallationError
            If so.
        """
        self.check_files()

    def check_reload(self) -> None:
        """Do nothing: nothing is reloaded."""

    def folders(self) -> list[Path]:
        """Give no folder: none of this machine is written to."""
        return []

    def test(self) -> None:
        """Do nothing: what was handed over was checked there."""

    def reload(self) -> None:
        """Do nothing: it is loaded there."""
