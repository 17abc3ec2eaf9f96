"""Topics: features that say the same thing, taken together when a forecast is explained."""

from typing import Final

from certforecast.features import FEATURES

__all__ = ["TOPICS", "topic_of"]

#: Every topic, with what it is about.
TOPICS: Final = {
    "time": "how late it is",
    "own renewals": "how this lineage has renewed before",
    "rhythm": "whether it renews like clockwork",
    "successor": "whether a successor is issued but not in service",
    "attempts": "what its client has tried and done",
    "rehearsals": "what rehearsals of its renewal found",
    "hosts": "the endpoints that serve it",
    "operations": "how and where its host is run",
    "issuer": "its issuer and how that one's renewals go",
    "domain": "renewals in its registered domain",
    "owner": "renewals of its owner",
    "certificate": "lifetime, key and names",
    "calendar": "weekdays, holidays, and what else expires then",
    "other": "features that are not in the catalogue",
}

_TIME: Final = {
    "elapsed_share",
    "days_left",
    "log_days_left",
    "days_past_due",
    "days_to_slip",
    "past_usual",
}
_RHYTHM: Final = {"interval_spread", "weekday_share", "hour_concentration"}
_SUCCESSOR: Final = {"unserved", "unserved_days", "moved_share"}

#: Topic by what a feature is computed from, where that settles it.
_BY_READS: Final = {
    "successor": "successor",
    "looks": "hosts",
    "attempts": "attempts",
    "successes": "attempts",
    "rehearsals": "rehearsals",
    "inventory": "operations",
    "domain": "domain",
    "owner": "owner",
    "calendar": "calendar",
}
#: Else by its group in the catalogue.
_BY_GROUP: Final = {
    "issuer": "issuer",
    "lag": "own renewals",
    "calendar": "calendar",
    "neighbours": "domain",
}


def topic_of(feature: str) -> str:
    """Give the topic of a feature, one of `TOPICS`."""
    for names, topic in ((_TIME, "time"), (_RHYTHM, "rhythm"), (_SUCCESSOR, "successor")):
        if feature in names:
            return topic
    found = FEATURES.get(feature)
    if found is None:
        return "other"
    return _BY_READS.get(found.reads) or _BY_GROUP.get(found.group, "certificate")
