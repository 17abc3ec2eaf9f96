"""The version, in a module of its own so that it can be read without loading anything."""

__all__ = ["__version__"]

__version__ = "0.1.0"
