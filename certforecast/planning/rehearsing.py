"""Whom to rehearse: where learning early averts most, for what it costs.

The value of a rehearsal is the loss it is expected to avert less its cost::

    loss x effects.rehearse x effects.fix x chance x time - costs.rehearse

`loss` is what is expected to be lost if nothing is done (:mod:`certforecast.loss`). The share
``effects.rehearse`` of it comes from causes that a rehearsal can see, and a fix averts ``effects.fix`` of
that. `chance` is how likely a rehearsal tells anything new about the day of the renewal. Causes come and go
at random, every ``rehearsal.lasting_days`` on average: so it falls with the time until the renewal is due,
and grows with the time since the last rehearsal. `time` is 1 until the renewal is due; then the renewal
itself shows what a rehearsal would, and it falls to 0 at the slip point. Shares and days are assumptions.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict

from certforecast.clock import as_utc
from certforecast.errors import InputError
from certforecast.features.wording import share, span
from certforecast.history.names import host_of
from certforecast.loss import expected_loss
from certforecast.planning.places import endpoints, hosts, tools
from certforecast.planning.plan import Endpoint
from certforecast.renewals import HasTables, renewals
from certforecast.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Candidate", "choose_rehearsals", "gain", "named_rehearsals"]


#: The columns of forecasts that say what a rehearsal is worth.
_READ: Final = [
    *("fingerprint", "lineage", "not_after", "criticality", "p_slipped", "p_failed"),
    *("days_past_due", "days_to_slip", "days_since_rehearsal", "rehearsal_failed"),
]


class Candidate(BaseModel):
    """A renewal that may be rehearsed.

    Attributes
    ----------
    names : tuple of str
        What the new certificate must cover.
    issuer, installer : str or None
        Names under ``[issuers]`` and ``[installers]`` of the settings.
    gain : float or None
        The loss a rehearsal is expected to avert; None where it was asked for by name.
    reasons : tuple of str
        Why it is worth it, in words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    lineage: str
    fingerprint: str
    names: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    not_after: AwareDatetime
    issuer: str | None
    installer: str | None
    gain: float | None = None
    cost: float
    reasons: tuple[str, ...]

    @property
    def host(self) -> str:
        """The first of its names that is one host's, else the first."""
        return host_of(self.names)


def choose_rehearsals(
    history: HasTables,
    forecasts: "pd.DataFrame",
    as_of: datetime,
    settings: Settings,
    top: int | None = None,
) -> list[Candidate]:
    """Choose the renewals that are worth a rehearsal, most worthwhile first.

    Parameters
    ----------
    history : History
        The store the forecasts were made from.
    forecasts : DataFrame of shape (n_open, n_columns)
        As given by :func:`certforecast.models.forecast`, for the same `as_of`.
    as_of : datetime
        Nothing known later is used.
    settings : Settings
        Costs, effects, ``rehearsal.lasting_days``, and which issuers and installers there are.
    top : int, optional
        At most so many.

    Returns
    -------
    list of Candidate
        One a lineage, by what it is worth, then by expiry and fingerprint. What has neither issuer nor
        installer cannot be rehearsed, and what is not worth its cost is left out.
    """
    described = _Described(history, as_of, settings)
    rows: list[Any] = list(forecasts[_READ].itertuples(index=False))
    worth: list[tuple[float, datetime, str, str, int]] = []
    for place, row in enumerate(rows):
        if described.tools(row.fingerprint) == (None, None):
            continue
        value = _gain(row, settings) - settings.costs.rehearse
        if value > 0:
            worth.append((-value, row.not_after, row.fingerprint, row.lineage, place))
    chosen: dict[str, Candidate] = {}
    for _, _, _, lineage, place in sorted(worth):
        if top is not None and len(chosen) == top:
            break
        if lineage not in chosen:
            row = rows[place]
            chosen[lineage] = described.candidate(
                forecasts.iloc[place].to_dict(), gain=_gain(row, settings), reasons=_reasons(row, settings)
            )
    return list(chosen.values())


def named_rehearsals(
    history: HasTables, names: Sequence[str], as_of: datetime, settings: Settings
) -> list[Candidate]:
    """Find the renewals that go by some names, whatever a rehearsal is worth.

    Parameters
    ----------
    history : History
        The store.
    names : sequence of str
        What a lineage is called, a DNS name of its certificate, or 8 or more digits of its fingerprint.
    as_of : datetime
        Nothing known later is used.
    settings : Settings
        Which issuers and installers there are.

    Returns
    -------
    list of Candidate
        The latest certificate of each lineage, in the order of the names.

    Raises
    ------
    InputError
        If no certificate that is open, or has failed, goes by a name.
    """
    frame = renewals(history, as_of, settings.policy)
    frame = frame[frame["outcome"].isin(["open", "failed"])]
    latest = frame.sort_values(["not_before", "fingerprint"]).groupby("lineage").tail(1)
    described = _Described(history, as_of, settings)
    found: dict[str, Candidate] = {}
    for name in names:
        wanted = name.strip().lower()
        rows = [row for row in latest.to_dict("records") if _goes_by(row, wanted)]
        if not rows:
            raise InputError(
                f"no certificate in use is called {name!r}: 'certforecast renewals' lists what there is"
            )
        for row in rows:
            candidate = described.candidate(row, gain=None, reasons=("asked for by name",))
            found.setdefault(candidate.fingerprint, candidate)
    return list(found.values())


def gain(
    loss: float,
    *,
    days_to_due: float,
    days_to_slip: float,
    since_rehearsal: float | None,
    settings: Settings,
) -> float:
    """Give the loss that a rehearsal now is expected to avert.

    Parameters
    ----------
    loss : float
        Expected if nothing is done.
    days_to_due, days_to_slip : float
        Negative when they are past.
    since_rehearsal : float or None
        Days since the last rehearsal; None if there was none.
    settings : Settings
        Effects, and ``rehearsal.lasting_days``.
    """
    lasting = settings.rehearsal.lasting_days
    if days_to_slip <= 0:
        return 0.0
    time = 1.0 if days_to_due >= 0 else days_to_slip / (days_to_slip - days_to_due)
    chance = math.exp(-max(days_to_due, 0.0) / lasting)
    if since_rehearsal is not None:
        chance *= -math.expm1(-max(since_rehearsal, 0.0) / lasting)
    return loss * settings.effects.rehearse * settings.effects.fix * chance * time


def _loss(row: Any, settings: Settings) -> float:
    loss: float = expected_loss(row.p_slipped, row.p_failed, _number(row.criticality), settings.costs)
    return loss


def _gain(row: Any, settings: Settings) -> float:
    return gain(
        _loss(row, settings),
        days_to_due=-row.days_past_due,
        days_to_slip=row.days_to_slip,
        since_rehearsal=_number(row.days_since_rehearsal),
        settings=settings,
    )


def _reasons(row: Any, settings: Settings) -> tuple[str, ...]:
    due, since = row.days_past_due, _number(row.days_since_rehearsal)
    bad, loss = row.p_slipped + row.p_failed, _loss(row, settings)
    told = [
        f"slips or fails with {share(bad)}, which is expected to cost {loss:,.0f}",
        f"due {span(due)} ago" if due > 0 else f"due in {span(-due)}",
    ]
    if since is None:
        told.append("not rehearsed yet")
    elif row.rehearsal_failed == 1.0:
        told.append(f"its last rehearsal, {span(since)} ago, found something")
    else:
        told.append(f"last rehearsed {span(since)} ago")
    return tuple(told)


def _goes_by(row: dict[Any, Any], name: str) -> bool:
    if name == row["name"] or name in row["names"]:
        return True
    return len(name) >= 8 and str(row["fingerprint"]).startswith(name)


def _number(value: Any) -> float | None:
    return None if value is None or value != value else float(value)


class _Described:
    """What is known of certificates beside their forecasts: where they are served, and by whom made."""

    def __init__(self, history: HasTables, as_of: datetime, settings: Settings) -> None:
        self._settings = settings
        self._hosts = hosts(history, as_of)
        self._places = endpoints(history, as_of, settings.installers)
        certificates = history.tables().at([as_of]).certificates
        names = certificates.select("fingerprint", "names").to_pandas()
        self._names = dict(zip(names["fingerprint"], map(tuple, names["names"]), strict=True))

    def tools(self, fingerprint: str) -> tuple[str | None, str | None]:
        """Give the names of its issuer and its installer in the settings."""
        return tools(self._hosts.get(fingerprint, {}), self._settings)

    def candidate(self, row: dict[Any, Any], gain: float | None, reasons: tuple[str, ...]) -> Candidate:
        key = row["fingerprint"]
        issuer, installer = self.tools(key)
        return Candidate(
            name=row["name"],
            lineage=row["lineage"],
            fingerprint=key,
            names=self._names[key],
            endpoints=tuple(self._places.get(key, ())),
            not_after=as_utc(row["not_after"].to_pydatetime()),
            issuer=issuer,
            installer=installer,
            gain=gain,
            cost=self._settings.costs.rehearse,
            reasons=reasons,
        )
