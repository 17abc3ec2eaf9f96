"""What certificate authorities allow: rate limits as token buckets, shipped as data with their source."""

import tomllib
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib import resources
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AuthorityLimits",
    "Bucket",
    "Exemption",
    "Scope",
    "Tokens",
    "authorities",
    "limits_at",
    "limits_of",
]

#: What has a bucket of its own.
Scope = Literal["account", "registered domain", "name set", "identifier"]

#: Orders that a bucket may not count: renewals that name the certificate they replace (RFC 9773, section 5),
#: and renewals of the very same names without that.
Exemption = Literal["ari", "same names"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bucket(_Model):
    """A token bucket: full at first, each order takes a token, and they come back one by one.

    Attributes
    ----------
    capacity : int
        Tokens of a full bucket.
    refill_s : float
        Seconds until one token is back.
    """

    name: str
    per: Scope
    counts: Literal["orders", "failures"] = "orders"
    capacity: int = Field(gt=0)
    refill_s: float = Field(gt=0)
    exempt: tuple[Exemption, ...] = ()
    pauses: bool = Field(False, description="an empty bucket stays empty until somebody lifts the pause")


class AuthorityLimits(_Model):
    """The limits of one authority, as it published them at `as_of`."""

    name: str
    organisations: tuple[str, ...] = Field(description="as in the column issuer_org")
    hosts: tuple[str, ...] = Field((), description="of its ACME directories")
    source: str
    as_of: date
    buckets: tuple[Bucket, ...]

    def on_orders(self, *, ari: bool, same_names: bool) -> tuple[Bucket, ...]:
        """Give the buckets that an order takes a token from.

        Parameters
        ----------
        ari : bool
            Whether the order names the certificate it replaces.
        same_names : bool
            Whether a certificate of exactly these names was issued before.
        """
        spared = {name for name, holds in (("ari", ari), ("same names", same_names)) if holds}
        return tuple(
            bucket for bucket in self.buckets if bucket.counts == "orders" and not spared & set(bucket.exempt)
        )


@dataclass
class Tokens:
    """What is in one bucket as time goes on, full at first.

    Attributes
    ----------
    bucket : Bucket
    at : float
        The time it was last looked at, in seconds from any beginning.
    left : float
        Tokens then.
    """

    bucket: Bucket
    at: float = 0.0
    left: float = field(init=False)

    def __post_init__(self) -> None:
        self.left = float(self.bucket.capacity)

    def look(self, now: float) -> float:
        """Give the tokens at a time no earlier than the last."""
        came = (now - self.at) / self.bucket.refill_s
        self.left, self.at = min(float(self.bucket.capacity), self.left + came), now
        return self.left

    def take(self) -> None:
        """Take a token, or what is left of one."""
        self.left = max(self.left - 1.0, 0.0)


@cache
def authorities() -> dict[str, AuthorityLimits]:
    """Give the authorities whose limits are known, by their short name."""
    text = resources.files("certforecast").joinpath("limits.toml").read_text("utf-8")
    return {name: AuthorityLimits.model_validate(table) for name, table in tomllib.loads(text).items()}


def limits_of(organisation: str | None) -> AuthorityLimits | None:
    """Give the limits of the authority that is called so in certificates; None where none are known."""
    for authority in authorities().values():
        if organisation in authority.organisations:
            return authority
    return None


def limits_at(directory_url: str) -> tuple[str, AuthorityLimits] | None:
    """Give the short name and the limits of the authority behind an ACME directory; None if not known."""
    host = urlsplit(directory_url).hostname
    return next((found for found in authorities().items() if host in found[1].hosts), None)
