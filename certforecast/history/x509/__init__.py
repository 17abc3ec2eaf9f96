"""X.509: from the bytes of certificates to their rows."""

from certforecast.history.x509.bundle import split_pem
from certforecast.history.x509.parsing import (
    certificate_row,
    fingerprint,
    is_chain_certificate,
    parse,
    parse_batches,
)

__all__ = [
    "certificate_row",
    "fingerprint",
    "is_chain_certificate",
    "parse",
    "parse_batches",
    "split_pem",
]
