"""The shipped models that a fleet without a history of its own starts with."""

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from certforecast.errors import ModelError

if TYPE_CHECKING:
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.hazard import RenewalHazard

__all__ = ["SIGNED_BY", "shipped_digest", "shipped_path", "shipped_prior", "shipped_times"]

#: Half of the key that signed the files of this version, as hexadecimal digits. The other half is not kept.
SIGNED_BY: Final = "8dd171dd737ef534f45cc327c0eeaf358daff487fee84e95431bbd2ac1501e0d"

_PRIOR, _TIMES = "prior.skops", "times.skops"


def shipped_path(name: str) -> Path:
    """Find a file: in the installed package, or in the checkout.

    Raises
    ------
    ModelError
        If it is in neither.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "shipped", here.parents[1] / "models"):
        if (folder / name).is_file():
            return folder / name
    raise ModelError("a shipped model is missing from this installation: install certforecast again")


@cache
def shipped_prior() -> "OutcomeClassifier":
    """Load the shipped model of outcomes; models/README.md is its card.

    Raises
    ------
    ModelError
        If it is missing, or not the one that belongs to this version.
    """
    from certforecast.models.classifier import OutcomeClassifier

    return cast("OutcomeClassifier", _shipped(_PRIOR, OutcomeClassifier))


@cache
def shipped_times() -> "RenewalHazard":
    """Load the shipped model of times; models/README.md is its card.

    Raises
    ------
    ModelError
        If it is missing, or not the one that belongs to this version.
    """
    from certforecast.models.hazard import RenewalHazard

    return cast("RenewalHazard", _shipped(_TIMES, RenewalHazard))


@cache
def shipped_digest() -> str:
    """Hash the files of both shipped models; 16 hexadecimal digits.

    Raises
    ------
    ModelError
        If one is missing.
    """
    data = b"".join(hashlib.sha256(shipped_path(name).read_bytes()).digest() for name in (_PRIOR, _TIMES))
    return hashlib.sha256(data).hexdigest()[:16]


def _shipped(name: str, kind: type) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from certforecast.models.saved import load_part

    return load_part(shipped_path(name), Ed25519PublicKey.from_public_bytes(bytes.fromhex(SIGNED_BY)), kind)
