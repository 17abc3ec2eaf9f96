"""ACME (RFC 8555): orders, challenges, and what a directory offers."""

from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings

__all__ = ["AcmeIssuerSettings"]
