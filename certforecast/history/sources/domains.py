"""Domains that services are asked about, told from paths."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from certforecast.errors import InputError, SourceError
from certforecast.history.names import is_ip, is_wildcard, normalise_name

__all__ = ["domain_or_path", "is_within"]

#: Endings of files, which no domain has.
_FILES: Final = frozenset({".csv", ".gz", ".json", ".jsonl", ".ndjson", ".pem", ".txt"})


def domain_or_path(place: Path | str) -> str | Path:
    """Tell what a place is: a path if it exists or looks like one, else a domain, as A-labels.

    Raises
    ------
    SourceError
        If it is neither.

    Examples
    --------
    >>> domain_or_path("Bücher.example")
    'xn--bcher-kva.example'
    """
    path = Path(place)
    if isinstance(place, Path) or "/" in place or path.suffix.lower() in _FILES or path.exists():
        return path
    try:
        domain = normalise_name(place)
    except InputError as error:
        raise SourceError(f"{place!r} is neither a file nor a domain such as example.org") from error
    if "." not in domain or is_ip(domain) or is_wildcard(domain):
        raise SourceError(f"{place!r} is neither a file nor a domain such as example.org")
    return domain


def is_within(names: Iterable[str], domain: str) -> bool:
    """Tell whether one of some normalised names is a domain or stands below it."""
    return any(name == domain or name.endswith(f".{domain}") for name in names)
