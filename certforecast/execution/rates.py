"""How many orders an account may place: as the settings say, else as the CA is known to allow."""

from dataclasses import dataclass
from typing import Final

from certforecast.limits import limits_at
from certforecast.settings import Settings

__all__ = ["Rate", "rate_of"]

_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Rate:
    """So many orders in a period.

    Attributes
    ----------
    account : str
        Name of the issuer's section: what shares it shares the rate.
    limit : int or None
        None if nothing limits it.
    period_s : float
        In seconds.
    """

    account: str
    limit: int | None = None
    period_s: float = _HOUR_S


def rate_of(issuer: str | None, settings: Settings) -> Rate:
    """Give the rate of an issuer's account.

    Parameters
    ----------
    issuer : str or None
        A name under ``[issuers]``.
    """
    name = issuer or "none"
    if (rate := settings.executor.orders_per_hour) is not None:
        # A rate below one an hour is one in a longer time.
        limit = max(1, round(rate))
        return Rate(name, limit, _HOUR_S * limit / rate)
    section = settings.issuers.get(name)
    known = limits_at(section.authority_url) if section is not None and section.authority_url else None
    if known is not None:
        for bucket in known[1].buckets:
            # A renewal of the same names is what we do; where it takes no token, nothing limits us.
            if bucket.counts == "orders" and bucket.per == "account" and "same names" not in bucket.exempt:
                return Rate(name, int(bucket.capacity), bucket.capacity * bucket.refill_s)
    return Rate(name)
