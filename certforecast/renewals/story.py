"""The life story of one lineage: what happened to it, told from the rows, as far as it is known."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from certforecast.errors import InputError
from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables
from certforecast.renewals.events import concerning
from certforecast.renewals.frames import frame_of
from certforecast.renewals.known import Known
from certforecast.renewals.namesets import called

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

__all__ = ["Story", "life_story"]

_DIGEST = re.compile(r"~?[0-9a-f]{8,64}")

#: Attempts of one kind that lie closer together than this are told as one line.
_ONE_SPELL = timedelta(days=2)

_WORDS = {
    "exact": "the same names",
    "endpoint": "it followed on an endpoint",
    "replaces": "its client says so",
    "superset": "it covers all names",
    "key": "the same key",
    "split": "with others it covers all names",
    "overlap": "most names in common",
    "covered": "it covered all names at the expiry",
}


@dataclass(frozen=True)
class Story:
    """What is known of one lineage.

    Attributes
    ----------
    lineage, name : str
        Its identity, and what people call it.
    as_of : datetime
        The moment; nothing known later is told.
    renewals : DataFrame
        Its certificates, the columns of :func:`certforecast.renewals.renewals`, with ``issuer``,
        ``key_algorithm``.
    spells : DataFrame
        ``host, port, server_name, fingerprint, first_seen, last_seen``: what was seen where.
    events : DataFrame
        ``at, kind, code, detail, actor, source, host``, of the events that concern it.
    """

    lineage: str
    name: str
    as_of: datetime
    renewals: "pd.DataFrame"
    spells: "pd.DataFrame"
    events: "pd.DataFrame"

    @property
    def entries(self) -> "pd.DataFrame":
        """The story in order: ``at, kind, fingerprint, text``; a row for each thing that happened."""
        import pandas as pd

        told = [*_issues(self.renewals), *_sightings(self.spells), *_happenings(self.events)]
        told += [entry for row in self.renewals.itertuples() for entry in _end(row, self.as_of)]
        frame = pd.DataFrame(told, columns=["at", "kind", "fingerprint", "text"])
        return frame.sort_values("at", kind="stable", ignore_index=True)

    def summary(self) -> str:
        """Say in a sentence how this lineage's renewals went."""
        rows = self.renewals
        counts = [
            f"{count} {str(outcome).replace('_', ' ')}"
            for outcome, count in rows["outcome"].value_counts().items()
        ]
        text = f"{_number(len(rows), 'certificate')} since {rows['not_before'].min():%Y-%m-%d}"
        text += f", from {', '.join(dict.fromkeys(rows['issuer']))}; {', '.join(counts)}"
        lag = rows["renewal_lag_days"].median()
        return text if lag != lag else f"{text}; usually renewed {_after(lag)} it was due"


def life_story(history: HasTables, name: str, as_of: datetime, policy: RenewalPolicy | None = None) -> Story:
    """Tell what is known of one lineage.

    Parameters
    ----------
    history : History
        The store.
    name : str
        Its first certificate's fingerprint or that of any other, whole or the first 8 digits or more; or a
        name: what certificates are called, a DNS name of one, or what a client calls the lineage.
    as_of : datetime
        Nothing known later is used.
    policy : RenewalPolicy, optional
        Thresholds.

    Raises
    ------
    InputError
        If no lineage, or more than one, goes by that name.
    """
    known = Known(history.tables(), [as_of], policy or RenewalPolicy())
    only = _lineage(known, name.strip().lower(), as_of)
    rows = known.renewals.semi_join(only, ["as_of", "lineage"])
    ours = rows.select("as_of", "fingerprint", "name_set_id")
    told = known.tables.certificates.semi_join(ours, ["as_of", "fingerprint"])
    told = told.select("fingerprint", "key_algorithm", issuer=_issuer(told))
    renewals = frame_of(known, rows).merge(told.to_pandas(), on="fingerprint")
    spells = known.sightings
    spells = spells.filter(~spells.wrong).semi_join(ours, ["as_of", "fingerprint"])
    seen = {time: spells[time].as_timestamp("s") for time in ("first_seen", "last_seen")}
    spells = spells.select("host", "port", "server_name", "fingerprint", **seen)
    return Story(
        lineage=str(renewals["lineage"].iloc[0]),
        name=str(renewals["name"].iloc[-1]),
        as_of=as_of,
        renewals=renewals,
        spells=_utc(spells.to_pandas(), "first_seen", "last_seen"),
        events=_utc(_events(known, ours).to_pandas(), "at").sort_values("at", ignore_index=True),
    )


def _issuer(certificates: "ir.Table") -> "ir.StringValue":
    return certificates.issuer_org.coalesce(certificates.issuer_cn, certificates.issuer_dn)


def _lineage(known: Known, name: str, as_of: datetime) -> "ir.Table":
    """Find the one lineage that goes by a name; names that say more are tried first."""
    renewals, certificates = known.renewals, known.tables.certificates
    tried = []
    if _DIGEST.fullmatch(name):
        tried.append(certificates.filter(certificates.fingerprint.startswith(name)))
    tried.append(certificates.filter(called(certificates) == name))
    tried.append(certificates.filter(certificates.names.contains(name)))
    events = known.tables.events
    events = events.filter(events.lineage.lower() == name).select("as_of", "lineage", "fingerprint")
    tried.append(
        concerning(
            events, known.tables, certificates.select("as_of", "fingerprint", "name_set_id"), known.sets
        )
    )
    for matching in tried:
        rows = renewals.semi_join(matching, ["as_of", "fingerprint"])
        found = (
            rows.group_by(["as_of", "lineage"])
            .aggregate(expires=rows.expires.max(), key=rows.key_algorithm.max())
            .order_by("expires")
        )
        lineages = found.select("lineage", "key", expires=found.expires.as_timestamp("s")).to_pandas()
        if len(lineages) > 1:
            several = ", ".join(
                f"{row.lineage[:12]} ({row.key or 'key unknown'}, to {row.expires:%Y-%m-%d})"
                for row in lineages.iloc[::-1].head(8).itertuples()
            )
            more = f" and {len(lineages) - 8} more" if len(lineages) > 8 else ""
            raise InputError(f"{len(lineages)} lineages go by {name!r}; name one by: {several}{more}")
        if len(lineages):
            return found.select("as_of", "lineage")
    raise InputError(
        f"no lineage goes by {name!r} as of {as_of:%Y-%m-%d %H:%M} UTC: 'certforecast renewals' lists them"
    )


def _events(known: Known, ours: "ir.Table") -> "ir.Table":
    columns = ("at", "kind", "code", "detail", "actor", "source", "host")
    events = known.tables.events
    # An event that names its certificate concerns that one alone.
    direct = events.semi_join(ours, ["as_of", "fingerprint"]).select(*columns)
    named = events.filter(events.fingerprint.isnull())
    return direct.union(concerning(named, known.tables, ours, known.sets).select(*columns), distinct=True)


def _issues(renewals: "pd.DataFrame") -> Iterator[tuple[Any, ...]]:
    listed: list[Any] = list(renewals.itertuples())
    before = {row.successor: row for row in listed if isinstance(row.successor, str)}
    for row in listed:
        days = (row.not_after - row.not_before) / timedelta(days=1)
        text = f"issued by {row.issuer} for {days:.0f} days"
        old = before.get(row.fingerprint)
        if old is None:
            text += f", for {_listed(row.names)}"
        else:
            reasons = ", ".join(_WORDS.get(one, one) for one in old.why.split("+"))
            text += f", to replace {old.fingerprint[:8]} ({reasons})"
            added, dropped = set(row.names) - set(old.names), set(old.names) - set(row.names)
            text += f"; added {_listed(sorted(added))}" if added else ""
            text += f"; dropped {_listed(sorted(dropped))}" if dropped else ""
            if row.issuer != old.issuer:
                text += f"; before, {old.issuer} issued it"
        yield row.not_before, "issued", row.fingerprint, text


def _sightings(spells: "pd.DataFrame") -> Iterator[tuple[Any, ...]]:
    for fingerprint, seen in spells.groupby("fingerprint"):
        ordered = seen.sort_values("first_seen")
        first = ordered.iloc[0]
        text = f"first seen on {first['host']}:{first['port']}"
        if len(seen) > 1:
            last = ordered["first_seen"].iloc[-1]
            text += f", on all {len(seen)} endpoints by {last:%Y-%m-%d}"
        yield first["first_seen"], "served", fingerprint, text


def _happenings(events: "pd.DataFrame") -> Iterator[tuple[Any, ...]]:
    """Tell what is not told otherwise, repeated attempts in one line."""
    rows = events[events["kind"] != "issued"]
    for _, alike in rows.groupby(["kind", "code", "source"], dropna=False, sort=False):
        spell = (alike["at"].diff() > _ONE_SPELL).cumsum()
        for _, group in alike.groupby(spell):
            first = group.iloc[0]
            text = str(first["kind"]).replace("_", " ")
            text += f": {first['code']}" if isinstance(first["code"], str) else ""
            text += f" ({first['detail']})" if isinstance(first["detail"], str) else ""
            if len(group) > 1:
                text += f", {len(group)} times until {group['at'].iloc[-1]:%Y-%m-%d}"
            yield first["at"], first["kind"], None, text


def _end(row: Any, as_of: datetime) -> Iterator[tuple[Any, ...]]:
    """Tell what became of a certificate; of one that is open, what is to come."""
    by = "in service" if row.evidence == "service" else "issued"
    if row.outcome == "open":
        text = f"open: due {_ahead(row.due, as_of)}, expires {_ahead(row.not_after, as_of)}"
        if isinstance(row.successor, str):
            text += f"; its successor {row.successor[:8]} is issued, not in service everywhere"
        at: Any = as_of
    elif row.outcome == "retired":
        text = "retired: no sign of use, no successor"
        if isinstance(row.successor, str):
            text = f"retired: {row.successor[:8]} covers its names"
        at = row.resolved_at
    elif row.outcome == "failed" and row.in_service_at != row.in_service_at:  # NaT: nothing replaced it
        text, at = "failed: served after its expiry", row.not_after
    elif row.outcome == "failed":
        text, at = (
            f"failed: its successor was {by} {-row.margin_days:.1f} days after its expiry",
            row.not_after,
        )
    else:
        word = {"on_time": "renewed on time", "slipped": "renewed late"}[row.outcome]
        text = f"{word}: successor {by} {_after(row.renewal_lag_days)} it was due"
        text += f", {row.margin_days:.1f} days before expiry"
        at = row.in_service_at
    if row.intervention:
        text += " (by an action of certforecast)"
    yield at, row.outcome, row.fingerprint, text


def _listed(names: Any) -> str:
    shown = ", ".join(list(names)[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more names"


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _after(days: float) -> str:
    return f"{abs(days):.1f} days {'after' if days >= 0 else 'before'}"


def _ahead(moment: datetime, now: datetime) -> str:
    days = (moment - now) / timedelta(days=1)
    return f"in {days:.1f} days" if days >= 0 else f"{-days:.1f} days ago"


def _utc(frame: "pd.DataFrame", *columns: str) -> "pd.DataFrame":
    import pandas as pd

    return frame.assign(
        **{column: pd.to_datetime(frame[column], utc=True).dt.as_unit("us") for column in columns}
    )
