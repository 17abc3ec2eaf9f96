"""The four tables, in one place: names, Arrow types, keys, allowed values.

Times are UTC with microseconds. A column not marked nullable must be filled; rows that break a rule
go to the quarantine table with the reason (see :mod:`certforecast.history.store`).
"""

from dataclasses import dataclass
from typing import Final

import pyarrow as pa

__all__ = [
    "CERTIFICATES",
    "DETAILS",
    "ERROR_KINDS",
    "EVENTS",
    "EVENT_KINDS",
    "HOSTS",
    "OBSERVATIONS",
    "SCHEMA_VERSION",
    "TABLES",
    "TIMESTAMP",
    "Table",
]

#: Version of the store's layout; a store of a newer version is refused.
SCHEMA_VERSION: Final = 3

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")
_STRINGS: Final = pa.list_(pa.string())

#: Why an observation carries no certificate, or one that a client would refuse.
ERROR_KINDS: Final = frozenset(
    {"dns", "refused", "timeout", "reset", "unreachable", "not_tls", "tls_alert", "handshake", "other"}
)

#: What can happen to a lineage.
EVENT_KINDS: Final = frozenset(
    {
        "order_created",
        "order_failed",
        "challenge_failed",
        "issued",
        "staged",
        "installed",
        "install_failed",
        "reloaded",
        "reload_failed",
        "verified",
        "verify_failed",
        "rolled_back",
        "revoked",
        "config_changed",
        "held_out",
        "rehearsed",
        "retired",
        "ari_window",
    }
)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its Arrow schema and the columns that identify a row."""

    name: str
    schema: pa.Schema
    key: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """Column names, in order."""
        return list(self.schema.names)


def _schema(
    *required: tuple[str, pa.DataType], nullable: tuple[tuple[str, pa.DataType], ...] = ()
) -> pa.Schema:
    fields = [pa.field(name, kind, nullable=False) for name, kind in required]
    return pa.schema(fields + [pa.field(name, kind) for name, kind in nullable])


#: One row a leaf certificate. `fingerprint` is the SHA-256 of the DER in lower-case hex; a source without
#: the DER gives ``"~"`` and a hash of what it knows instead. `serial` is lower-case hex, no leading zeros.
#: `known_at` is when the certificate was first known at all, `details_known_at` when first as a whole.
#: `names` are sorted lower-case A-labels (IP addresses in their shortest form); DNs are RFC 4514 strings.
CERTIFICATES: Final = Table(
    "certificates",
    _schema(
        ("fingerprint", pa.string()),
        ("issuer_dn", pa.string()),
        ("names", _STRINGS),
        ("name_set_id", pa.string()),
        ("registered_domains", _STRINGS),
        ("wildcard", pa.bool_()),
        ("not_before", TIMESTAMP),
        ("not_after", TIMESTAMP),
        ("validity_days", pa.float64()),
        ("is_precertificate", pa.bool_()),
        ("source", pa.string()),
        ("known_at", TIMESTAMP),
        nullable=(
            ("serial", pa.string()),
            ("issuer_org", pa.string()),
            ("issuer_cn", pa.string()),
            ("issuer_key_id", pa.string()),
            ("subject_cn", pa.string()),
            ("key_algorithm", pa.string()),
            ("key_bits", pa.int32()),
            ("signature_algorithm", pa.string()),
            ("policy", pa.string()),
            ("must_staple", pa.bool_()),
            ("eku", _STRINGS),
            ("spki_hash", pa.string()),
            ("details_known_at", TIMESTAMP),
        ),
    ),
    ("fingerprint",),
)

#: Columns of `CERTIFICATES` that only the certificate itself tells: known from `details_known_at` on.
DETAILS: Final = (
    "issuer_key_id",
    "key_algorithm",
    "key_bits",
    "signature_algorithm",
    "policy",
    "must_staple",
    "eku",
    "spki_hash",
)

#: At a time this endpoint served this fingerprint (`fingerprint` set), or failed to (`error` set).
#: `chain_status` is ``"valid"``, ``"expired"``, ``"self_signed"``, ``"untrusted"``, ``"wrong_name"`` or null.
OBSERVATIONS: Final = Table(
    "observations",
    _schema(
        ("observed_at", TIMESTAMP),
        ("host", pa.string()),
        ("port", pa.int32()),
        ("server_name", pa.string()),
        ("source", pa.string()),
        ("known_at", TIMESTAMP),
        nullable=(
            ("fingerprint", pa.string()),
            ("chain_status", pa.string()),
            ("error", pa.string()),
            ("latency_ms", pa.float64()),
        ),
    ),
    ("observed_at", "host", "port", "server_name", "source"),
)

#: Something happened to a lineage, known by the name its client gives it (certbot's lineage name; else the
#: first name of the certificate). `kind` is one of `EVENT_KINDS`; `code` is the short machine-readable cause.
#: `fingerprint` is the certificate it is about, where that is known: for ``issued`` the new one, for what the
#: executor does the one it acts upon. ``held_out``: the executor left a renewal alone on purpose; `code` says
#: what it would have done, `detail` with which probability such a renewal is left alone. ``rehearsed``: a
#: rehearsal found what `code` says, or nothing where it is null; all events of one rehearsal have one `at`.
#: ``ari_window``: the CA asked for it to be renewed then; `detail` as in :mod:`certforecast.renewals.ari`,
#: `code` is ``early`` where that is before it would be due.
EVENTS: Final = Table(
    "events",
    _schema(
        ("at", TIMESTAMP),
        ("lineage", pa.string()),
        ("kind", pa.string()),
        ("actor", pa.string()),
        ("source", pa.string()),
        ("known_at", TIMESTAMP),
        nullable=(
            ("host", pa.string()),
            ("code", pa.string()),
            ("detail", pa.string()),
            ("fingerprint", pa.string()),
        ),
    ),
    ("at", "lineage", "kind", "host", "code", "source"),
)

#: Inventory. `criticality` runs from 0 (nobody would notice) to 1 (the business stops). `valid_from` and
#: `valid_to` bound the time for which the row describes the host.
HOSTS: Final = Table(
    "hosts",
    _schema(
        ("host", pa.string()),
        ("valid_from", TIMESTAMP),
        ("known_at", TIMESTAMP),
        nullable=(
            ("owner", pa.string()),
            ("environment", pa.string()),
            ("criticality", pa.float64()),
            ("automation", pa.string()),
            ("issuer", pa.string()),
            ("installer", pa.string()),
            ("valid_to", TIMESTAMP),
        ),
    ),
    ("host", "valid_from"),
)

TABLES: Final = {table.name: table for table in (CERTIFICATES, OBSERVATIONS, EVENTS, HOSTS)}
