"""A drill: an authority revokes everything; what is replaced in which order, how fast, what too late."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

from certforecast.clock import as_utc
from certforecast.errors import InputError
from certforecast.forecasting.situation import UNKNOWN, situations
from certforecast.forecasting.world import nearest
from certforecast.limits import Bucket, Tokens, limits_of
from certforecast.loss import expected_loss
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables
from certforecast.settings import CostSettings, EffortSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Drill", "Order", "revocation_drill", "schedule"]

_HOUR_S: Final = 3600.0
#: Times closer than this are the same; what rounding leaves must not keep a token away.
_TICK_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Order:
    """A certificate to be replaced.

    Attributes
    ----------
    buckets : tuple of (Bucket, str)
        What it takes a token from, each with the key of its own: an account, a domain, a name set.
    hours : float
        Of a person's time; 0 for what the executor does alone.
    loss : float
        Expected loss of being without it.
    """

    fingerprint: str
    buckets: tuple[tuple[Bucket, str], ...]
    hours: float
    loss: float


@dataclass(frozen=True)
class Drill:
    """What a mass revocation would ask for.

    Attributes
    ----------
    as_of : datetime
    issuer, to : str
        Who revokes, and who issues the replacements.
    within_h : float
        Hours until the deadline.
    table : DataFrame of shape (n_certificates, 14)
        In the order of replacement: ``rank, name, fingerprint, owner, environment, domain, automation``,
        ``criticality, loss`` (expected loss of being without it), ``person_hours``, ``order_h`` and
        ``done_h`` (hours from now), ``waits_for`` (what it waits for longest), ``in_time``.
    limits_known : bool
        Whether rate limits of `to` are known; where not, none were applied.
    """

    as_of: datetime
    issuer: str
    to: str
    within_h: float
    table: "pd.DataFrame"
    limits_known: bool

    def summary(self) -> dict[str, Any]:
        """Sum up: counts, loss that stays, when all would be done, and what held back those too late."""
        table = self.table
        late = table[~table["in_time"]]
        return {
            "as_of": self.as_of,
            "issuer": self.issuer,
            "to": self.to,
            "within_h": self.within_h,
            "certificates": len(table),
            "in_time": int(table["in_time"].sum()),
            "too_late": len(late),
            "too_late_because": {str(why): int(n) for why, n in late["waits_for"].value_counts().items()},
            "expected_loss": float(table["loss"].sum()),
            "expected_loss_too_late": float(late["loss"].sum()),
            "all_done_h": float(table["done_h"].max()) if len(table) else 0.0,
            "person_hours": float(table["person_hours"].sum()),
            "most_orders_an_hour": int(table["order_h"].floordiv(1).value_counts().max())
            if len(table)
            else 0,
            "rate_limits_known": self.limits_known,
        }


def revocation_drill(
    history: HasTables,
    as_of: datetime,
    issuer: str,
    within_h: float = 24.0,
    *,
    to: str | None = None,
    model: Any = None,
    ari: bool = False,
    policy: RenewalPolicy | None = None,
    effort: EffortSettings | None = None,
    costs: CostSettings | None = None,
) -> Drill:
    """Say how every certificate of an issuer would be replaced within some hours.

    What would be missed most comes first. An order goes out when the executor, or a person where the renewal
    is done by hand, has time for it and every token bucket of the authority that replaces has a token. All
    orders go through one account. People begin to work at once, and then so many hours of each day.

    Parameters
    ----------
    history : History
        The store.
    as_of : datetime
        Nothing known later is used.
    issuer : str
        As in the column issuer_org; upper or lower case.
    within_h : float
        Hours until the deadline: 24 or 120 by the rules of public authorities [1]_.
    to : str, optional
        Who issues the replacements. Default: the same issuer, which then knows the names.
    model : OutcomePool or OutcomeClassifier, optional
        Tells what is probably retired and would not be missed.
    ari : bool
        Whether orders name what they replace (RFC 9773), which some limits spare.
    policy, effort, costs
        Thresholds, people and executor, and what an outage costs.

    Raises
    ------
    InputError
        If nothing to be renewed is from that issuer, or `within_h` is not above 0.

    References
    ----------
    .. [1] CA/Browser Forum, Baseline Requirements for TLS, section 4.9.1.1.
    """
    import pandas as pd

    policy, effort, costs = policy or RenewalPolicy(), effort or EffortSettings(), costs or CostSettings()
    if within_h <= 0:
        raise InputError(f"within {within_h} hours: give more than 0")
    now = as_utc(as_of)
    [situation] = situations(history, [now], policy)
    live = situation.live[(situation.live["overdue"] == 0)]
    known = sorted(set(live["issuer"]))
    name = next((one for one in known if one.casefold() == issuer.casefold()), None)
    if name is None:
        raise InputError(nearest("issuer", issuer, known))
    rows = live[live["issuer"] == name].reset_index(drop=True)
    used = _used(history, rows, model, now, policy)
    rows = rows.assign(
        # Being without it is a failure that is certain, unless the service is gone.
        loss=[
            share * expected_loss(0.0, 1.0, None if weight != weight else weight, costs)
            for share, weight in zip(used, rows["criticality"], strict=True)
        ],
        person_hours=[effort.for_renewal(None if kind == UNKNOWN else kind) for kind in rows["automation"]],
    )
    chosen = name if to is None else to
    limits = limits_of(chosen)
    buckets = limits.on_orders(ari=ari, same_names=chosen == name) if limits else ()
    orders = [
        Order(
            row.fingerprint,
            tuple((bucket, key) for bucket in buckets for key in _keys(bucket, row)),
            row.person_hours,
            row.loss,
        )
        for row in rows.itertuples()
    ]
    times = pd.DataFrame(schedule(orders, effort), columns=["fingerprint", "order_h", "done_h", "waits_for"])
    table = rows.merge(times, on="fingerprint").sort_values(
        ["order_h", "loss", "fingerprint"], ascending=[True, False, True], ignore_index=True
    )
    table = table.assign(in_time=table["done_h"] <= within_h + _TICK_S, rank=range(1, len(table) + 1))
    columns = [
        *("rank", "name", "fingerprint", "owner", "environment", "domain", "automation", "criticality"),
        *("loss", "person_hours", "order_h", "done_h", "waits_for", "in_time"),
    ]
    return Drill(now, name, chosen, within_h, table[columns].reset_index(drop=True), limits is not None)


def _used(
    history: HasTables, rows: "pd.DataFrame", model: Any, as_of: datetime, policy: RenewalPolicy
) -> "list[float]":
    """Give the probability that each is in use."""
    if model is None:
        return [1.0] * len(rows)
    from certforecast.models import forecast

    told = forecast(history, model, as_of, policy).set_index("fingerprint")["p_retired"]
    return [float(1.0 - value) for value in rows["fingerprint"].map(told).fillna(0.0)]


def _keys(bucket: Bucket, row: Any) -> Sequence[str]:
    """Give the keys of the buckets of a kind that an order takes from."""
    if bucket.per == "registered domain":
        return sorted(set(row.domains)) if row.domains is not None and len(row.domains) else [row.domain]
    return [row.name_set_id] if bucket.per == "name set" else [""]


def _ready(tokens: Tokens, now: float) -> float:
    """Say from when on there is a token, in seconds."""
    wait = (1.0 - tokens.look(now)) * tokens.bucket.refill_s
    return now if wait <= _TICK_S else now + wait


def schedule(orders: Sequence[Order], effort: EffortSettings) -> Iterator[tuple[str, float, float, str]]:
    """Say when each order goes out, and when it is done: what would be missed most first, as limits allow.

    Parameters
    ----------
    orders : sequence of Order
    effort : EffortSettings
        People and executor.

    Yields
    ------
    tuple of (str, float, float, str)
        Fingerprint, hours until the order, hours until it is done, and what it waited for longest: executor,
        people, a rate limit, or nothing. Infinite where nobody can do it.
    """
    ranked = sorted(orders, key=lambda order: (-order.loss, order.fingerprint))
    crews: dict[bool, _Crew] = {True: _People(effort), False: _Machine(effort)}
    buckets: dict[tuple[str, str], Tokens] = {}
    # By the rank of what waits: for each kind of crew, and until when for those that lack a token.
    ready: dict[bool, list[int]] = {True: [], False: []}
    later: list[tuple[float, int]] = []
    lacked: dict[int, tuple[float, str]] = {}
    account_s, account = 0.0, ""
    now = 0.0
    for rank, order in enumerate(ranked):
        if order.hours > 0 and not effort.people:
            yield order.fingerprint, inf, inf, "people"
        else:
            ready[order.hours > 0].append(rank)
    while ready[True] or ready[False] or later:
        while later and later[0][0] <= now + _TICK_S:
            rank = heapq.heappop(later)[1]
            heapq.heappush(ready[ranked[rank].hours > 0], rank)
        free = {by_hand: crews[by_hand].free(now) for by_hand, waiting in ready.items() if waiting}
        able = [by_hand for by_hand, at in free.items() if at <= now + _TICK_S]
        if not able:
            now = min([*free.values(), *(at for at, _ in later[:1])])
            continue
        by_hand = min(able, key=lambda by_hand: ready[by_hand][0])
        rank = heapq.heappop(ready[by_hand])
        order = ranked[rank]
        tokens = [buckets.setdefault((bucket.name, key), Tokens(bucket)) for bucket, key in order.buckets]
        until, place = max(((_ready(one, now), place) for place, one in enumerate(tokens)), default=(now, 0))
        if until > now:
            bucket, key = order.buckets[place]
            if bucket.per == "account":  # nobody else gets one either
                account_s, account = account_s + until - now, f"rate limit: {bucket.name}"
                heapq.heappush(ready[by_hand], rank)
                now = until
            else:
                why = f"rate limit: {bucket.name}" + (
                    f" ({key})" if bucket.per == "registered domain" else ""
                )
                lacked[rank] = (lacked.get(rank, (0.0, ""))[0] + until - now, why)
                heapq.heappush(later, (until, rank))
            continue
        for one in tokens:
            one.take()
        done = crews[by_hand].work(now, order.hours)
        own_s, own = lacked.get(rank, (0.0, ""))
        crew = ("people" if by_hand else "executor", now - own_s - account_s)
        causes = [(account_s, account), (own_s, own), (crew[1], crew[0])]
        yield order.fingerprint, now / _HOUR_S, done / _HOUR_S, max(causes)[1] if now > _TICK_S else "nothing"


class _Crew(Protocol):
    def free(self, now: float) -> float:
        """Say from when on somebody can begin, in seconds."""
        ...

    def work(self, now: float, hours: float) -> float:
        """Let somebody who is free do it; say when it is done, in seconds."""
        ...


class _Machine:
    """The executor: one renewal after the other, day and night."""

    def __init__(self, effort: EffortSettings) -> None:
        self.takes = _HOUR_S / effort.renewals_per_hour
        self.until = 0.0

    def free(self, now: float) -> float:
        return max(self.until, now)

    def work(self, now: float, hours: float) -> float:  # noqa: ARG002 (a machine takes as long for each)
        self.until = now + self.takes
        return self.until


class _People:
    """So many people, who work the first hours of every 24; each has a count of the hours worked."""

    def __init__(self, effort: EffortSettings) -> None:
        self.a_day = effort.people_hours_per_day
        self.worked = [0.0] * effort.people

    def free(self, now: float) -> float:
        return self._clock(max(self.worked[0], self._by(now)), begins=True) * _HOUR_S

    def work(self, now: float, hours: float) -> float:
        done = max(heapq.heappop(self.worked), self._by(now)) + hours
        heapq.heappush(self.worked, done)
        return self._clock(done, begins=False) * _HOUR_S

    def _by(self, now: float) -> float:
        """Give the hours that somebody could have worked by then."""
        days, seconds = divmod(now + _TICK_S, 24 * _HOUR_S)
        return days * self.a_day + min(seconds / _HOUR_S, self.a_day)

    def _clock(self, worked: float, *, begins: bool) -> float:
        """Say when so many hours are worked; what begins when a day is over, begins the next day."""
        days = int((worked + (1e-9 if begins else -1e-9)) // self.a_day)
        return max(days, 0) * 24.0 + worked - max(days, 0) * self.a_day
