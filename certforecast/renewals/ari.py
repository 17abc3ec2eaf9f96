"""When CAs ask for certificates to be renewed (ACME Renewal Information, RFC 9773), as the history tells it.

Each answer is an event of the kind ``ari_window`` about one certificate. Its detail is a text of fixed
columns, so that every engine reads it alike: ``START/END MOMENT``, and then the address of an explanation if
there is one. The moment is the one chosen for this certificate: in the window, and by the slip point at the
latest.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from certforecast.history.tables import Tables
from certforecast.policy import RenewalPolicy
from certforecast.renewals.times import seconds

if TYPE_CHECKING:
    import ibis.expr.types as ir

__all__ = ["Asked", "last_asked", "moment_in"]

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_KEY = ("as_of", "fingerprint")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a CA asks for about one certificate.

    Attributes
    ----------
    start, end : datetime
        The window in which it should be renewed.
    moment : datetime
        When it is to be renewed.
    url : str or None
        Where the CA explains it, as it does before it revokes certificates.
    """

    start: datetime
    end: datetime
    moment: datetime
    url: str | None = None

    @property
    def detail(self) -> str:
        """The detail of the event that tells it."""
        times = [moment.astimezone(UTC).strftime(_TIME) for moment in (self.start, self.end, self.moment)]
        return f"{times[0]}/{times[1]} {times[2]}" + (f" {self.url}" if self.url else "")

    @classmethod
    def read(cls, detail: str) -> Self:
        """Read the detail of an event.

        Raises
        ------
        ValueError
            If it is none of ours.
        """
        window, moment, *rest = detail.split(" ", 2)
        start, end = window.split("/")
        first, last, chosen = (
            datetime.strptime(text, _TIME).replace(tzinfo=UTC) for text in (start, end, moment)
        )
        return cls(first, last, chosen, rest[0] if rest else None)

    def early(self, not_before: datetime, not_after: datetime, policy: RenewalPolicy) -> bool:
        """Tell whether the window ends before the renewal would be due: a CA asks so before it revokes."""
        return self.end < not_before + policy.due_after(not_after - not_before)


def moment_in(
    start: datetime,
    end: datetime,
    fingerprint: str,
    *,
    not_before: datetime,
    not_after: datetime,
    policy: RenewalPolicy,
) -> datetime:
    """Choose when to renew: uniformly in the window (RFC 9773, section 4.2), always alike for a certificate.

    What lies after the slip point is cut off: a server may suggest windows that last until the expiry.

    Parameters
    ----------
    start, end : datetime
        Of the window.
    fingerprint : str
        The seed, together with the window.
    not_before, not_after : datetime
        Of the certificate.
    policy : RenewalPolicy
    """
    slip = not_after - policy.slip_before_expiry(not_after - not_before)
    seed = hashlib.sha256(f"{fingerprint} {start.isoformat()} {end.isoformat()}".encode()).digest()
    share = int.from_bytes(seed[:8], "big") / 2**64
    length = max(min(end, slip) - start, timedelta(0))
    return min(start + share * length, slip).replace(microsecond=0)


def last_asked(tables: Tables) -> "ir.Table":
    """Give what was asked last about each certificate, as it was known at each moment.

    Parameters
    ----------
    tables : Tables
        As given by :meth:`Tables.at`.

    Returns
    -------
    ibis table
        ``as_of, fingerprint, asked_detail, asked_moment`` (seconds).
    """
    import ibis

    events = tables.events
    rows = events.filter(events.kind == "ari_window", events.fingerprint.notnull(), events.detail.notnull())
    last = ibis.window(group_by=list(_KEY), order_by=[rows["at"].desc(), rows.known_at.desc(), rows.detail])
    rows = rows.mutate(place=ibis.row_number().over(last))
    rows = rows.filter(rows.place == 0)
    return rows.select(
        *_KEY,
        asked_detail="detail",
        asked_moment=seconds(rows.detail.substr(42, 19).try_cast("timestamp")),
    )
