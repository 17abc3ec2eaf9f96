"""Keystores, found in Tomcat's ``server.xml`` or by a look through a folder."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

from certforecast.errors import InstallationError
from certforecast.execution.installers import Found
from certforecast.execution.installers.elsewhere import shown_of
from certforecast.execution.installers.keystore_formats import Keystore

__all__ = ["in_folder", "in_server_xml"]

_ENDINGS: Final = (".p12", ".pfx", ".pkcs12", ".jks", ".jceks", ".keystore")
#: Opens keystores that a folder is looked through for, as it does for `import`.
_PASSWORD: Final = "CERTFORECAST_PASSWORD"  # noqa: S105 (a name)
#: What Tomcat takes where a keystore has no password in its configuration.
_TOMCATS: Final = "changeit"


@dataclass(frozen=True, slots=True)
class _Named:
    """A keystore as a configuration names it.

    Attributes
    ----------
    path : Path
        The file.
    alias : str or None
        Of its entry, if that is said.
    password : str or None
        Read, and never shown; None if it is not known.
    password_file : str or None
        Where the configuration has it from.
    address : str or None
        Where it is served.
    """

    path: Path
    alias: str | None = None
    password: str | None = None
    password_file: str | None = None
    address: str | None = None


def in_folder(folder: Path) -> list[Found]:
    """Find the keystores below a folder, by their endings, in the order of their paths.

    Java's are read without a password. PKCS#12 is opened with that in CERTFORECAST_PASSWORD, if it does.

    Raises
    ------
    InstallationError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise InstallationError(f"{folder} is no folder and no server.xml: name one", code="config")
    password = os.environ.get(_PASSWORD)
    paths = (path for path in sorted(folder.rglob("*")) if path.suffix in _ENDINGS and path.is_file())
    # What was kept of earlier versions, in hidden folders, is in no server's use.
    seen = (
        path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return [found for path in seen for found in _found(_Named(path, password=password))]


def in_server_xml(file: Path, base: Path | None = None) -> list[Found]:
    """Find the keystores that a Tomcat's connectors name.

    Parameters
    ----------
    file : path
        Usually ``conf/server.xml``.
    base : path, optional
        The folder that relative paths begin at (``catalina.base``). Default: the one above the file's.

    Raises
    ------
    InstallationError
        If it cannot be read as XML.
    """
    try:
        root = ElementTree.fromstring(file.read_bytes())  # noqa: S314 (expat bounds what entities grow to)
    except OSError as error:
        raise InstallationError(f"{file} cannot be read: {error.strerror}", code="permission") from error
    except ElementTree.ParseError as error:
        raise InstallationError(f"{file} cannot be read: {error}", code="config") from error
    named = _connectors(root, base or file.absolute().parent.parent)
    return [found for one in named for found in _found(one)]


def _connectors(root: ElementTree.Element, base: Path) -> Iterator[_Named]:
    """Read what connectors name: in elements of their own since Tomcat 8.5, in attributes before."""
    for connector in root.iter("Connector"):
        address = f"{connector.get('address', '*')}:{connector.get('port', '8443')}"
        for certificate in connector.iter("Certificate"):
            if file := certificate.get("certificateKeystoreFile"):
                yield _named(
                    base,
                    file,
                    certificate.get("certificateKeyAlias"),
                    certificate.get("certificateKeystorePassword"),
                    certificate.get("certificateKeystorePasswordFile"),
                    address,
                )
        if file := connector.get("keystoreFile"):
            alias, password = connector.get("keyAlias"), connector.get("keystorePass")
            yield _named(base, file, alias, password, None, address)


def _named(
    base: Path, file: str, alias: str | None, password: str | None, password_file: str | None, address: str
) -> _Named:
    def filled(text: str) -> str:
        return re.sub(r"\$\{catalina\.(base|home)\}", lambda _: str(base), text)

    if password_file is not None:
        password_file = str(base / filled(password_file))
        try:
            password = Path(password_file).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError):
            password = None
    elif password is None:
        password = _TOMCATS
    path = base / filled(file.removeprefix("file:"))
    return _Named(path, alias, password, password_file, address)


def _found(one: _Named) -> Iterator[Found]:
    """Give each entry with a key; the keystore alone where its entries cannot be read."""
    settings = {"kind": "keystore", "keystore": str(one.path)}
    if one.password_file is not None:
        settings["password_file"] = one.password_file
    addresses = (one.address,) if one.address else ()
    try:
        leaves = Keystore(one.path.read_bytes(), one.password or "", "", None).leaves()
    except (OSError, InstallationError):
        leaves = {}
    if one.alias is not None:
        leaf = next((der for alias, der in leaves.items() if alias.lower() == one.alias.lower()), None)
        leaves = {one.alias: leaf} if leaf is not None else {}
    for alias, der in leaves.items():
        names, leaf_print = shown_of(der)
        named = {"alias": alias} if len(leaves) > 1 or one.alias is not None else {}
        yield Found("keystore", names, addresses, leaf_print, {**settings, **named})
    if not leaves:
        named = {"alias": one.alias} if one.alias is not None else {}
        yield Found("keystore", (), addresses, None, {**settings, **named})
