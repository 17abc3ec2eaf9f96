"""Looks at endpoints as JSON, and the wait for an old certificate to be back."""

import time
from collections.abc import Collection, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from certforecast.clock import Clock
from certforecast.errors import VerificationError
from certforecast.execution.verification import Served, handshake
from certforecast.planning.plan import Endpoint

__all__ = ["Look", "as_look", "await_any", "look_at"]

#: A row of the table ``observations`` without its source, as JSON.
Look = dict[str, Any]

_PAUSE_S: Final = 0.1


def look_at(endpoints: Sequence[Endpoint], roots: Path | None, clock: Clock) -> list[Look]:
    """Look once at each endpoint."""
    return [as_look(endpoint, handshake(endpoint, roots=roots), clock()) for endpoint in endpoints]


def as_look(endpoint: Endpoint, seen: Served, at: datetime) -> Look:
    """Give what an endpoint showed as JSON."""
    if seen.fingerprint is None:
        status = None
    elif seen.chain_ok:
        status = "valid"
    else:
        status = "expired" if seen.not_after is not None and seen.not_after < at else "untrusted"
    return {
        "observed_at": at.isoformat(),
        **endpoint.model_dump(include={"host", "port", "server_name"}),
        "fingerprint": seen.fingerprint,
        "chain_status": status,
        "error": "other" if seen.fingerprint is None else None,
        "latency_ms": round(seen.latency_ms, 3),
    }


def await_any(
    endpoint: Endpoint,
    accepted: Collection[str],
    *,
    roots: Path | None,
    in_a_row: int,
    timeout_s: float,
    clock: Clock,
) -> Look:
    """Wait until an endpoint serves one of several leaves, several times in a row.

    Unlike :func:`certforecast.execution.verification.prove` this accepts an expired leaf: what is put back is
    no better than it was.

    Raises
    ------
    VerificationError
        If it does not within `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    matched = 0
    while True:
        seen = handshake(endpoint, roots=roots)
        matched = matched + 1 if seen.fingerprint in accepted else 0
        if matched >= in_a_row:
            return as_look(endpoint, seen, clock())
        if time.monotonic() > deadline:
            shown = seen.fingerprint[:12] if seen.fingerprint else f"nothing ({seen.error})"
            raise VerificationError(
                f"{endpoint} serves {shown}, {timeout_s:g} s after the old certificate was put back: "
                "look at its server now"
            )
        if not matched:
            time.sleep(_PAUSE_S)
