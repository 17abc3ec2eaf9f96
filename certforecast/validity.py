"""How long certificates may be valid, by the day of issue: public calendars, shipped with their source."""

import tomllib
from datetime import date
from functools import cache
from importlib import resources

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Step", "ValidityCalendar", "calendars", "limit_on"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Model):
    """From a day on, certificates are valid for so many days at most."""

    since: date
    days: float = Field(gt=0)


class ValidityCalendar(_Model):
    """The limits of a rule or profile over time, as published at `as_of`."""

    name: str
    source: str
    as_of: date
    steps: tuple[Step, ...] = Field(min_length=1, description="by their first day")
    spare_days: float = Field(0.0, ge=0, description="by which authorities stay below the limit")
    organisations: tuple[str, ...] = Field(
        (), description="whom it binds, as in issuer_org; none: see `chosen`"
    )
    chosen: bool = Field(False, description="a profile that subscribers ask for; it binds nobody by itself")


@cache
def calendars() -> dict[str, ValidityCalendar]:
    """Give the calendars by their short name."""
    text = resources.files("certforecast").joinpath("validity.toml").read_text("utf-8")
    return {name: ValidityCalendar.model_validate(table) for name, table in tomllib.loads(text).items()}


def limit_on(day: date, steps: tuple[Step, ...]) -> float:
    """Give the limit in force on a day, in days; before the first step, that of the first."""
    return next((step.days for step in reversed(steps) if step.since <= day), steps[0].days)
