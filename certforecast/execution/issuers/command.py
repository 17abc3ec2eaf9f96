"""Any program: it gets a signing request and writes the chain."""

import os
import shlex
import signal
import subprocess
from contextlib import suppress
from typing import Final, Literal

from pydantic import Field

from certforecast.clock import Clock
from certforecast.errors import IssuanceError
from certforecast.execution.issuers import Issuer, Order
from certforecast.execution.issuers.kept import KeptIssuer, KeptSection, names_of
from certforecast.security.redaction import redact

__all__ = ["CommandIssuer", "CommandIssuerSettings"]

#: Lines of its output that an error quotes.
_LINES: Final = 5
#: More than any chain; a program that writes without end must not fill the memory.
_MOST: Final = 4 << 20


class CommandIssuerSettings(KeptSection):
    """Any program that takes a signing request and writes a chain, both PEM."""

    kind: Literal["command"]
    command: list[str] = Field(
        min_length=1,
        description="argument list, run without a shell; {csr} is the request's file, {order} the order's id",
    )
    timeout_s: float = Field(120.0, gt=0)

    def open(self, clock: Clock) -> Issuer:
        """Give the issuer of this section."""
        del clock
        return CommandIssuer(self)


class CommandIssuer(KeptIssuer):
    """A program that issues.

    The request is on its standard input and in the file ``{csr}``; the chain is wanted on its standard
    output. ``CERTFORECAST_ORDER`` and ``CERTFORECAST_NAMES`` (with spaces between) are in its environment.
    It is run once for an order, unless it failed or was cut off: then it gets the same request and order
    again, by which it can find what it did before.

    Parameters
    ----------
    settings : CommandIssuerSettings
        Its section.
    """

    def __init__(self, settings: CommandIssuerSettings) -> None:
        super().__init__(settings)
        self._settings = settings

    def order(self, csr: bytes) -> Order:
        """Name an order; the program is not run yet.

        Raises
        ------
        IssuanceError
            If the request is not sound.
        """
        return self._kept.order(csr)

    def issue(self, order: Order, csr: bytes) -> bytes:
        """Run the program, or give what it gave before.

        Raises
        ------
        IssuanceError
            If it cannot be run, fails, takes too long, or gives no chain for the request.
        """
        kept = self._kept.find(order, csr)
        if (chain := kept.chain) is not None:
            return chain
        request = kept.request
        fields = {"{order}": kept.id, "{csr}": str(kept.request_path.absolute())}
        arguments = [_filled(argument, fields) for argument in self._settings.command]
        given = {"CERTFORECAST_ORDER": kept.id, "CERTFORECAST_NAMES": " ".join(names_of(request))}
        return kept.keep(self._run(arguments, request, given))

    def _run(self, arguments: list[str], request: bytes, given: dict[str, str]) -> bytes:
        shown = redact(shlex.join(arguments))
        environment = {name: value for name, value in os.environ.items() if not _ours(name)} | given
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,  # so that what it started ends with it
            )
        except OSError as error:
            raise IssuanceError(f"{shown} cannot be run: {error.strerror}", code="config") from error
        try:
            out, err = process.communicate(request, timeout=self._settings.timeout_s)
        except subprocess.TimeoutExpired as error:
            raise IssuanceError(
                f"{shown}: no end after {self._settings.timeout_s:g} s", code="timeout"
            ) from error
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode:
            lines = redact(err.decode(errors="replace")).strip().splitlines()[-_LINES:]
            raise IssuanceError(
                f"{shown} ended with {process.returncode}: {' | '.join(lines)}", code="command"
            )
        if len(out) > _MOST:
            raise IssuanceError(f"{shown} wrote {len(out)} bytes, which is no chain", code="badCertificate")
        return out


def _filled(argument: str, fields: dict[str, str]) -> str:
    for name, value in fields.items():
        argument = argument.replace(name, value)
    return argument


def _ours(name: str) -> bool:
    """Tell our own settings, which a foreign program has no use for: the sealing key is among them."""
    return name.startswith("CERTFORECAST_")
