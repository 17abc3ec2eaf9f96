"""The errors of certforecast, as one tree.

::

    CertForecastError
    ├── InputError        a file, row, flag or setting the user gave is wrong
    │   ├── SourceError   a history source cannot be read
    │   └── SchemaError   a table lacks a column or has one of the wrong type
    ├── StoreError        the history store cannot be opened or written
    ├── LeakageError      something known after ``as_of`` was about to be used
    ├── ModelError        a model cannot be fitted, saved, loaded or trusted
    ├── SignatureError    a key cannot be used, or a signature does not hold
    ├── SealingError      a secret cannot be sealed or opened
    ├── PlanError         a plan cannot be read, is expired, or does not fit its schema
    └── ExecutionError    an action could not be carried out
        ├── IssuanceError      no certificate was issued
        ├── InstallationError  the certificate could not be put in place
        └── VerificationError  the wire did not show the expected certificate

Every message says what is wrong, where, and what to do about it.
"""

__all__ = [
    "CertForecastError",
    "ExecutionError",
    "InputError",
    "InstallationError",
    "IssuanceError",
    "LeakageError",
    "ModelError",
    "PlanError",
    "SchemaError",
    "SealingError",
    "SignatureError",
    "SourceError",
    "StoreError",
    "VerificationError",
]


class CertForecastError(Exception):
    """Root of every error this package raises on purpose."""


class InputError(CertForecastError, ValueError):
    """A file, row, flag or setting the user gave is wrong."""


class SourceError(InputError):
    """A history source is missing, unreadable or not what its name says."""


class SchemaError(InputError):
    """A table lacks a column, or has one of the wrong type."""


class StoreError(CertForecastError):
    """The history store cannot be opened, is of a newer version, or is locked."""


class LeakageError(CertForecastError):
    """Something known only after ``as_of`` was about to reach a derived number."""


class ModelError(CertForecastError):
    """A model cannot be fitted, saved, loaded or trusted."""


class SignatureError(CertForecastError):
    """A key is missing, damaged or open to others, or a signature does not hold."""


class SealingError(CertForecastError):
    """A secret cannot be sealed, or what is sealed cannot be opened."""


class PlanError(InputError):
    """A plan file cannot be read, is expired, or does not fit its schema."""


class ExecutionError(CertForecastError):
    """An action could not be carried out.

    Attributes
    ----------
    code : str or None
        The machine-readable cause, where there is one: for an issuer the ACME problem's kind, such as
        ``"dns"`` or ``"rateLimited"`` (RFC 8555, section 6.7).
    """

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class IssuanceError(ExecutionError):
    """The issuer gave no certificate."""


class InstallationError(ExecutionError):
    """The certificate could not be put in place or its server not reloaded."""


class VerificationError(ExecutionError):
    """The wire did not show the expected certificate."""
