"""What Prometheus's blackbox exporter saw of TLS endpoints."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from certforecast.errors import InputError
from certforecast.history.names import NameSet
from certforecast.history.sources import Rejected
from certforecast.history.sources.batching import Found
from certforecast.history.sources.endpoints import Endpoint
from certforecast.history.sources.metrics_series import Series, moment
from certforecast.history.sources.metrics_summaries import FirstSights, dn_of_go, end_of, names_of, stand_in
from certforecast.history.sources.metrics_watch import Family, Watch

__all__ = ["Probes"]

_SUCCESS: Final = "probe_success"
#: When the first certificate of the chain that was sent expires: nearly always the leaf.
_EXPIRY: Final = "probe_ssl_earliest_cert_expiry"
#: Positive if the chain and the name were verified, and held.
_VERIFIED: Final = "probe_ssl_last_chain_expiry_timestamp_seconds"
#: The leaf, in labels.
_LEAF: Final = "probe_ssl_last_chain_info"
_LEAF_LABELS: Final = frozenset(
    {"fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"}
)
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")

#: What identifies a target: its labels.
Key = frozenset[tuple[str, str]]


@dataclass(slots=True)
class _Target:
    """The samples of one target, by their times."""

    position: str
    instance: str
    success: dict[int, float] = field(default_factory=dict)
    expiry: dict[int, float] = field(default_factory=dict)
    verified: dict[int, float] = field(default_factory=dict)
    leaf: dict[int, dict[str, str]] = field(default_factory=dict)


class Probes(Family):
    """Observations and certificates from the blackbox exporter's probes of TLS endpoints.

    Metrics and labels: blackbox_exporter, ``prober/tls.go`` and ``http.go``. A probe that fails before it has
    a certificate is an observation with the error ``other``, for targets that have ever shown one or are
    ``https``. A sample of a probe that needed no TLS is no look.
    """

    metrics = (_EXPIRY, _VERIFIED, _LEAF, _SUCCESS)
    #: Its targets speak TLS.
    index = _EXPIRY

    def __init__(self, watch: Watch, source: str) -> None:
        super().__init__(watch, source)
        self._tls = set[Key]()
        self._certificates = FirstSights()
        self._rejected = set[str]()

    def know(self, labels: dict[str, str]) -> None:
        """Learn that a target has shown a certificate at some time."""
        self._tls.add(_key(labels))

    def finds(self, series: Iterable[Series]) -> Iterator[Found | Rejected]:
        """Yield what the samples say; those of a later call must be later."""
        targets = dict[Key, _Target]()
        # Two leaves at one time are one that has just gone and one that has just come.
        for one in sorted(series, key=lambda series: series.times[:1]):
            key = _key(one.labels)
            target = targets.setdefault(key, _Target(one.position, one.labels.get("instance", "")))
            samples = dict(zip(one.times, one.values, strict=True))
            match one.metric:
                case "probe_ssl_last_chain_info":
                    target.leaf |= {time: one.labels for time, value in samples.items() if value}
                case "probe_ssl_earliest_cert_expiry":
                    target.expiry |= samples
                case "probe_ssl_last_chain_expiry_timestamp_seconds":
                    target.verified |= samples
                case "probe_success":
                    target.success |= samples
        for key, target in targets.items():
            if target.expiry or target.leaf or target.instance.startswith("https://"):
                self._tls.add(key)
            if key not in self._tls:
                continue
            try:
                endpoint = _endpoint(target.instance)
            except InputError:
                if target.position not in self._rejected:
                    self._rejected.add(target.position)
                    yield Rejected(target.position, "label instance names no endpoint")
                continue
            yield from self._looks(key, target, endpoint)
        yield from self._certificates.rows(self._watch, self._source)

    def _looks(self, key: Key, target: _Target, endpoint: Endpoint) -> Iterator[Found]:
        for time in sorted(target.success.keys() | target.expiry.keys() | target.leaf.keys()):
            not_after = end_of(target.expiry.get(time))
            leaf = target.leaf.get(time, {})
            fingerprint: str | None = leaf.get("fingerprint_sha256", "").lower()
            if not _FINGERPRINT.fullmatch(fingerprint or ""):
                fingerprint = stand_in(endpoint, not_after) if not_after else None
            if fingerprint is None and target.success.get(time) != 0:
                continue
            status = "valid" if fingerprint and target.verified.get(time, 0) > 0 else None
            if self._watch.look(key, time, (fingerprint, status)).told:
                row = self._observation(endpoint, time, fingerprint, status)
                yield Found("observations", row, _position(endpoint, time))
            if fingerprint and not_after and self._certificates.wants(fingerprint, time):
                known = _told(leaf, endpoint)
                position = _position(endpoint, time)
                self._certificates.note(fingerprint, time, position, not_after=not_after, **known)

    def _observation(
        self, endpoint: Endpoint, time: int, fingerprint: str | None, status: str | None
    ) -> dict[str, Any]:
        return {
            "observed_at": moment(time),
            "host": endpoint.host,
            "port": endpoint.port,
            "server_name": endpoint.server_name,
            "fingerprint": fingerprint,
            "chain_status": status,
            "error": None if fingerprint else "other",
            "source": self._source,
            "known_at": moment(time),
        }


def _told(leaf: dict[str, str], endpoint: Endpoint) -> dict[str, Any]:
    """Say what the labels tell of a certificate.

    Its serial number is left out. The fingerprint is identity enough, and the store prefers rows with a
    number: so the certificate itself, when it turns up, comes before what is estimated here.
    """
    subject_cn = dn_of_go(leaf.get("subject", "")).common_name
    names = names_of(leaf.get("subjectalternative", "").split(",")) or names_of([subject_cn or ""])
    return {
        # Addresses are not told; what was served to this name is in its name.
        "names": names or NameSet.of([endpoint.server_name]),
        "issuer": dn_of_go(leaf.get("issuer", "")),
        "subject_cn": subject_cn,
    }


def _position(endpoint: Endpoint, time: int) -> str:
    return f"{endpoint} {moment(time).isoformat()}"


def _key(labels: dict[str, str]) -> Key:
    return frozenset(
        (name, value) for name, value in labels.items() if name not in _LEAF_LABELS and name != "__name__"
    )


def _endpoint(instance: str) -> Endpoint:
    """Read what the exporter was given: ``HOST:PORT``, or an address of HTTP."""
    scheme, colon, _ = instance.partition("://")
    if not colon or scheme.lower() not in ("http", "https"):
        return Endpoint.parse(instance)
    try:
        parts = urlsplit(instance)
        # From plain HTTP it was sent on to HTTPS, whose port is not told.
        port = parts.port if scheme.lower() == "https" and parts.port else 443
    except ValueError as error:
        raise InputError("not an address") from error
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return Endpoint.parse(f"{host or ''}:{port}")
