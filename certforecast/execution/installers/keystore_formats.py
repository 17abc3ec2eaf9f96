"""One entry of a Java keystore exchanged, the others kept.

A PKCS#12 file with one entry is written by cryptography, JKS by purejks. What neither can write again whole,
PKCS#12 with several entries and JCEKS, is left to Java's own keytool. Passwords are never part of an error.
"""

import os
import re
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    pkcs12,
)

from certforecast.errors import InstallationError
from certforecast.execution.installers.processes import run

__all__ = ["Keystore"]

_JKS: Final = b"\xfe\xed\xfe\xed"
_JCEKS: Final = b"\xce\xce\xce\xce"

#: An entry with a key as keytool lists it: its alias, and the first certificate that follows.
_LISTED: Final = re.compile(
    r"^Alias name: (.*)\n(?:(?!Alias name:).*\n)*?Entry type: PrivateKeyEntry\n(?:(?!Alias name:).*\n)*?"
    r"(-----BEGIN CERTIFICATE-----\n[^-]*-----END CERTIFICATE-----)",
    re.MULTILINE,
)

#: The variable that keytool takes the password from: arguments are for everybody to read.
_VARIABLE: Final = "CERTFORECAST_KEYSTORE_PASSWORD"


@dataclass(frozen=True)
class Keystore:
    """The content of a keystore, and how it is opened.

    Attributes
    ----------
    data : bytes
        The file as it is.
    password, key_password : str
        Of the keystore, and of its entry (JKS only).
    alias : str or None
        Of the entry; None stands for the only one with a key.
    """

    data: bytes
    password: str
    key_password: str
    alias: str | None

    def chain(self) -> list[bytes]:
        """Give the certificates of the entry, DER, leaf first.

        Raises
        ------
        InstallationError
            If the keystore cannot be opened, or has no such entry with a key.
        """
        if self.data.startswith(_JKS):
            _, entry = self._jks_entry(self._jks(self.password))
            return [der for _, der in entry.cert_chain]
        if (held := self._single()) is not None and held.cert is not None:
            certificates = [held.cert.certificate, *(each.certificate for each in held.additional_certs)]
            return [each.public_bytes(Encoding.DER) for each in certificates]
        with tempfile.TemporaryDirectory() as folder:
            store = _write(Path(folder) / "store", self.data)
            told = self._keytool("-exportcert", "-rfc", "-keystore", store, "-alias", self._named())
            exported = x509.load_pem_x509_certificates(told.encode("ascii", errors="replace"))
        return [each.public_bytes(Encoding.DER) for each in exported]

    def leaves(self) -> dict[str, bytes]:
        """Give the leaf of every entry with a key, DER, by alias; an alias may be empty.

        JKS and JCEKS are read without the password: it guards no certificate.

        Raises
        ------
        InstallationError
            If the keystore cannot be opened, or only keytool could, which is not there.
        """
        if self.data.startswith((_JKS, _JCEKS)):
            entries = self._jks(None).private_keys
            return {alias: entry.cert_chain[0][1] for alias, entry in entries.items() if entry.cert_chain}
        if (held := self._single()) is not None and held.cert is not None:
            name = (held.cert.friendly_name or b"").decode("utf-8", errors="replace")
            return {name: held.cert.certificate.public_bytes(Encoding.DER)}
        with tempfile.TemporaryDirectory() as folder:
            told = self._keytool("-list", "-rfc", "-keystore", _write(Path(folder) / "store", self.data))
        return {
            alias: x509.load_pem_x509_certificate(leaf.encode("ascii")).public_bytes(Encoding.DER)
            for alias, leaf in _LISTED.findall(told)
        }

    def exchanged(self, chain_pem: bytes, key_pem: bytes) -> bytes:
        """Give the keystore with another certificate and key in the entry.

        Raises
        ------
        InstallationError
            If that cannot be done without loss.
        """
        chain, key = x509.load_pem_x509_certificates(chain_pem), load_pem_private_key(key_pem, None)
        if self.data.startswith(_JKS):
            return self._exchanged_jks(
                [each.public_bytes(Encoding.DER) for each in chain],
                key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
            )
        held = self._single()
        alias = held.cert.friendly_name if held is not None and held.cert is not None else None
        made = pkcs12.serialize_key_and_certificates(
            alias or (self._named().encode() if held is None else None),
            key,  # type: ignore[arg-type]
            chain[0],
            chain[1:],
            BestAvailableEncryption(self.password.encode()),
        )
        return made if held is not None else self._merged(made)

    def _merged(self, made: bytes) -> bytes:
        """Have keytool put the entry of one keystore into a copy of ours."""
        with tempfile.TemporaryDirectory() as folder:
            source, store = _write(Path(folder) / "new", made), _write(Path(folder) / "store", self.data)
            self._keytool(
                *("-importkeystore", "-noprompt", "-srckeystore", source, "-srcstoretype", "PKCS12"),
                *("-srcstorepass:env", _VARIABLE, "-srcalias", self._named(), "-destalias", self._named()),
                *("-destkeystore", store, "-deststorepass:env", _VARIABLE),
                store=False,
            )
            return Path(store).read_bytes()

    def _named(self) -> str:
        if self.alias is None:
            raise InstallationError("the keystore has more than one entry: set alias to ours", code="config")
        return self.alias

    def _keytool(self, *arguments: str, store: bool = True) -> str:
        if shutil.which("keytool") is None:
            raise InstallationError(
                "only Java's keytool can change this keystore and keep its other entries: install it (a part"
                " of Java)",
                code="config",
            )
        more = ["-storepass:env", _VARIABLE] if store else []
        return run(
            ["keytool", *arguments, *more],
            environment={**os.environ, _VARIABLE: self.password, "LC_ALL": "C.UTF-8"},
            code="config",
        )

    def _single(self) -> pkcs12.PKCS12KeyAndCertificates | None:
        """Open a PKCS#12 file that has nothing but one key and its chain; None if it has more."""
        if not self.data.startswith(b"\x30"):
            return None  # JCEKS
        try:
            held = pkcs12.load_pkcs12(self.data, self.password.encode())
        except ValueError:
            raise InstallationError("it is no PKCS#12 file that the password opens", code="config") from None
        if held.key is None or held.cert is None:
            return None
        above = held.cert.certificate
        rest = {each.certificate.subject: each for each in held.additional_certs}
        if len(rest) != len(held.additional_certs):
            return None
        while (issuer := rest.pop(above.issuer, None)) is not None:
            above = issuer.certificate
        named = (held.cert.friendly_name or b"").decode("utf-8", errors="replace").lower()
        ours = self.alias is None or self.alias.lower() == named
        return held if ours and not rest else None

    def _jks(self, password: str | None) -> Any:
        try:
            import jks
        except ModuleNotFoundError as error:
            raise InstallationError(
                "Java keystores need purejks: pip install 'certforecast[java]'", code="config"
            ) from error
        try:
            return jks.KeyStore.loads(self.data, password, try_decrypt_keys=False)
        except Exception:  # purejks lets errors of several kinds through
            raise InstallationError("it is no JKS file that the password opens", code="config") from None

    def _jks_entry(self, store: Any) -> tuple[str, Any]:
        entries = store.private_keys
        if self.alias is None and len(entries) == 1:
            ((alias, entry),) = entries.items()
            return alias, entry
        alias = self._named().lower()
        if alias not in entries:
            there = ", ".join(sorted(entries)) or "none"
            raise InstallationError(f"it has no key called {alias!r} (there are: {there})", code="config")
        return alias, entries[alias]

    def _exchanged_jks(self, chain: list[bytes], key: bytes) -> bytes:
        import jks

        store = self._jks(self.password)
        alias, old = self._jks_entry(store)
        try:
            old.decrypt(self.key_password)  # what does not open with it now could not be read afterwards
        except Exception:
            raise InstallationError(
                f"the key {alias!r} does not open with its password", code="config"
            ) from None
        entry = jks.PrivateKeyEntry.new(alias, chain, key)
        entry.encrypt(self.key_password)
        store.entries[alias] = entry
        made: bytes = store.saves(self.password)
        return made


def _write(path: Path, data: bytes) -> str:
    with suppress(FileNotFoundError):
        path.unlink()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    return str(path)
