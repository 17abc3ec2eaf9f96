"""From what people write, on a command line or in a settings file, to a source."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from certforecast.errors import InputError
from certforecast.history.sources import Source, source

__all__ = ["make_source", "option_names"]

#: Given by programs, not by people.
_INTERNAL: Final = frozenset({"clock", "progress"})


def option_names(kind: type[Source]) -> list[str]:
    """List the options of a source, beside its place."""
    return [name for name in _parameters(kind)[1] if name not in _INTERNAL]


def make_source(name: str, place: str, options: Mapping[str, Any]) -> Source:
    """Make a source from its name, its place and its options.

    Parameters
    ----------
    name : str
        Of an installed source.
    place : str
        The path or address to read.
    options : mapping of str to Any
        Values as text, or of their own type; several values of one option are joined by commas.

    Raises
    ------
    InputError
        If there is no such source or option, a value does not fit, or the source takes no place as text.
    """
    kind = source(name)
    first, known = _parameters(kind)
    hints = get_type_hints(kind.__init__)
    if not _accepts_text(hints.get(first, Any)):
        raise InputError(f"source {name!r} takes objects of Python: use it from a program or a notebook")
    values = {}
    for option, value in options.items():
        if option not in known or option in _INTERNAL:
            listed = ", ".join(option_names(kind)) or "none"
            raise InputError(f"source {name!r} has no option {option!r}; its options: {listed}")
        values[option] = _value(option, value, hints[option])
    missing = [option for option, has_default in known.items() if not has_default and option not in values]
    if missing:
        raise InputError(f"source {name!r} needs the option {missing[0]!r}")
    made: Source = kind(place, **values)  # type: ignore[call-arg]
    return made


def _parameters(kind: type[Source]) -> tuple[str, dict[str, bool]]:
    """Give the name of the place, and of each option whether it has a default."""
    _, place, *rest = inspect.signature(kind.__init__).parameters.values()
    return place.name, {part.name: part.default is not part.empty for part in rest}


def _accepts_text(hint: Any) -> bool:
    return hint is Any or bool({str, Path} & {hint, *get_args(hint)})


def _value(option: str, value: Any, hint: Any) -> Any:
    if isinstance(value, str) and any(get_origin(part) in (tuple, list) for part in (hint, *get_args(hint))):
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        reason = error.errors()[0]["msg"]
        raise InputError(f"option {option!r} cannot be {value!r}: {reason[0].lower()}{reason[1:]}") from error
