"""Scenarios: what may come to a fleet, as TOML files, some of them shipped."""

import tomllib
from datetime import date
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from certforecast.errors import InputError
from certforecast.validity import calendars

__all__ = ["Automating", "Freeze", "Leaving", "Scenario", "ValidityLimit", "read_scenario", "shipped"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ValidityLimit(_Model):
    """Certificates are valid for so many days at most, or as a shipped calendar says."""

    days: float | None = Field(None, gt=0)
    calendar: str | None = Field(None, description="a name in validity.toml; its days follow its dates")
    since: date | None = Field(None, description="with `days`: the first day; none: from the start")
    authorities: Literal["public", "all"] = "public"
    issuers: tuple[str, ...] = Field((), description="only these, as they are called in certificates")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.days is None) == (self.calendar is None):
            raise ValueError("give either days or calendar")
        if self.calendar is not None and self.calendar not in calendars():
            raise ValueError(f"there is no calendar {self.calendar!r}; known: {', '.join(calendars())}")
        return self


class Leaving(_Model):
    """An authority stops, or is distrusted: what lives then is replaced before, by another's."""

    issuer: str
    on: date
    to: str
    notice_days: float = Field(30.0, ge=0, description="over which the replacements are spread")


class Automating(_Model):
    """An owner's renewals by hand are handed to a timer, each with its next renewal from a day on."""

    owner: str | None = Field(None, description="none: all")
    since: date | None = None
    to: str | None = Field(None, description="the issuer from then on; none: the same")
    days: float = Field(90.0, gt=0, description="of validity from then on, at most")
    automation: str = Field("timer", description="as the inventory calls it")


class Freeze(_Model):
    """No changes: renewals that can wait are put off until it ends."""

    since: date
    until: date
    owner: str | None = Field(None, description="none: all")
    timers: bool = Field(False, description="whether timers stop, too")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.until <= self.since:
            raise ValueError(f"until ({self.until}) is not after since ({self.since})")
        return self


class Scenario(_Model):
    """What may come.

    Attributes
    ----------
    before : {"calendar", "today"}
        What it is compared with: a world in which the published limits on validity come as announced, or one
        in which they stay as they are today.
    delays_keep : float
        When lifetimes shrink, delays keep their days (1), or shrink alike (0). An assumption.
    hours : dict of str to float
        People's hours for a renewal by kind of automation, instead of those in the settings.
    """

    title: str
    source: str = ""
    before: Literal["calendar", "today"] = "calendar"
    delays_keep: float = Field(1.0, ge=0, le=1)
    validity: tuple[ValidityLimit, ...] = ()
    leaves: tuple[Leaving, ...] = ()
    automate: tuple[Automating, ...] = ()
    freeze: tuple[Freeze, ...] = ()
    hours: dict[str, float] = {}


def shipped() -> dict[str, Scenario]:
    """Give the scenarios that come with the package, by name."""
    folder = resources.files("certforecast.forecasting").joinpath("scenarios")
    found = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda file: file.name
    )
    return {
        file.name.removesuffix(".toml"): Scenario.model_validate(tomllib.loads(file.read_text("utf-8")))
        for file in found
    }


def read_scenario(name: str) -> Scenario:
    """Read a scenario: a shipped one by its name, or a TOML file.

    Raises
    ------
    InputError
        If there is neither, or the file does not hold a scenario.
    """
    known = shipped()
    if name in known:
        return known[name]
    path = Path(name)
    if not path.is_file():
        close = get_close_matches(name, known, 1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise InputError(
            f"there is no scenario {name!r}{hint} Shipped are {', '.join(known)}; or give a TOML file"
        )
    try:
        return Scenario.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, e['loc'])) or 'scenario'}: {e['msg']}" for e in error.errors()]
        raise InputError(f"{path}: " + "; ".join(lines)) from error
