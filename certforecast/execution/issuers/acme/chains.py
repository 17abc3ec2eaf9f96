"""Which of several chains to serve (RFC 8555, section 7.4.2)."""

import logging
from collections.abc import Iterable
from typing import Final

from cryptography import x509

__all__ = ["choose"]

_LOG: Final = logging.getLogger(__name__)


def choose(chains: Iterable[bytes], preferred: str | None) -> bytes:
    """Give the chain that leads to an authority; the first if none does, which is logged.

    Parameters
    ----------
    chains : iterable of bytes
        PEM, leaf first; the server's own choice comes first. No more are taken than are needed.
    preferred : str or None
        Common name of the root, which mostly is not in the chain itself, or of another issuer on the way.
    """
    seen: list[bytes] = []
    on_the_way: bytes | None = None
    for chain in chains:
        if preferred is None:
            return chain
        issuers = [_common_name(one.issuer) for one in x509.load_pem_x509_certificates(chain)]
        if issuers[-1] == preferred:
            return chain
        if preferred in issuers and on_the_way is None:
            on_the_way = chain
        seen.append(chain)
    if on_the_way is not None:
        return on_the_way
    roots = [_common_name(x509.load_pem_x509_certificates(chain)[-1].issuer) for chain in seen]
    _LOG.warning("no chain leads to %s (preferred_chain), only to %s: the first is taken", preferred, roots)
    return seen[0]


def _common_name(name: x509.Name) -> str:
    return "".join(str(one.value) for one in name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[:1])
