"""SSH sessions: to known hosts only, with a key file, bounded in time, errors in our words."""

import asyncio
import shlex
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from pydantic import Field

from certforecast.errors import InstallationError
from certforecast.security.redaction import redact
from certforecast.settings import Section

if TYPE_CHECKING:
    from asyncssh import SFTPClient, SSHClientConnection

__all__ = ["SshSection", "SshSession", "in_session"]

#: Lines of a command's output that an error quotes.
_LINES: Final = 5

T = TypeVar("T")


class SshSection(Section):
    """How a host is reached by SSH, and who we are there."""

    host: str = Field("{host}", description="where the files are")
    port: int = Field(22, ge=1, le=65535)
    user: str
    client_key: Path = Field(description="private key to log in with, readable by its owner alone")
    known_hosts: Path = Field(description="the host's key must be in it; a host that is not known is refused")
    timeout_s: float = Field(60.0, gt=0, description="for everything that is done in one session")


class SshSession:
    """One open connection, with its file transfer.

    Parameters
    ----------
    connection : SSHClientConnection
        Logged in.
    files : SFTPClient
        Over the connection.
    where : str
        For messages.
    """

    def __init__(self, connection: "SSHClientConnection", files: "SFTPClient", where: str) -> None:
        self._connection = connection
        self.files = files
        self.where = where

    async def run(self, command: Sequence[str], *, code: str | None = None) -> str:
        """Run a command and give what it wrote. It goes through the login shell of the user, quoted for it.

        Raises
        ------
        InstallationError
            If it fails, with the last lines it wrote.
        """
        shown = shlex.join(command)
        # Standard error goes where standard output goes, so that their order is kept.
        done = await self._connection.run(f"{shown} 2>&1", check=False, input="")
        told = str(done.stdout or "")
        if done.exit_status != 0:
            lines = redact(told).strip().splitlines()[-_LINES:]
            raise InstallationError(
                f"{self.where}: {shown} ended with {done.exit_status}: {' | '.join(lines)}", code=code
            )
        return told


def in_session(section: SshSection, body: Callable[[SshSession], Awaitable[T]], *secrets: bytes) -> T:
    """Open a session, do something in it, and close it.

    Parameters
    ----------
    section : SshSection
        Its texts without fields to fill in.
    body : callable
        Gets the session; may be cut off at any await.
    *secrets : bytes
        What must not be in an error.

    Raises
    ------
    InstallationError
        If the host cannot be reached, is not the one that is known, refuses us, or is too slow.
    """

    async def whole() -> T:
        async with asyncio.timeout(section.timeout_s), _open(section) as session:
            return await body(session)

    # In a thread of its own: the caller's may have a loop that runs already, as in a notebook.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: _explained(section, whole, secrets)).result()


def _explained(
    section: SshSection, whole: Callable[[], Coroutine[None, None, T]], secrets: Sequence[bytes]
) -> T:
    import asyncssh

    where = _where(section)
    try:
        return asyncio.run(whole())
    except asyncssh.HostKeyNotVerifiable as error:
        raise InstallationError(
            f"{where} does not show a host key that is in {section.known_hosts}: nothing was sent; look why, "
            "and add its key there if it is the right host",
            code="config",
        ) from error
    except asyncssh.PermissionDenied as error:
        raise InstallationError(
            f"{where} does not let us in: is the public key of {section.client_key} in authorized_keys?",
            code="permission",
        ) from error
    except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as error:
        raise _broken(where, error, secrets) from error
    except asyncssh.SFTPError as error:
        denied = isinstance(error, asyncssh.SFTPPermissionDenied)
        told = "; ".join([str(error), *getattr(error, "__notes__", ["a file could not be read or written"])])
        raise InstallationError(
            f"{where}: {redact(told, *secrets)}; what is in place is the old pair or the new one",
            code="permission" if denied else None,
        ) from error
    except TimeoutError as error:
        raise InstallationError(
            f"{where} was not done after {section.timeout_s:g} s: act again later", code="unreachable"
        ) from error
    except (OSError, asyncssh.Error) as error:
        raise _broken(where, error, secrets) from error


def _broken(where: str, error: Exception, secrets: Sequence[bytes]) -> InstallationError:
    return InstallationError(
        f"{where} cannot be reached, or the connection broke: {redact(str(error), *secrets)}",
        code="unreachable",
    )


@asynccontextmanager
async def _open(section: SshSection) -> AsyncIterator[SshSession]:
    import asyncssh

    _check_files(section)
    try:
        key = asyncssh.read_private_key(section.client_key)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
        raise InstallationError(
            f"{section.client_key} is no private key without a passphrase", code="config"
        ) from None
    async with (
        asyncssh.connect(
            section.host,
            section.port,
            username=section.user,
            client_keys=[key],
            known_hosts=str(section.known_hosts),
            config=None,  # what is set here counts, not what a user's ~/.ssh/config says
            agent_path=None,
            preferred_auth="publickey",
        ) as connection,
        connection.start_sftp_client() as files,
    ):
        yield SshSession(connection, files, _where(section))


def _check_files(section: SshSection) -> None:
    try:
        if stat.S_IMODE(section.client_key.stat().st_mode) & 0o077:
            raise InstallationError(
                f"{section.client_key} is open to other users: make it yours alone with chmod 600",
                code="config",
            )
        section.known_hosts.read_bytes()
    except OSError as error:
        raise InstallationError(
            f"{error.filename} cannot be read: {error.strerror}; make it with ssh-keygen or ssh-keyscan",
            code="config",
        ) from error


def _where(section: SshSection) -> str:
    return f"ssh {section.user}@{section.host}:{section.port}"
