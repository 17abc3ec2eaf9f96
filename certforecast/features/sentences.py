"""One sentence for every feature: its value in words, compared with what is usual in the fleet."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from certforecast.features import FEATURES, wording
from certforecast.features.wording import Row, known, share, span

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Told", "sentence", "subject", "tone", "usual"]

_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

#: From which ratios on a rate is said to be more or less than usual.
_MORE, _LESS = 1.25, 0.8


@dataclass(frozen=True)
class Told:
    """What is known of one renewal when it is put in words.

    Attributes
    ----------
    row : mapping
        Its features by name.
    usual : mapping of str to float
        As given by :func:`usual`.
    margins : sequence of float
        Of the lineage's past renewals in days, the latest last; may be empty.
    """

    row: Row
    usual: Mapping[str, float] = field(default_factory=dict)
    margins: Sequence[float] = ()

    def __getitem__(self, name: str) -> float:
        """Give a number; unknown is NaN."""
        return known(self.row, name)

    def text(self, name: str) -> str:
        """Give a category; unknown is empty."""
        value = self.row.get(name)
        return value if isinstance(value, str) else ""


def usual(frame: "pd.DataFrame") -> dict[str, float]:
    """Say what is usual of every number in a fleet.

    The median; of what is said of issuers, the mean over the issuers that are seen, however many certificates
    each has.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        Rows of open renewals.
    """
    import pandas as pd

    found = {}
    for name, feature in FEATURES.items():
        if feature.kind == "category" or name not in frame:
            continue
        column = pd.Series(frame[name].to_numpy(dtype="float64", na_value=float("nan")), frame.index)
        if feature.reads == "issuer" and "issuer_org" in frame:
            found[name] = float(column.groupby(frame["issuer_org"].fillna("")).mean().mean())
        else:
            found[name] = float(column.median())
    return found


def sentence(feature: str, told: Told) -> str:
    """Put a feature's value in words.

    Features that say the same have the same sentence. A feature without one of its own is named with its
    value.
    """
    if feature not in _CATEGORIES and told[feature] != told[feature] and feature not in _SAYS_UNKNOWN:
        return _unknown(feature)
    say = _SENTENCES.get(feature)
    return say(told) if say is not None else _value(feature, told)


def subject(feature: str) -> str:
    """Give what features have in common of which one need not be said after the other."""
    say = _SENTENCES.get(feature)
    shared = [name for name, other in _SENTENCES.items() if other is say]
    return re.sub("_(failed|late|recent_late)_rate$", " rates", shared[0] if shared else feature)


def tone(feature: str, told: Told) -> int:
    """Say whether its sentence sounds bad (1), good (-1), or neither: rates above and below the usual."""
    usually = told.usual.get(feature, 0.0)
    if not feature.endswith("_rate") or not usually > 0 or (feature in _OWN_RATES and _is_new(told)):
        return 0
    ratio = told[feature] / usually
    return int(ratio >= _MORE) - int(ratio <= _LESS)


def _unknown(feature: str) -> str:
    """Say what it is that nobody knows, rather than the feature's name."""
    first = feature.split("_")[0]
    if feature in _UNKNOWN:
        return _UNKNOWN[feature]
    if first in _UNKNOWN_OF:
        return _UNKNOWN_OF[first]
    return f"its {_plain(feature)} is not known"


def _is_new(told: Told) -> bool:
    """Whether no earlier renewal of it is known: its own rates are the fleet's then."""
    return not told.margins and told["margin_last"] != told["margin_last"]


def _plain(feature: str) -> str:
    return feature.replace("_", " ")


def _value(feature: str, told: Told) -> str:
    unit = FEATURES[feature].unit if feature in FEATURES else ""
    if feature in _CATEGORIES:
        return f"the {_plain(feature)} is {told.text(feature) or 'unknown'}"
    usually = told.usual.get(feature)
    compared = "" if usually is None or usually != usually else f" (usually {_number(usually, unit)})"
    return f"the {_plain(feature)} is {_number(told[feature], unit)}{compared}"


def _number(value: float, unit: str) -> str:
    return share(value) if unit == "share" else f"{value:.3g}"


def _times(value: float, usually: float | None, than: str) -> str:
    """Compare a rate with the usual one."""
    if usually is None or not usually > 0:
        return f"about {share(value)} of the time"
    ratio, both = value / usually, f"({share(value)} against {share(usually)})"
    if ratio >= _MORE:
        return f"{ratio:.{1 if ratio < 9.95 else 0}f} times as often as {than} {both}"
    return f"{'less often than' if ratio <= _LESS else 'about as often as'} {than} {both}"


def _rate(feature: str, what: str) -> Callable[[Told], str]:
    return lambda told: f"{what} {_times(told[feature], told.usual.get(feature), 'is usual')}"


def _own_rate(feature: str, what: str) -> Callable[[Told], str]:
    say = _rate(feature, what)
    return lambda told: _own(told) if _is_new(told) else say(told)


def _issuer_rate(feature: str, fate: str) -> Callable[[Told], str]:
    def say(told: Told) -> str:
        issuer = told.text("issuer_org") or "its issuer"
        than = "those of your issuers on average"
        return f"renewals from {issuer} {fate} {_times(told[feature], told.usual.get(feature), than)}"

    return say


def _share_of(feature: str, what: str) -> Callable[[Told], str]:
    """Make a sentence that begins with a share."""

    def say(told: Told) -> str:
        usually = told.usual.get(feature)
        compared = "" if usually is None or usually != usually else f" (usually {share(usually)})"
        return f"{share(told[feature]) if told[feature] else 'none'} of {what}{compared}"

    return say


def _slip(told: Told) -> str:
    left = told["days_to_slip"]
    if left < 0:
        return f"its slip point passed {span(-left)} ago: it can no longer be on time"
    return f"{span(left)} to its slip point"


def _past_usual(told: Told) -> str:
    away = told["past_usual"] * told["validity_days"]
    if away != away:  # there may be renewals all the same, such as ours, which are no habit
        return _own(told)
    if away > 0:
        return f"by now this lineage has usually been renewed, {span(away)} earlier"
    return f"this lineage is usually renewed {span(-away)} from now"


def _own(told: Told) -> str:
    if told.margins:
        return wording.last_renewals(told.margins[-3:])
    return _NEW if _is_new(told) else wording.last_renewal(told.row)


def _lag_trend(told: Told) -> str:
    change = told["lag_trend"] * told["validity_days"]
    if abs(change) < 0.5:
        return "its renewals come no later each time"
    return f"its renewals come {span(abs(change))} {'later' if change > 0 else 'earlier'} each time"


def _hours(told: Told) -> str:
    alike = told["hour_concentration"]
    if alike != alike:
        return "too few issues to tell a timer from a hand"
    if alike >= 0.9:
        return "its certificates are issued at the same hour, as by a timer"
    return "its certificates are issued at varying hours, as by hand"


def _intervals(told: Told) -> str:
    spread = told["interval_spread"]
    if spread != spread:
        return "too few issues to tell a timer from a hand"
    return f"its certificates are issued at {'even' if spread < 0.1 else 'uneven'} intervals"


def _unserved(told: Told) -> str:
    return wording.unserved(told.row) if told["unserved"] == 1.0 else "no successor has been issued yet"


def _attempts(told: Told) -> str:
    if told["attempts_failed_month"] > 0:
        return wording.attempts(told.row)
    age = told["attempt_failed_age"]
    return f"its last failed attempt was {span(age)} ago" if age == age else "no failed attempt is known"


def _success(told: Told) -> str:
    age = told["success_age"]
    return f"its client last succeeded {span(age)} ago" if age == age else "its client reports no successes"


def _reload(told: Told) -> str:
    if told["reload_failed"] == 1.0:
        return "a reload or an installation has failed since it was issued"
    return "no reload or installation has failed since it was issued"


def _rehearsal(told: Told) -> str:
    age = told["days_since_rehearsal"]
    if age != age:
        return "its renewal has not been rehearsed"
    found = "found something" if told["rehearsal_failed"] == 1.0 else "found nothing"
    return f"a rehearsal {span(age)} ago {found}"


def _endpoints(told: Told) -> str:
    count = told["endpoints"]
    if not count > 0:
        return "it was never seen on an endpoint"
    return f"seen on {count:.0f} endpoint{'s' if count != 1 else ''}"


def _automation(told: Told) -> str:
    by = told.text("automation")
    return f"the inventory has it renewed by {by}" if by else "the inventory does not say how it is renewed"


def _environment(told: Told) -> str:
    where = told.text("environment")
    return f"its environment is {where}" if where else "the inventory does not say where it runs"


def _lifetime(told: Told) -> str:
    now, ratio = told["validity_days"], told["validity_ratio"]
    before = "" if not ratio > 0 or abs(ratio - 1) < 0.02 else f", the one before for {span(now / ratio)}"
    return f"valid for {span(now)}{before}"


def _limit(told: Told) -> str:
    if told["limit_ratio"] > 1:
        return "its lifetime is longer than public certificates may have now: the next must be shorter"
    return f"its lifetime is {share(told['limit_ratio'])} of what public certificates may have"


def _changed(feature: str, yes: str, no: str) -> Callable[[Told], str]:
    return lambda told: yes if told[feature] == 1.0 else no


def _weekday(feature: str, what: str) -> Callable[[Told], str]:
    return lambda told: f"it {what} on a {_DAYS[int(told[feature]) % 7]}"


def _counted(feature: str, one: str, many: str, text: str) -> Callable[[Told], str]:
    def say(told: Told) -> str:
        count = told[feature]
        return text.format(f"{f'{count:.0f}' if count else 'no'} {one if count == 1 else many}")

    return say


def _install_delay(told: Told) -> str:
    usually = told.usual.get("install_delay", float("nan"))
    compared = f" (usually {span(usually)})" if usually == usually else ""
    return f"from issue to service its certificates take {span(told['install_delay'])}{compared}"


def _lag_spread(told: Told) -> str:
    return (
        f"its renewals come {span(told['lag_spread'] * told['validity_days'])} apart from one another's time"
    )


def _grown(told: Told) -> str:
    ratio = told["endpoint_ratio"]
    return (
        f"it is on {ratio:.1f} times the endpoints of the one before"
        if ratio != 1
        else ("it is on as many endpoints as the one before")
    )


def _due(told: Told) -> str:
    return wording.due(told.row)


_CATEGORIES: Final = {feature.name for feature in FEATURES.values() if feature.kind == "category"}

#: The sentences of these say themselves that something is unknown.
_SAYS_UNKNOWN: Final = {
    *(
        "past_usual",
        "margin_last",
        "margin_least",
        "lag_last",
        "lag_mean",
        "hour_concentration",
        "interval_spread",
    ),
    *("attempts_failed_month", "attempts_failed_week", "attempt_failed_age", "success_age", "validity_ratio"),
    *("retry_interval", "unserved_days", "endpoints", "rehearsal_failed", "days_since_rehearsal"),
}

_OWN_RATES: Final = ("lineage_late_rate", "lineage_failed_rate")
_NEW: Final = "no earlier renewal of it is known"
_NEVER_SEEN: Final = "it was never seen on an endpoint"

#: What is so where a feature is unknown, and where any of those is whose names begin alike.
_UNKNOWN: Final = {
    **dict.fromkeys((*_OWN_RATES, "weekday_share", "issuer_changed", "names_changed"), _NEW),
    **dict.fromkeys(("lag_spread", "lag_trend"), "fewer than two earlier renewals of it are known"),
    **dict.fromkeys(("gone_share", "moved_share", "silent_days", "host_certificates"), _NEVER_SEEN),
    "install_delay": "it is not known how long its certificates take from issue to service",
    "endpoint_ratio": "the one before was never seen on an endpoint",
    "error_share": "nobody looked at its endpoints in 14 days",
    "issuer_early_share": "nothing of its issuer was renewed in the last 7 days",
    **dict.fromkeys(("key_reused", "key_sharing"), "its key is not known"),
}
_UNKNOWN_OF: Final = {
    **dict.fromkeys(("joined", "left"), _NEVER_SEEN),
    "issuer": "no renewal from its issuer is known to have ended",
    "domain": "no renewal in its domain is known to have ended",
    "owner": "its owner is not known, or had no renewals",
}

_SENTENCES: Final[dict[str, Callable[[Told], str]]] = {
    **dict.fromkeys(("days_left", "log_days_left", "days_past_due", "elapsed_share"), _due),
    "days_to_slip": _slip,
    "past_usual": _past_usual,
    **dict.fromkeys(("margin_last", "margin_least", "lag_last", "lag_mean"), _own),
    "lag_trend": _lag_trend,
    "lineage_late_rate": _own_rate("lineage_late_rate", "its own renewals come late"),
    "lineage_failed_rate": _own_rate("lineage_failed_rate", "its own renewals fail"),
    "hour_concentration": _hours,
    "interval_spread": _intervals,
    "weekday_share": _share_of("weekday_share", "its certificates were issued on working days"),
    **dict.fromkeys(("unserved", "unserved_days"), _unserved),
    "moved_share": _share_of("moved_share", "its endpoints serve the successor already"),
    **dict.fromkeys(
        (
            *("attempts_failed_week", "attempts_failed_month", "attempt_failed_age"),
            *("attempt_failed_code", "attempt_causes", "retry_interval"),
        ),
        _attempts,
    ),
    "success_age": _success,
    "reload_failed": _reload,
    **dict.fromkeys(("rehearsal_failed", "days_since_rehearsal"), _rehearsal),
    "endpoints": _endpoints,
    "endpoint_ratio": _grown,
    "install_delay": _install_delay,
    "lag_spread": _lag_spread,
    "validation": lambda told: f"validation of its kind: {told.text('validation')}",
    "key_algorithm": lambda told: f"its key is of the kind {told.text('key_algorithm')}",
    **{
        f"{kind}_{days}": _share_of(f"{kind}_{days}", f"its endpoints {what} in the last {days} days")
        for kind, what in (("joined", "were first seen"), ("left", "went away"))
        for days in (7, 30, 90)
    },
    "gone_share": _share_of("gone_share", "its endpoints are gone or serve other names now"),
    "error_share": _share_of("error_share", "the looks at its endpoints in 14 days failed"),
    "silent_days": lambda told: f"last seen in service {span(told['silent_days'])} ago",
    "host_certificates": lambda told: (
        f"its hosts showed {told['host_certificates']:.1f} certificates each in 90 days"
    ),
    "automation": _automation,
    "environment": _environment,
    **dict.fromkeys(("issuer_failed_rate", "issuer_org"), _issuer_rate("issuer_failed_rate", "fail")),
    "issuer_late_rate": _issuer_rate("issuer_late_rate", "come late"),
    "issuer_recent_late_rate": _issuer_rate("issuer_recent_late_rate", "lately came late"),
    "issuer_overdue_share": _share_of("issuer_overdue_share", "its issuer's open renewals are past due"),
    "issuer_trouble_share": _share_of(
        "issuer_trouble_share", "its issuer's certificates had a failed attempt in the last 7 days"
    ),
    "issuer_early_share": _share_of(
        "issuer_early_share", "its issuer's renewals in the last 7 days came early in the lifetime"
    ),
    "issuer_changed": _changed(
        "issuer_changed", "the certificate before came from another issuer", "its issuer is the one as before"
    ),
    "domain_late_rate": _rate("domain_late_rate", "renewals in its domain come late"),
    "domain_failed_rate": _rate("domain_failed_rate", "renewals in its domain fail"),
    "domain_overdue_share": _share_of("domain_overdue_share", "the open renewals in its domain are past due"),
    "domain_trouble_share": _share_of(
        "domain_trouble_share", "the services in its domain had a failed attempt in the last 7 days"
    ),
    "owner_late_rate": _rate("owner_late_rate", "its owner's renewals come late"),
    "owner_failed_rate": _rate("owner_failed_rate", "its owner's renewals fail"),
    "owner_overdue_share": _share_of("owner_overdue_share", "its owner's open renewals are past due"),
    **dict.fromkeys(("validity_days", "validity_ratio", "validity_profile"), _lifetime),
    "limit_ratio": _limit,
    "names": _counted("names", "name", "names", "it covers {}"),
    "names_changed": _changed(
        "names_changed",
        "its names differ from those of the one before",
        "its names are those of the one before",
    ),
    "wildcard": _changed("wildcard", "a name of it is a wildcard", "none of its names is a wildcard"),
    "key_reused": _changed("key_reused", "it keeps the key of the one before", "its key is new"),
    "key_sharing": _counted("key_sharing", "other service", "other services", "its key is shared with {}"),
    "expiry_weekday": _weekday("expiry_weekday", "expires"),
    "due_weekday": _weekday("due_weekday", "falls due"),
    "free_days": _counted(
        "free_days", "public holiday", "public holidays", "{} in the 14 days before it expires"
    ),
    "expires_in_freeze": _changed(
        "expires_in_freeze",
        "it expires in the year-end freeze (15 December to 5 January)",
        "it does not expire in the year-end freeze",
    ),
    "due_in_freeze": _changed(
        "due_in_freeze", "it falls due in the year-end freeze", "it does not fall due in the year-end freeze"
    ),
    "crowding": _share_of("crowding", "the live certificates expire within 3 days of it"),
}
