"""The shipped model that a fleet without a history of its own starts with."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from certforecast.errors import ModelError

if TYPE_CHECKING:
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["SIGNED_BY", "prior_path", "shipped_prior"]

#: Half of the key that signed the file of this version, as hexadecimal digits. The other half is not kept.
SIGNED_BY: Final = "5b5c0dfcd33f67804816a069acaabf89d59e0b29b0a31921eb8dbcacd58997a6"


def prior_path() -> Path:
    """Find the file: in the installed package, or in the checkout.

    Raises
    ------
    ModelError
        If it is in neither.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "shipped", here.parents[1] / "models"):
        if (folder / "prior.skops").is_file():
            return folder / "prior.skops"
    raise ModelError("the shipped model is missing from this installation: install certforecast again")


@cache
def shipped_prior() -> "OutcomePool | OutcomeClassifier":
    """Load the shipped model; models/README.md is its card.

    Raises
    ------
    ModelError
        If it is missing, or not the one that belongs to this version.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from certforecast.models.saved import load_part

    return load_part(prior_path(), Ed25519PublicKey.from_public_bytes(bytes.fromhex(SIGNED_BY)))
