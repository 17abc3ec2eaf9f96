"""Packages that only the rivals need."""

from importlib import import_module
from typing import Any

from certforecast.errors import ModelError

__all__ = ["needed"]


def needed(module: str) -> Any:
    """Import a module of the extra ``rivals``.

    Raises
    ------
    ModelError
        If it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"this model needs {error.name or module}, which is not installed: "
            "pip install 'certforecast[rivals]'"
        ) from error
