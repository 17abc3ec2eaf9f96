"""Builds small histories by hand: days count from a fixed start, names are what matters."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from certforecast.history import History
from certforecast.history.sources import Batch

START = datetime(2025, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    """Give the moment so many days after the start."""
    return START + timedelta(days=number)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Timeline:
    """Collects rows; `history()` puts them into a store in memory."""

    def __init__(self) -> None:
        self.batch = Batch()
        #: The label of each certificate, by its fingerprint.
        self.labels: dict[str, str] = {}

    def certificate(
        self,
        label: str,
        names: str | Sequence[str],
        issued: float,
        days: float = 90.0,
        known: float | None = None,
        **others: Any,
    ) -> str:
        """Add a certificate; its fingerprint is derived from the label and returned."""
        listed = sorted([names] if isinstance(names, str) else names)
        row = {
            "fingerprint": digest(label),
            "serial": digest(label)[:16],
            "issuer_dn": "CN=Test CA,O=Test",
            "issuer_org": "Test",
            "names": listed,
            "name_set_id": digest("\n".join(listed))[:32],
            "registered_domains": sorted({".".join(name.split(".")[-2:]) for name in listed}),
            "wildcard": any(name.startswith("*.") for name in listed),
            "not_before": day(issued),
            "not_after": day(issued + days),
            "validity_days": float(days),
            "is_precertificate": False,
            "source": "test",
            "known_at": day(issued if known is None else known),
        } | others
        self.batch.certificates.append(row)
        self.labels[str(row["fingerprint"])] = label
        return str(row["fingerprint"])

    def look(
        self,
        at: float,
        fingerprint: str | None,
        host: str = "h1",
        error: str | None = None,
        known: float | None = None,
        **others: Any,
    ) -> None:
        """Add an observation."""
        self.batch.observations.append(
            {
                "observed_at": day(at),
                "host": host,
                "port": 443,
                "server_name": host,
                "fingerprint": fingerprint,
                "error": error,
                "source": "test",
                "known_at": day(at if known is None else known),
            }
            | others
        )

    def looks(self, start: float, stop: float, fingerprint: str, step: float = 1.0, host: str = "h1") -> None:
        """Add observations of one certificate from `start` up to, not including, `stop`."""
        at = start
        while at < stop:
            self.look(at, fingerprint, host)
            at += step

    def event(self, at: float, lineage: str, kind: str, **others: Any) -> None:
        """Add an event."""
        row = {
            "at": day(at),
            "lineage": lineage,
            "kind": kind,
            "actor": "test",
            "source": "test",
            "known_at": day(at),
        } | others
        self.batch.events.append(row)

    def history(self) -> History:
        """Put everything into a store in memory."""
        history = History(None)
        history.append(self.batch)
        quarantine = history.quarantine()
        assert quarantine.empty, quarantine.to_string()
        return history
