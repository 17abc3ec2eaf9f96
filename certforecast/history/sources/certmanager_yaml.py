"""Kubernetes resources in files: YAML or JSON, one or many."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["SUFFIXES", "Resource", "resources", "says_cert_manager"]

SUFFIXES: Final = (".yaml", ".yml", ".json")
#: The longest file that is read, in bytes.
_LIMIT: Final = 256 << 20
_LOOK: Final = 65536
#: Nested aliases are cheap to write, and dear to follow.
_ALIASES: Final = 1000


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource, and where it stood."""

    position: str
    content: dict[str, Any]


def resources(path: Path, position: str) -> Iterator[Resource]:
    """Read the resources of a file, those of lists one by one.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is neither YAML nor JSON, with the position of the mistake, or holds no resource.
    """
    if path.stat().st_size > _LIMIT:
        raise ValueError(f"it is longer than {_LIMIT} bytes; dump one kind of resource a file")
    text = path.read_text(encoding="utf-8-sig")
    number = 0
    try:
        for document in _documents(text):
            for content in _listed(document):
                yield Resource(f"{position}#{number}", content)
                number += 1
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not number:
        raise ValueError("it holds no Kubernetes resource")


def _documents(text: str) -> Iterator[Any]:
    import yaml

    if text.lstrip()[:1] in ("{", "["):
        with suppress(json.JSONDecodeError):  # perhaps YAML in the style of JSON
            yield json.loads(text)
            return
    if text.count(": *") > _ALIASES:
        raise ValueError(f"it has more than {_ALIASES} aliases; dumps have none")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.load_all(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ValueError(f"it is not YAML: {' '.join(str(error).split())}") from error


def says_cert_manager(path: Path) -> bool:
    """Tell, after a quick look, whether a file speaks of cert-manager."""
    try:
        with path.open("rb") as file:
            return b"cert-manager.io/" in file.read(_LOOK)
    except OSError:
        return False


def _listed(document: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(document, dict):
        return
    items = document.get("items")
    if str(document.get("kind", "")).endswith("List") and isinstance(items, list):
        yield from (item for item in items if isinstance(item, dict))
    elif "kind" in document:
        yield document
