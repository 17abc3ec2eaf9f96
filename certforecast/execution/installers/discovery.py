"""What the servers of this machine use, of all kinds that are known."""

import json
import re
from collections.abc import Iterable, Sequence

from certforecast.errors import InputError, InstallationError
from certforecast.execution.installers import Found
from certforecast.plugins import kinds, load_kind

__all__ = ["discovered", "sections"]

_GROUP = "certforecast.installers"


def discovered(only: Sequence[str] | None = None, place: str | None = None) -> tuple[list[Found], list[str]]:
    """Ask every kind of installer what its servers use.

    Parameters
    ----------
    only : sequence of str, optional
        Kinds to ask. Default: all that find their servers on this machine. Of the others, those that are
        named here are asked.
    place : str, optional
        Where one kind, then the only one, is to look: a folder, a region, a namespace.

    Returns
    -------
    found : list of Found
        Each certificate of each server once, by kind, in the order of the configuration.
    troubles : list of str
        What could not be told, one text a kind.

    Raises
    ------
    InputError
        If there is no such kind, or a place is named for more than one.
    """
    known = kinds(_GROUP)
    if unknown := sorted(set(only or ()) - set(known)):
        raise InputError(f"there is no installer of kind {unknown[0]!r}; there are: {', '.join(known)}")
    if place is not None and len(only or ()) != 1:
        raise InputError("a place to look at is of one kind: name it with --kind")
    found: list[Found] = []
    troubles = []
    for kind in only or known:
        try:
            section = load_kind(_GROUP, kind)
            rows = section.discover_at(place) if only else section.discover()
        except (InstallationError, ValueError) as error:  # a package may be broken
            troubles.append(f"{kind}: {error}")
            continue
        for row in rows:
            if row not in found:
                found.append(row)
    return found, troubles


def sections(found: Iterable[Found]) -> str:
    """Write what was found as sections ``[installers.NAME]`` of a settings file, each named differently."""
    written: dict[str, str] = {}
    for one in found:
        base = re.sub(r"[^a-z0-9]+", "-", f"{one.kind} {one.names[0] if one.names else ''}".lower()).strip(
            "-"
        )
        name, number = base, 2
        while name in written:
            name, number = f"{base}-{number}", number + 1
        about = " at ".join(filter(None, (f"# {' '.join(one.names)}", " ".join(one.addresses))))
        lines = ["".join(filter(str.isprintable, about)), f"[installers.{name}]"]
        lines += [f"{key} = {_toml(value)}" for key, value in one.settings.items()]
        written[name] = "\n".join(lines)
    return "\n\n".join(written.values()) + ("\n" if written else "")


def _toml(value: object) -> str:
    """Write a text, number, boolean or list of them: as JSON, but for two things that TOML has otherwise."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
