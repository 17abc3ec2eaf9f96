"""Programs that write records, called as certbot calls its manual hooks, or as lego calls its ``exec``."""

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.dns.provider import Provider, Record
from certforecast.execution.issuers.acme.dns.settings import CertbotHookSettings, LegoExecSettings

__all__ = ["CertbotHookProvider", "LegoExecProvider"]

#: Lines of a program's output that an error quotes.
_LINES: Final = 5


class CertbotHookProvider(Provider):
    """Hooks of ``certbot --manual``, which get what they need by the environment.

    Parameters
    ----------
    settings : CertbotHookSettings
        Its hooks are run without a shell.
    """

    def __init__(self, settings: CertbotHookSettings) -> None:
        self._settings = settings
        self._told: dict[Record, str] = {}

    def add(self, record: Record) -> None:
        """Run the auth hook.

        Raises
        ------
        ChallengeError
            If it cannot be run, fails or hangs.
        """
        environment = _certbot_environment(record)
        self._told[record] = _run(
            self._settings.auth_hook, environment, self._settings.hook_timeout_s
        ).strip()

    def remove(self, record: Record) -> None:
        """Run the cleanup hook, if there is one, with what the auth hook wrote.

        Raises
        ------
        ChallengeError
            If it cannot be run, fails or hangs.
        """
        if self._settings.cleanup_hook:
            environment = {**_certbot_environment(record), "CERTBOT_AUTH_OUTPUT": self._told.pop(record, "")}
            _run(self._settings.cleanup_hook, environment, self._settings.hook_timeout_s)


class LegoExecProvider(Provider):
    """A program that takes ``present`` or ``cleanup``, and what to write, as its arguments.

    Parameters
    ----------
    settings : LegoExecSettings
        Its program is run without a shell.
    """

    def __init__(self, settings: LegoExecSettings) -> None:
        self._settings = settings

    def add(self, record: Record) -> None:
        """Run the program with ``present``.

        Raises
        ------
        ChallengeError
            If it cannot be run, fails or hangs.
        """
        self._call("present", record)

    def remove(self, record: Record) -> None:
        """Run the program with ``cleanup``.

        Raises
        ------
        ChallengeError
            If it cannot be run, fails or hangs.
        """
        self._call("cleanup", record)

    def _call(self, action: str, record: Record) -> None:
        if self._settings.raw:
            arguments = ["--", record.domain, record.token, record.key_authorization]
        else:
            arguments = [f"{record.target}.", record.value]
        _run([*self._settings.program, action, *arguments], {}, self._settings.hook_timeout_s)


def _certbot_environment(record: Record) -> dict[str, str]:
    """Give what certbot gives for dns-01; it sets CERTBOT_TOKEN for http-01 alone, and hooks go by that."""
    return {
        "CERTBOT_DOMAIN": record.domain,
        "CERTBOT_IDENTIFIER": record.domain,
        "CERTBOT_VALIDATION": record.value,
        "CERTBOT_ALL_DOMAINS": ",".join(record.domains),
        "CERTBOT_ALL_IDENTIFIERS": ",".join(record.domains),
        "CERTBOT_REMAINING_CHALLENGES": str(record.remaining),
    }


def _run(command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> str:
    """Run a program and give what it wrote to standard output."""
    shown = shlex.join(command)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("CERTBOT_")}
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**inherited, **environment},
            start_new_session=True,
        )
    except OSError as error:
        raise ChallengeError(f"{shown} cannot be run: {error.strerror}", code="config") from error
    with process:
        try:
            out, err = (stream.decode(errors="replace") for stream in process.communicate(timeout=timeout_s))
        except BaseException as error:
            with suppress(ProcessLookupError):  # with all that it started, which may hold its output open
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise ChallengeError(
                f"{shown}: no end after {timeout_s:g} s (dns.hook_timeout_s)", code="dns"
            ) from error
    if process.returncode:
        lines = f"{out}\n{err}".strip().splitlines()[-_LINES:]
        raise ChallengeError(
            f"{shown} ended with {process.returncode}: {' | '.join(lines) or 'it wrote nothing'}", code="dns"
        )
    return out
