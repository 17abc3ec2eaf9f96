"""Private keys in a PKCS#11 token: made there, used there, and never outside.

The signing request is put together here, because cryptography signs with keys of its own only; what is
signed is signed by the token, and checked by cryptography before it is given away.
"""

import hashlib
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from certforecast.errors import ExecutionError
from certforecast.execution.keys import request_parts
from certforecast.execution.references import KeyReference, token_uri
from certforecast.settings import KeySettings

if TYPE_CHECKING:
    from pkcs11 import Session

__all__ = ["TokenKeys"]

#: A process is logged into a token once, whatever its threads.
_ONE_SESSION: Final = Lock()

_CURVES: Final = {"ecdsa-p256": "secp256r1", "ecdsa-p384": "secp384r1"}


class TokenKeys:
    """The keys of one token.

    Parameters
    ----------
    settings : KeySettings
        With `token`, `module` and `pin_file`.
    """

    def __init__(self, settings: KeySettings) -> None:
        self._settings = settings

    def make(self, label: str, action: str) -> bytes:
        """Make a key that cannot be taken out, or find it again; give its reference, PEM.

        Parameters
        ----------
        label : str
            Of the key.
        action : str
            What it is made for: the same gives the same key, so that a run that was killed makes no second
            one. With ``reuse`` the key of this label is used, whatever it was made for.

        Raises
        ------
        ExecutionError
            If the token is not there, refuses, or has several keys of the label.
        """
        from pkcs11 import Attribute

        reuse = self._settings.reuse
        identity = hashlib.sha256((label if reuse else action).encode()).digest()[:16]
        with self._session() as session:
            wanted: dict[Any, Any] = {Attribute.LABEL: label} if reuse else {Attribute.ID: identity}
            found = self._private_keys(session, wanted)
            if len(found) > 1:
                raise ExecutionError(
                    f"token {self._settings.token} has {len(found)} keys with the label {label!r}: "
                    "delete those that are not in use, or set keys.label",
                    code="config",
                )
            if found:
                identity = bytes(found[0][Attribute.ID])
                label = str(found[0][Attribute.LABEL])
            else:
                self._generate(session, label, identity)
            public = self._public_key(session, identity)
        uri = token_uri(str(self._settings.token), label, identity)
        return KeyReference(uri, public).to_pem()

    def request(self, reference: bytes, names: Sequence[str]) -> bytes:
        """Have the token sign a request for `names`; give it as PEM.

        Raises
        ------
        ExecutionError
            If the token is not there, refuses, or no longer has the key.
        """
        from asn1crypto import core, csr, keys
        from asn1crypto import x509 as asn1

        read = KeyReference.from_pem(reference)
        spki = read.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        subject, alternatives = request_parts(names)
        extension = {
            "extn_id": "subject_alt_name",
            "critical": False,
            "extn_value": core.ParsableOctetString(alternatives.public_bytes()),
        }
        information = csr.CertificationRequestInfo(
            {
                "version": "v1",
                "subject": asn1.Name.load(subject.public_bytes()),
                "subject_pk_info": keys.PublicKeyInfo.load(spki),
                "attributes": [{"type": "extension_request", "values": [[extension]]}],
            }
        )
        is_ec = isinstance(read.public_key, ec.EllipticCurvePublicKey)
        signed = csr.CertificationRequest(
            {
                "certification_request_info": information,
                "signature_algorithm": {"algorithm": "sha256_ecdsa" if is_ec else "sha256_rsa"},
                "signature": self._sign(read, information.dump()),
            }
        )
        request = x509.load_der_x509_csr(signed.dump())
        if not request.is_signature_valid:
            raise self._other_key(read)
        return request.public_bytes(Encoding.PEM)

    def check(self, reference: bytes) -> None:
        """Have the token sign, and check that with the public key of the reference.

        Raises
        ------
        ExecutionError
            If the key is not in the token, or is another one.
        """
        read = KeyReference.from_pem(reference)
        data = hashlib.sha256(read.uri.encode()).digest()
        signature = self._sign(read, data)
        try:
            if isinstance(read.public_key, ec.EllipticCurvePublicKey):
                read.public_key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
            elif isinstance(read.public_key, rsa.RSAPublicKey):
                read.public_key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            else:
                raise self._other_key(read)
        except InvalidSignature:
            raise self._other_key(read) from None

    def _sign(self, reference: KeyReference, data: bytes) -> bytes:
        from pkcs11 import Attribute, Mechanism
        from pkcs11.util.ec import encode_ecdsa_signature

        with self._session() as session:
            found = self._private_keys(session, {Attribute.ID: reference.identity})
            if not found:
                raise ExecutionError(
                    f"token {self._settings.token} does not have the key {reference.uri}: "
                    "put the token back, or make a new plan",
                    code="config",
                )
            if isinstance(reference.public_key, ec.EllipticCurvePublicKey):
                raw = found[0].sign(hashlib.sha256(data).digest(), mechanism=Mechanism.ECDSA)
                return bytes(encode_ecdsa_signature(raw))
            return bytes(found[0].sign(data, mechanism=Mechanism.SHA256_RSA_PKCS))

    def _generate(self, session: "Session", label: str, identity: bytes) -> None:
        from pkcs11 import Attribute, KeyType
        from pkcs11.util.ec import encode_named_curve_parameters

        options: dict[str, Any] = {
            "id": identity,
            "label": label,
            "store": True,
            "private_template": {Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True},
        }
        algorithm = self._settings.algorithm
        if algorithm in _CURVES:
            curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[algorithm])}
            session.create_domain_parameters(KeyType.EC, curve, local=True).generate_keypair(**options)
        else:
            session.generate_keypair(KeyType.RSA, int(algorithm.rpartition("-")[2]), **options)

    def _private_keys(self, session: "Session", wanted: dict[Any, Any]) -> list[Any]:
        from pkcs11 import Attribute, ObjectClass

        return list(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, **wanted}))

    def _public_key(self, session: "Session", identity: bytes) -> PublicKeyTypes:
        from pkcs11 import Attribute, KeyType, ObjectClass
        from pkcs11.util.ec import encode_ec_public_key
        from pkcs11.util.rsa import encode_rsa_public_key

        wanted = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: identity}
        found: list[Any] = list(session.get_objects(wanted))
        if not found:
            raise ExecutionError(
                f"token {self._settings.token} has a private key without its public key (CKA_ID "
                f"{identity.hex()}): put the public key beside it",
                code="config",
            )
        is_ec = found[0].key_type == KeyType.EC
        return load_der_public_key((encode_ec_public_key if is_ec else encode_rsa_public_key)(found[0]))

    @contextmanager
    def _session(self) -> Iterator["Session"]:
        settings = self._settings
        try:
            import pkcs11
        except ImportError as error:
            raise ExecutionError(
                "keys in a token need python-pkcs11: pip install 'certforecast[pkcs11]'", code="config"
            ) from error
        pin = self._pin()
        with _ONE_SESSION:
            try:
                token = pkcs11.lib(str(settings.module)).get_token(token_label=settings.token)
                with token.open(rw=True, user_pin=pin) as session:
                    yield session
            except pkcs11.PKCS11Error as error:
                reason = str(error) or type(error).__name__
                raise ExecutionError(
                    f"token {settings.token} of {settings.module}: {reason}: check token, module, pin_file",
                    code="config",
                ) from error

    def _pin(self) -> str:
        path = self._settings.pin_file
        assert path is not None  # noqa: S101 - the settings see to it
        try:
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                raise ExecutionError(
                    f"{path} is open to other users: make it yours alone with chmod 600", code="config"
                )
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not plain text"
            raise ExecutionError(f"{path} cannot be read: {reason}", code="config") from None

    def _other_key(self, reference: KeyReference) -> ExecutionError:
        return ExecutionError(
            f"token {self._settings.token} signs with another key than {reference.uri} was made with: "
            "make a new plan",
            code="config",
        )
