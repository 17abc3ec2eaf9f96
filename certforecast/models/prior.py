"""The shipped model that a fleet without a history of its own starts with."""

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from certforecast.errors import ModelError

if TYPE_CHECKING:
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool

__all__ = ["SHA256", "prior_path", "shipped_prior"]

#: Of the file that belongs to this version: no other is opened.
SHA256: Final = "f252c415aa0fe70a2df1d41116963618442625a58defa4bbc6840bc509fa3426"


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
    from certforecast.models.saved import read_model

    path = prior_path()
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise ModelError(
            f"{path} is not the model shipped with this version of certforecast: install certforecast again"
        )
    return read_model(path)
