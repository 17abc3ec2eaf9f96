"""Sites with a certificate, in a configuration as ``nginx -T`` prints it, everything included."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Site", "sites"]

_TOKEN: Final = re.compile(
    r"""\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|[^\s{};"'#]+(?:\$\{\w+\}[^\s{};]*)*"""
)


@dataclass(frozen=True, slots=True)
class Site:
    """One certificate of one server block."""

    names: tuple[str, ...]
    addresses: tuple[str, ...]
    certificate: str
    key: str


@dataclass
class _Block:
    kind: str
    directives: dict[str, list[list[str]]] = field(default_factory=dict)


def sites(told: str, root: Path) -> Iterator[Site]:
    """Give the server blocks of a configuration that have certificates.

    Parameters
    ----------
    told : str
        What ``nginx -T`` printed.
    root : Path
        What relative paths are relative to: the folder of the main file.
    """
    stack = [_Block("")]
    words: list[str] = []
    for found in _TOKEN.finditer(told):
        part = found[0]
        if part.startswith("#"):
            continue
        if part == "{":
            stack.append(_Block(words[0] if words else ""))
        elif part == "}":
            block = stack.pop() if len(stack) > 1 else stack[0]
            if block.kind == "server":
                yield from _of_server(block, stack, root)
        elif part == ";":
            if words:
                stack[-1].directives.setdefault(words[0], []).append(words[1:])
        else:
            words.append(part.strip("\"'"))
            continue
        words = []


def _of_server(server: _Block, above: list[_Block], root: Path) -> Iterator[Site]:
    """Give a server's certificates: its own, or else those of the block that it is in."""

    def said(name: str) -> list[list[str]]:
        return next((b.directives[name] for b in [server, *reversed(above)] if name in b.directives), [])

    listens = server.directives.get("listen", [])
    if not any({"ssl", "quic"} & set(listen) for listen in listens):
        return
    addresses = tuple(_address(listen[0]) for listen in listens if listen)
    names = tuple(name for names in server.directives.get("server_name", []) for name in names if name != "_")
    for certificate, key in zip(said("ssl_certificate"), said("ssl_certificate_key"), strict=False):
        if "$" not in certificate[0] and ":" not in certificate[0]:  # neither variable nor data: nor engine:
            yield Site(names, addresses, str(root / certificate[0]), str(root / key[0]))


def _address(listen: str) -> str:
    return listen if ":" in listen else f"*:{listen}" if listen.isdigit() else f"{listen}:80"
