"""Every kind of problem with an ACME server: whether it is asked again, and whether it is the CA's own.

The kinds are those of RFC 8555 (section 6.7), RFC 9773 and the drafts in use, and a few of ours for what a
server says without ACME's words. A kind is the code of an `IssuanceError`, and of the event in the history.
"""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["KINDS", "Kind", "is_theirs", "kind_of"]

#: ``at_once``: with a new nonce. ``later``: when the server says (``Retry-After``), if that is within our
#: patience. ``soon``: a few times, after pauses that grow. ``anew``: once, after what it takes (an account
#: made anew; an order without ``replaces``; a look at the order). ``never``: it would fail again.
Again = Literal["at_once", "later", "soon", "anew", "never"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is done about a kind of problem.

    Attributes
    ----------
    again : str
        Whether and when the request is made again.
    theirs : bool
        Whether the cause lies with the CA, so that another CA may do what this one does not.
    """

    again: Again
    theirs: bool = False


KINDS: Final = {
    "badNonce": Kind("at_once", theirs=True),
    "rateLimited": Kind("later", theirs=True),
    "serverInternal": Kind("soon", theirs=True),
    "unreachable": Kind("soon", theirs=True),  # no connection, or one that broke off
    "timeout": Kind("never", theirs=True),  # an order not done by its deadline
    "protocol": Kind("never", theirs=True),  # an answer that is no ACME
    "accountDoesNotExist": Kind("anew", theirs=True),
    "alreadyReplaced": Kind("anew"),
    "orderNotReady": Kind("anew"),
} | dict.fromkeys(
    (
        *("badCSR", "badPublicKey", "badSignatureAlgorithm", "malformed", "invalidProfile", "unsupported"),
        *("rejectedIdentifier", "unsupportedIdentifier", "unauthorized", "compound", "invalid"),
        *("caa", "connection", "dns", "dnssec", "incorrectResponse", "tls", "unknownHost"),
        *("externalAccountRequired", "userActionRequired", "invalidContact", "unsupportedContact"),
        *("alreadyRevoked", "badRevocationReason", "invalidEmail"),
    ),
    Kind("never"),
)


def kind_of(code: str | None) -> Kind:
    """Give what is done about a code; what is not known is ours, and not asked again."""
    return KINDS.get(code or "", Kind("never"))


def is_theirs(code: str | None) -> bool:
    """Tell whether a cause lies with the CA."""
    return kind_of(code).theirs
