"""Time zones that people name."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from certforecast.errors import InputError

__all__ = ["time_zone"]


def time_zone(name: str) -> ZoneInfo:
    """Give a time zone by its IANA name.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(f"there is no time zone {name!r}; give one such as Europe/Paris") from error
