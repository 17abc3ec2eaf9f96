"""Where an action's private key waits, sealed, until it is in service: one folder, for its owner alone."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from certforecast.atomic import write_file
from certforecast.errors import ExecutionError, SealingError
from certforecast.execution.keys import general_name, load_key, new_key, signing_request
from certforecast.execution.references import is_reference
from certforecast.execution.tokens import TokenKeys
from certforecast.security.sealing import Sealer
from certforecast.settings import KeySettings

__all__ = ["Staging", "general_name", "new_key", "signing_request"]

_PURPOSE: Final = "staged key"


class Staging:
    """The staging folder of one action.

    The key is made once and found again by every later step, so that a run that was killed goes on with the
    same key, and no key ever passes through the executor's database. On disk it is sealed.

    Parameters
    ----------
    folder : path
        Made with mode 0700 on first use.
    keys : KeySettings
        How the key is made.
    sealer : Sealer, optional
        Default: one whose key lies beside `folder`.
    name : str
        The lineage's, for the label of a key in a token.
    """

    def __init__(
        self,
        folder: Path,
        keys: KeySettings | None = None,
        *,
        sealer: Sealer | None = None,
        name: str = "certforecast",
    ) -> None:
        self.folder = folder
        self._settings = KeySettings() if keys is None else keys
        self._sealer = Sealer(folder.parent) if sealer is None else sealer
        self._name = name
        self._key = folder / "privkey.sealed"
        self._chain = folder / "fullchain.pem"

    def prepare(self, reused: bytes | None = None) -> None:
        """Make the folder and the key, unless they are there.

        Parameters
        ----------
        reused : bytes, optional
            A private key, PEM, to be used again instead of a new one.

        Raises
        ------
        ExecutionError
            If the key cannot be made or sealed.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._key.exists():
            return
        key = reused if reused is not None else self._made()
        try:
            write_file(self._key, self._sealer.seal(key, _PURPOSE), mode=0o600)
        except SealingError as error:
            raise ExecutionError(f"the new key cannot be sealed: {error}", code="config") from error

    @property
    def key(self) -> bytes:
        """The private key, PEM; of a key in a token, the reference to it."""
        try:
            return self._sealer.open(self._read(self._key), _PURPOSE)
        except SealingError as error:
            raise ExecutionError(f"{self._key} cannot be opened: {error}", code="config") from error

    @property
    def chain(self) -> bytes:
        """The chain as it was staged, PEM, leaf first."""
        return self._read(self._chain)

    def stage(self, chain: bytes) -> None:
        """Put the issued chain beside its key."""
        write_file(self._chain, chain, mode=0o600)

    def csr(self, names: Sequence[str]) -> bytes:
        """Give a signing request for `names` with the staged key, PEM."""
        key = self.key
        if is_reference(key):
            return TokenKeys(self._settings).request(key, names)
        return signing_request(load_key(key), names)

    def check_token(self) -> None:
        """Refuse a key that should be in a token and is not; nothing to do for other keys.

        Raises
        ------
        ExecutionError
            If so.
        """
        key = self.key
        if is_reference(key):
            TokenKeys(self._settings).check(key)

    def clear(self) -> None:
        """Delete the folder and the key in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _made(self) -> bytes:
        if self._settings.token is None:
            return new_key(self._settings.algorithm)
        label = self._settings.label.replace("{name}", self._name)
        return TokenKeys(self._settings).make(label, self.folder.name)

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except FileNotFoundError as error:
            raise ExecutionError(
                f"{path} is gone, so this action cannot go on; make a new plan with 'certforecast plan'",
                code="key_lost",
            ) from error
