"""Showing the answers to http-01 challenges (RFC 8555, section 8.3) while the server looks for them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Final

from acme import challenges, standalone  # noqa: TID253

from certforecast.atomic import write_file
from certforecast.errors import IssuanceError
from certforecast.execution.issuers.acme.answers import Answer
from certforecast.execution.issuers.acme.listeners import Listener, Listeners, Shown

__all__ = ["Http01Solver", "serve", "write_below"]

_Resource = standalone.HTTP01RequestHandler.HTTP01Resource


class Http01Solver:
    """Writes answers below a web root, or serves them.

    Parameters
    ----------
    webroot : path or None
        The web root of a server that is running; None to serve on `port`.
    """

    kind = "http-01"

    def __init__(self, webroot: Path | None, port: int) -> None:
        self._webroot = webroot
        self._port = port

    def show(self, answers: Sequence[Answer]) -> AbstractContextManager[None]:
        """Show answers for the time of the block.

        Raises
        ------
        IssuanceError
            If they cannot be written, or the port cannot be opened.
        """
        texts = {answer.challenge: answer.challenge.validation(answer.key) for answer in answers}
        if self._webroot is not None:
            return write_below(self._webroot, texts)
        return serve(self._port, texts)


@contextmanager
def write_below(webroot: Path, answers: Mapping[challenges.HTTP01, str]) -> Iterator[None]:
    """Write the answers below the web root of a server that is running.

    Raises
    ------
    IssuanceError
        If they cannot be written.
    """
    files = {webroot / challenge.path.lstrip("/"): answer for challenge, answer in answers.items()}
    try:
        try:
            for path, answer in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_file(path, answer.encode())
        except OSError as error:
            raise IssuanceError(
                f"the challenge's answer cannot be written below {webroot}: {error}", code="webroot"
            ) from error
        yield
    finally:
        for path in files:
            path.unlink(missing_ok=True)


def serve(port: int, answers: Mapping[challenges.HTTP01, str]) -> AbstractContextManager[None]:
    """Serve the answers ourselves, on every address of this machine; others may do so on the same port.

    Raises
    ------
    IssuanceError
        If the port is taken or needs more rights than we have.
    """
    resources = {challenge.path: _Resource(challenge, None, answer) for challenge, answer in answers.items()}
    return _LISTENERS.showing(port, resources)


class _Server(ThreadingMixIn, standalone.HTTP01Server):
    """A slow client keeps no other waiting, and an end is noticed at once."""

    daemon_threads = True
    request_queue_size = 128

    def serve_forever(self, poll_interval: float = 0.02) -> None:
        super().serve_forever(poll_interval)


def _listen(port: int, shown: Shown[Any]) -> Listener:
    return standalone.BaseDualNetworkedServers(_Server, ("", port), shown)


_LISTENERS: Final = Listeners[Any](_listen, "http_port", "set a web root or another http_port")
