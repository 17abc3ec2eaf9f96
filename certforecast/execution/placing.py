"""Placing an order: where the issuer wants to know, with the certificate that it replaces."""

from certforecast.execution.issuers import Order
from certforecast.execution.issuers.suggestions import Replacing, certid, certid_of
from certforecast.execution.preflight import Ready
from certforecast.planning.plan import Action

__all__ = ["known_certid", "place"]


def place(ready: Ready, action: Action, csr: bytes) -> Order:
    """Place the order of an action.

    Parameters
    ----------
    ready : Ready
        What the endpoints serve, and the issuer.
    action : Action
        What it acts upon is what is replaced; at another authority (``reissue``) nothing is.
    csr : bytes
        Signing request, PEM.
    """
    replaced = _replaced(ready, action) if action.kind != "reissue" else None
    if replaced is not None and isinstance(ready.issuer, Replacing):
        return ready.issuer.order_replacing(csr, replaced)
    return ready.issuer.order(csr)


def _replaced(ready: Ready, action: Action) -> str | None:
    for seen in ready.served:
        if seen.der is not None and seen.fingerprint == action.fingerprint:
            return certid_of(seen.der)
    return None


def known_certid(key_identifier: object, serial: object) -> str | None:
    """Name a certificate by what the history holds of it, both hex; None if that is not enough."""
    if not isinstance(key_identifier, str) or not isinstance(serial, str):
        return None
    try:
        return certid(bytes.fromhex(key_identifier), int(serial, 16))
    except ValueError:
        return None
