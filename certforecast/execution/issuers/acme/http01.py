"""Showing the answers to http-01 challenges (RFC 8555, section 8.3) while the server looks for them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from acme import challenges, standalone  # noqa: TID253

from certforecast.atomic import write_file
from certforecast.errors import IssuanceError

__all__ = ["serve", "write_below"]


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


@contextmanager
def serve(port: int, answers: Mapping[challenges.HTTP01, str]) -> Iterator[None]:
    """Serve the answers ourselves, on every address of this machine.

    Raises
    ------
    IssuanceError
        If the port is taken or needs more rights than we have.
    """
    resources = {
        standalone.HTTP01RequestHandler.HTTP01Resource(challenge, None, answer)
        for challenge, answer in answers.items()
    }
    try:
        servers = standalone.HTTP01DualNetworkedServers(("", port), resources)
    except OSError as error:
        raise IssuanceError(
            f"port {port} for http-01 challenges cannot be opened: {error}; set a web root or another port",
            code="http_port",
        ) from error
    servers.serve_forever()
    try:
        yield
    finally:
        servers.shutdown_and_server_close()
