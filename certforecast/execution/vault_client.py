"""Talking to a HashiCorp Vault or OpenBao: what can be set, the login, and errors in our words."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, model_validator

from certforecast.errors import ExecutionError, SourceError
from certforecast.history.sources.tokens import read_token
from certforecast.security.redaction import redact
from certforecast.settings import Section

__all__ = ["VaultSection", "explained", "login"]

_TIMEOUT_S: Final = 30
_USUAL: Final = "~/.vault-token"


class VaultSection(Section):
    """How a Vault is reached, and who we are there: by a token, or by an AppRole."""

    address: str = Field(description="such as https://vault.example.org:8200")
    namespace: str | None = Field(None, description="of Vault Enterprise or OpenBao")
    ca_file: Path | None = Field(None, description="trust roots for the server itself; default the system's")
    token_file: Path | None = Field(
        None, description="holds the token; default VAULT_TOKEN or BAO_TOKEN, or ~/.vault-token"
    )
    role_id: str | None = Field(None, description="of an AppRole, instead of a token ...")
    secret_id_file: Path | None = Field(
        None, description="... with its secret id; default VAULT_SECRET_ID of the environment"
    )
    approle_mount: str = "approle"

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        if self.role_id is not None and self.token_file is not None:
            raise ValueError("give token_file or role_id, not both")
        return self


def login(section: VaultSection, error: type[ExecutionError]) -> Any:
    """Give a client that is logged in.

    Parameters
    ----------
    section : VaultSection
        Where, and as whom.
    error : type
        What is raised if that fails.
    """
    try:
        import hvac
    except ImportError as missing:
        raise error("Vault needs hvac: pip install 'certforecast[vault]'", code="config") from missing
    secret, client = (
        None,
        hvac.Client(
            section.address.rstrip("/"),
            namespace=section.namespace,
            verify=True if section.ca_file is None else str(section.ca_file),
            timeout=_TIMEOUT_S,
            strict_http=True,
        ),
    )
    try:
        if section.role_id is None:
            secret = read_token(section.token_file, ("VAULT_TOKEN", "BAO_TOKEN"), Path(_USUAL).expanduser())
            if secret is None:
                raise error(
                    "there is no token for Vault: set VAULT_TOKEN or BAO_TOKEN, token_file or role_id",
                    code="config",
                )
            client.token = secret
            return client
        secret = read_token(section.secret_id_file, ("VAULT_SECRET_ID",))
    except SourceError as unreadable:
        raise error(str(unreadable), code="config") from unreadable
    if secret is None:
        raise error(
            "there is no secret id for the AppRole: set secret_id_file or VAULT_SECRET_ID", code="config"
        )
    with explained(section, error):
        client.auth.approle.login(section.role_id, secret, mount_point=section.approle_mount)
    return client


@contextmanager
def explained(section: VaultSection, error: type[ExecutionError], *secrets: bytes) -> Iterator[None]:
    """Put what a client raises into our words, without what was sent.

    Parameters
    ----------
    section : VaultSection
        Where it was sent.
    error : type
        What is raised, with the code ``permission``, ``rejected`` or ``unreachable``.
    *secrets : bytes
        What must not be in a message.
    """
    import requests
    from hvac import exceptions

    where = f"Vault at {section.address}"
    try:
        yield
    except exceptions.Forbidden as refused:
        raise error(
            f"{where} refuses: {redact(str(refused), *secrets)}; check the token or AppRole and its policies",
            code="permission",
        ) from None
    except (exceptions.InvalidRequest, exceptions.InvalidPath, exceptions.UnsupportedOperation) as refused:
        raise error(
            f"{where} rejects this: {redact(str(refused), *secrets)}; check mount, role and path",
            code="rejected",
        ) from None
    except (exceptions.VaultError, requests.RequestException) as failed:
        raise error(
            f"{where} cannot be asked: {redact(str(failed), *secrets)}; check the address, or try later",
            code="unreachable",
        ) from None
