"""What waits for the same server is tested and loaded together, and one bad pair fails nobody but itself.

A server tests all that is in place. Where it refuses, everything of ours that no reload has seen is taken out
and put in again by halves, until it is known what is refused. Only that stays out; the rest is loaded.
"""

import fcntl
import hashlib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from certforecast.errors import InstallationError
from certforecast.execution.installers import Installer
from certforecast.execution.sharing import Sharing

__all__ = ["Loading", "Pair"]

#: A test that went well so lately will do before an order is spent.
_FRESH_S: Final = 5.0
#: What other processes put in place, they find and take out themselves; so long it is waited for.
_PAUSES_S: Final = (1.0, 2.0, 4.0)
_SETTLED_S: Final = 60.0
#: So often a test is done again because of what another action was at.
_TRIES: Final = 4


class Pair:
    """What one action has in place at one server.

    Parameters
    ----------
    installer : Installer
    put : callable, optional
        Puts it in place; may be called again. Without it, it is in place already and is not to be blamed.
    before : str, optional
        The certificate that was in place; without one there is nothing to go back to.

    Attributes
    ----------
    refused : InstallationError or None
        Why the server does not take it. Then it is not in place any more.
    """

    def __init__(
        self, installer: Installer, put: Callable[[], None] | None = None, *, before: str | None = None
    ) -> None:
        self.installer = installer
        self.refused: InstallationError | None = None
        self.placed = False
        self.loaded = False
        self.before = before
        self._put = put

    def put(self) -> None:
        """Put it in place."""
        if self._put is not None:
            self._put()
            self.placed = True

    def take(self) -> None:
        """Put back what was in place before."""
        if self.before is not None:
            self.installer.restore(self.before)


class Loading:
    """Tests and reloads of servers, for all actions of a process.

    Parameters
    ----------
    folder : Path
        Of the locks by which processes of this machine leave one another's servers alone.
    alone : bool
        Whether no other process installs anything.
    """

    def __init__(self, folder: Path, *, alone: bool) -> None:
        self._folder = folder
        self._pauses = () if alone else _PAUSES_S
        self._tests, self._loads = Sharing[None](), Sharing[str | None]()
        self._changed = threading.Condition()
        self._pending: defaultdict[str, list[Pair]] = defaultdict(list)
        self._ever: Counter[str] = Counter()

    def precheck(self, installer: Installer) -> None:
        """Have an installer refuse what cannot end well; what another action is at just now does not count.

        Raises
        ------
        InstallationError
            If it does.
        """
        pauses, left = iter(self._pauses[:1]), _TRIES
        while True:
            seen, left = self._ever[installer.server], left - 1
            try:
                # It takes seconds where a server has many sites; what breaks since, a later test sees.
                return self._tests.share(installer.server, installer.precheck, fresh_s=_FRESH_S)
            except InstallationError:
                if left > 0 and self._settled(installer.server, seen):
                    continue
                if (pause := next(pauses, None)) is None:
                    raise
                time.sleep(pause)

    @contextmanager
    def placed(self, pair: Pair) -> Iterator[None]:
        """Put a pair in place; until the block ends no reload has seen it."""
        server = pair.installer.server
        with self._changed:
            self._pending[server].append(pair)
            self._ever[server] += 1
        try:
            with self._locked(server, fcntl.LOCK_SH):
                pair.put()
            yield
        finally:
            with self._changed:
                self._pending[server].remove(pair)
                self._changed.notify_all()

    def load(self, pair: Pair, *, every_s: float) -> str | None:
        """Have a server test what is in place, and load it; give what its command says against that.

        Parameters
        ----------
        pair : Pair
            What must be loaded by that.
        every_s : float
            Reloads of one server are so many seconds apart at least.

        Raises
        ------
        InstallationError
            If its test refuses the pair, or the configuration without any; then it loads nothing of it.
        """
        told, installer = None, pair.installer
        if pair.refused is None:
            told = self._loads.share(installer.server, partial(self._load, installer), every_s=every_s)
            pair.loaded = True
        if pair.refused is not None:
            raise pair.refused
        return told

    def _load(self, installer: Installer) -> str | None:
        if _refusal(installer) is not None:
            self._single_out(installer)
        try:
            installer.reload()
        except InstallationError as error:
            return str(error)
        return None

    def _single_out(self, installer: Installer) -> None:
        """Find what a server refuses and take it out.

        Raises
        ------
        InstallationError
            If it is nothing of ours.
        """
        pauses = iter(self._pauses)
        while True:
            with self._locked(installer.server, fcntl.LOCK_EX):
                with self._changed:
                    pairs = [pair for pair in self._pending[installer.server] if _counts(pair)]
                pairs = _each(pairs, Pair.take)  # what cannot be taken out is not to be put in again
                if (told := _refusal(installer)) is None:
                    return _admit(installer, pairs)
            if (pause := next(pauses, None)) is None:
                break
            time.sleep(pause)
        for pair in pairs:  # they are out, and stay so, whoever asks
            pair.refused = pair.refused or told
        raise told

    def _settled(self, server: str, seen: int) -> bool:
        """Wait until what may have been in place at a test is loaded or taken out; False if nothing was."""
        with self._changed:
            pairs = list(self._pending[server])
            if not pairs and self._ever[server] == seen:
                return False
            return self._changed.wait_for(
                lambda: not any(pair in self._pending[server] for pair in pairs), _SETTLED_S
            )

    @contextmanager
    def _locked(self, server: str, how: int) -> Iterator[None]:
        """Keep other swaps out (LOCK_EX), or only those who do (LOCK_SH), on this machine."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / f"{hashlib.sha256(server.encode()).hexdigest()[:32]}.swap").open("a") as lock:
            fcntl.flock(lock, how)
            yield


def _admit(installer: Installer, pairs: Sequence[Pair]) -> None:
    """Put pairs in place, but for those that a server refuses."""
    if not (placed := _each(pairs, Pair.put)):
        return
    if (error := _refusal(installer)) is None:
        return
    out = _each(placed, Pair.take)
    if len(placed) == 1 or len(out) < len(
        placed
    ):  # with one that stays in, nothing can be told of the others
        for pair in placed:
            pair.refused = pair.refused or error
        return
    half = len(placed) // 2
    _admit(installer, placed[:half])
    _admit(installer, placed[half:])


def _each(pairs: Sequence[Pair], what: Callable[[Pair], None]) -> list[Pair]:
    """Do something with each pair, and give those with which it went well; the others are out."""
    fine = []
    for pair in pairs:
        try:
            what(pair)
            fine.append(pair)
        except InstallationError as error:
            pair.refused = error
    return fine


def _refusal(installer: Installer) -> InstallationError | None:
    try:
        installer.test()
    except InstallationError as error:
        return error
    return None


def _counts(pair: Pair) -> bool:
    return pair.placed and not pair.loaded and pair.refused is None and pair.before is not None
