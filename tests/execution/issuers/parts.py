"""What tests of issuers share."""

from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWK, JWKEC


def account_key() -> JWK:
    """Make the key of an account."""
    return JWKEC(key=ec.generate_private_key(ec.SECP256R1()))
