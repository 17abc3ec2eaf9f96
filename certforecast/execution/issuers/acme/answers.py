"""Challenges: which one answers for a name, and what shows the answers while the server looks for them."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from acme import challenges, messages  # noqa: TID253
from josepy.jwk import JWK

from certforecast.execution.issuers import ChallengeError
from certforecast.history.names import is_ip

__all__ = ["Answer", "Solver", "pick", "refuse_names"]

_WILDCARD: Final = (
    'is a wildcard, and those are validated by dns-01 only: set challenge = "dns-01" and a table dns '
    "for its issuer"
)
_ADDRESS: Final = 'is an IP address, which dns-01 never validates: use an issuer with challenge = "http-01"'


@dataclass(frozen=True)
class Answer:
    """What answers one challenge.

    Attributes
    ----------
    name : str
        The name or IP address that is validated; of a wildcard, what it stands below.
    challenge : KeyAuthorizationChallenge
        As the server gave it.
    key : JWK
        The account's key, of which the answer is made.
    """

    name: str
    challenge: challenges.KeyAuthorizationChallenge
    key: JWK


class Solver(Protocol):
    """One way to answer challenges."""

    @property
    def kind(self) -> str:
        """The challenges' type, such as ``http-01``."""
        ...

    def show(self, answers: Sequence[Answer]) -> AbstractContextManager[None]:
        """Show answers for the time of the block.

        Raises
        ------
        IssuanceError
            If they cannot be shown.
        """
        ...


def refuse_names(names: Iterable[str], kind: str) -> None:
    """Refuse names that a kind of challenge never validates, before anything is ordered.

    Raises
    ------
    ChallengeError
        If there is one; its code is ``unsupported``.
    """
    for name in names:
        if name.startswith("*.") and kind != "dns-01":
            raise ChallengeError(f"{name} {_WILDCARD}", code="unsupported")
        if is_ip(name) and kind == "dns-01":
            raise ChallengeError(f"{name} {_ADDRESS}", code="unsupported")


def pick(authorization: messages.AuthorizationResource, kind: str) -> messages.ChallengeBody:
    """Give the challenge of a kind.

    Raises
    ------
    ChallengeError
        If the server does not offer it; its code is ``unsupported``.
    """
    offered = {
        challenge.chall.to_json().get("type"): challenge for challenge in authorization.body.challenges
    }
    if kind in offered:
        return offered[kind]
    raise ChallengeError(
        f"the server offers no {kind} challenge for {authorization.body.identifier.value}, but "
        f"{', '.join(sorted(map(str, offered))) or 'nothing'}: set challenge of its issuer, "
        "or order it elsewhere",
        code="unsupported",
    )
