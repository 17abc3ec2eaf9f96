"""Virtual hosts with a certificate, as Apache's configuration files name them.

Apache says itself which files it reads and what its variables are; it does not say which certificate a
virtual host has. So the few directives that do are looked for in those files.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Virtual", "virtual_hosts"]

_VARIABLE: Final = re.compile(r"\$\{([^}:]+)\}")
_CONTINUED: Final = re.compile(r"\\\r?\n")


@dataclass(frozen=True, slots=True)
class Virtual:
    """One virtual host: its names, its address, and its files."""

    names: tuple[str, ...]
    address: str
    certificate: str
    key: str


@dataclass
class _Block:
    names: list[str]
    address: str
    certificates: list[str]
    keys: list[str]

    def virtuals(self) -> Iterator[Virtual]:
        keys = self.keys or self.certificates  # a file may hold both
        for certificate, key in zip(self.certificates, keys, strict=False):
            yield Virtual(tuple(self.names), self.address, certificate, key)


def virtual_hosts(files: Sequence[Path], variables: Mapping[str, str], root: Path) -> Iterator[Virtual]:
    """Give the virtual hosts of configuration files, and the server itself, that have a certificate.

    Parameters
    ----------
    files : sequence of Path
        Every file that Apache reads. What cannot be read has no virtual host.
    variables : mapping
        What stands for ``${NAME}``.
    root : Path
        What relative paths are relative to (ServerRoot).
    """

    def filled(text: str) -> str:
        return _VARIABLE.sub(lambda found: variables.get(found[1], found[0]), text)

    for file in files:
        try:
            text = _CONTINUED.sub(" ", file.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            continue
        server = block = _Block([], "*:443", [], [])
        for line in map(str.strip, text.splitlines()):
            directive, _, rest = line.partition(" ")
            match directive.lower():
                case "<virtualhost":
                    block = _Block([], filled(rest.rstrip("> ").split()[0]), [], [])
                case "</virtualhost>":
                    yield from block.virtuals()
                    block = server
                case "servername" | "serveralias":
                    block.names += [name.lower() for name in _words(filled(rest))]
                case "sslcertificatefile":
                    block.certificates += [str(root / path) for path in _words(filled(rest))[:1]]
                case "sslcertificatekeyfile":
                    block.keys += [str(root / path) for path in _words(filled(rest))[:1]]
        yield from server.virtuals()


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
