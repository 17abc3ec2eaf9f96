"""Revoking a certificate (RFC 8555, section 7.6)."""

from enum import IntEnum
from typing import Final

from acme import messages  # noqa: TID253
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from josepy.jwa import ES256, ES384, ES512, RS256, JWASignature
from josepy.jwk import JWK, JWKEC, JWKRSA

from certforecast.errors import IssuanceError
from certforecast.execution.issuers.acme.client import Client, connect
from certforecast.execution.issuers.acme.problems import explained
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings

__all__ = ["Reason", "owner", "revoke"]

_CURVES: Final = {"secp256r1": ES256, "secp384r1": ES384, "secp521r1": ES512}


class Reason(IntEnum):
    """Why a certificate is revoked (RFC 5280, section 5.3.1): those that subscribers may give."""

    unspecified = 0
    keyCompromise = 1  # noqa: N815 - RFC 5280 writes them so
    affiliationChanged = 3  # noqa: N815
    superseded = 4
    cessationOfOperation = 5  # noqa: N815


def revoke(client: Client, directory_url: str, certificate: x509.Certificate, reason: Reason) -> bool:
    """Revoke a certificate.

    Returns
    -------
    bool
        False if it was revoked already.

    Raises
    ------
    IssuanceError
        If the server cannot be reached or refuses.
    """
    with explained(directory_url):
        try:
            client.revoke(certificate, int(reason))
        except messages.Error as error:
            if error.code != "alreadyRevoked":
                raise
            return False
    return True


def owner(settings: AcmeIssuerSettings, certificate: x509.Certificate, key_pem: bytes) -> Client:
    """Speak to a server as the owner of a certificate's key: no account is needed.

    Raises
    ------
    IssuanceError
        If it is not the certificate's key, or of a kind that ACME does not sign with here.
    """
    try:
        key = load_pem_private_key(key_pem, None)
    except (ValueError, TypeError):
        raise IssuanceError(
            "the private key cannot be read: name an unencrypted PEM file", code="config"
        ) from None
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise IssuanceError(
            "the private key is not that of the certificate: name the right file", code="config"
        )
    jwk: JWK
    alg: JWASignature
    if isinstance(key, rsa.RSAPrivateKey):
        jwk, alg = JWKRSA(key=key), RS256
    elif isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        jwk, alg = JWKEC(key=key), _CURVES[key.curve.name]
    else:
        raise IssuanceError(
            "ACME requests are not signed with such a key: revoke by the account", code="config"
        )
    with explained(settings.directory_url):
        return connect(settings.directory_url, jwk, settings.ca_file, alg)
