"""Public names that load their module on first use (PEP 562), so that importing a package stays cheap."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import resolve_name
from typing import Any

__all__ = ["lazy"]


def lazy(package: str, homes: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Make the ``__getattr__`` of a package.

    Parameters
    ----------
    package : str
        Name of the package.
    homes : mapping of str to sequence of str
        For each module of the package, the names that are public in the package. With a dot before it, a
        module of the package around it.
    """
    modules = {name: resolve_name(f".{module}", package) for module, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name in modules:
            return getattr(import_module(modules[name]), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
