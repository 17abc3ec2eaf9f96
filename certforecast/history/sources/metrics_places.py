"""What exporters tell of certificates in files and secrets, and in the hands of cert-manager and Traefik."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from certforecast.history.sources import Rejected
from certforecast.history.sources.batching import Found
from certforecast.history.sources.metrics_series import Series, moment
from certforecast.history.sources.metrics_summaries import (
    FirstSights,
    dn_of_fields,
    end_of,
    names_of,
    serial_of,
    stand_in,
)
from certforecast.history.sources.metrics_watch import Family, Watch

__all__ = ["CertManagers", "Files", "Traefiks"]

Finds = Iterator[Found | Rejected]
Labels = dict[str, str]

#: Parts of a name, in the order that most certificates have.
_FIELDS: Final = ("C", "ST", "L", "O", "OU", "CN")


class _Held(NamedTuple):
    """A certificate in a place."""

    expires: float
    serial: str


class _Places(Family):
    """Where certificates lie."""

    def __init__(self, watch: Watch, source: str) -> None:
        super().__init__(watch, source)
        self._certificates = FirstSights()

    def _note(self, one: Series, identity: str, **known: Any) -> None:
        """Note the certificates of a series from their first samples on."""
        last = None
        for time, value in zip(one.times, one.values, strict=True):
            if value != last and (not_after := end_of(value)):
                fingerprint = stand_in(identity, known["serial"], not_after)
                if self._certificates.wants(fingerprint, time):
                    position = f"{one.position} {moment(time).isoformat()}"
                    self._certificates.note(fingerprint, time, position, not_after=not_after, **known)
            last = value

    def _changes(self, key: Hashable, states: dict[int, Any], before: Any = None) -> Iterator[int]:
        """Give the times at which a state became another, from `before` if that is given."""
        for time in sorted(states):
            changed_from = self._watch.look(key, time, states[time]).changed_from
            if changed_from is not None and before in (None, changed_from):
                yield time

    def _event(self, time: int, kind: str, lineage: str, actor: str, **told: str) -> Found:
        names = names_of([lineage], only_hosts=True)
        row = {
            "at": moment(time),
            "lineage": names.names[0] if names else lineage,
            "host": names.names[0] if names and not names.wildcard else None,
            "kind": kind,
            "actor": actor,
            "source": self._source,
            "known_at": moment(time),
            **told,
        }
        return Found("events", row, f"{lineage} {moment(time).isoformat()}")


class Files(_Places):
    """Certificates that x509-certificate-exporter found in files, and in Kubernetes' secrets and config maps.

    Metrics and labels: enix/x509-certificate-exporter, ``docs/metrics.md``. Another certificate in the same
    place is an event ``staged``; a place that can no longer be read is ``install_failed``. Authorities, which
    lie there too, are passed over: their subject names no server.
    """

    metrics = ("x509_cert_not_after", "x509_cert_not_before", "x509_cert_error")

    def __init__(self, watch: Watch, source: str) -> None:
        super().__init__(watch, source)
        self._subjects = dict[str, str]()

    def finds(self, series: Iterable[Series]) -> Finds:
        """Yield what the samples say; those of a later call must be later."""
        series = list(series)
        begins = {
            _labels(one): end_of(one.values[-1])
            for one in series
            if one.metric == "x509_cert_not_before" and one.values
        }
        held = defaultdict[tuple[str, str], dict[int, _Held]](dict)
        readable = defaultdict[str, dict[int, bool]](dict)
        for one in series:
            place, subject = _place(one.labels), one.labels.get("subject_CN", "")
            names = names_of([subject], only_hosts=True)
            if one.metric == "x509_cert_not_after" and names:
                serial = serial_of(one.labels.get("serial_number", ""), 10)
                issuer = dn_of_fields((field, one.labels.get(f"issuer_{field}", "")) for field in _FIELDS)
                known = {"names": names, "subject_cn": subject, "issuer": issuer, "serial": serial}
                self._note(one, issuer.rfc4514, not_before=begins.get(_labels(one)), **known)
                _take(held[place, subject], one, serial)
                self._subjects[place] = subject
                readable[place] = dict.fromkeys(one.times, True) | readable[place]
            elif one.metric == "x509_cert_error":
                unreadable = (time for time, value in zip(one.times, one.values, strict=True) if value)
                readable[place] |= dict.fromkeys(unreadable, False)
        for (place, subject), samples in held.items():
            for time in self._changes((place, subject), samples):
                yield self._event(time, "staged", subject, "x509-certificate-exporter", detail=place)
        for place, states in readable.items():
            for time in self._changes(place, states):
                if not states[time]:
                    told = {"code": "unreadable", "detail": place}
                    yield self._event(
                        time, "install_failed", self._subjects[place], "x509-certificate-exporter", **told
                    )
        yield from self._certificates.rows(self._watch, self._source)


class CertManagers(_Places):
    """Certificates of cert-manager: when each got another end, and when it stopped being ready.

    Metrics and labels: cert-manager, ``pkg/metrics``. They tell no names of servers, so there are no rows of
    certificates; the lineage is ``NAMESPACE/NAME``. Another end is an event ``issued``; from ready to not
    ready is ``verify_failed``, as what is in place is not what it should be.
    """

    metrics = (
        "certmanager_certificate_expiration_timestamp_seconds",
        "certmanager_certificate_renewal_timestamp_seconds",
        "certmanager_certificate_ready_status",
    )

    def finds(self, series: Iterable[Series]) -> Finds:
        """Yield what the samples say; those of a later call must be later."""
        ends = defaultdict[tuple[str, str], dict[int, float]](dict)
        renewals = defaultdict[tuple[str, str], dict[int, float]](dict)
        ready = defaultdict[tuple[str, str], dict[int, str]](dict)
        for one in series:
            # Prometheus puts its own label of the pod in the place of the exporter's, and that under this.
            namespace = one.labels.get("exported_namespace") or one.labels.get("namespace", "")
            name = one.labels.get("exported_name") or one.labels.get("name", "")
            key = one.labels.get("cluster", ""), f"{namespace}/{name}"
            samples = dict(zip(one.times, one.values, strict=True))
            match one.metric:
                case "certmanager_certificate_expiration_timestamp_seconds":
                    ends[key] |= samples
                case "certmanager_certificate_renewal_timestamp_seconds":
                    renewals[key] |= samples
                case "certmanager_certificate_ready_status":
                    condition = one.labels.get("condition", "")
                    ready[key] |= {time: condition for time, value in samples.items() if value}
        for key, values in ends.items():
            for time in self._changes(("end", *key), values):
                told = {"not_after": end_of(values[time]), "renewal": end_of(renewals[key].get(time))}
                if told["not_after"]:
                    detail = "; ".join(f"{name}={at.isoformat()}" for name, at in told.items() if at)
                    yield self._event(time, "issued", key[1], "cert-manager", detail=detail)
        for key, states in ready.items():
            for time in self._changes(("ready", *key), states, before="True"):
                yield self._event(time, "verify_failed", key[1], "cert-manager", code="not_ready")


class Traefiks(_Places):
    """Certificates that Traefik holds, and when it took another for the same names (``staged``).

    Metric and labels: Traefik, ``appendCertMetric``. It tells no issuer, and goes on telling of a certificate
    that has been replaced until it is started anew; so of several the one that expires last counts.
    """

    metrics = ("traefik_tls_certs_not_after",)

    def finds(self, series: Iterable[Series]) -> Finds:
        """Yield what the samples say; those of a later call must be later."""
        held = defaultdict[tuple[str, str], dict[int, _Held]](dict)
        for one in series:
            subject = one.labels.get("cn", "")
            # Traefik's own "TRAEFIK DEFAULT CERT" is no server's.
            names = names_of(one.labels.get("sans", "").split(",")) or names_of([subject])
            if names:
                serial = serial_of(one.labels.get("serial", ""), 10)
                self._note(one, names.id, names=names, serial=serial, subject_cn=subject or None)
                lineage = (names_of([subject]) or names).names[0]
                _take(held[lineage, names.id], one, serial)
        for (lineage, names_id), samples in held.items():
            for time in self._changes((lineage, names_id), samples):
                yield self._event(time, "staged", lineage, "traefik")
        yield from self._certificates.rows(self._watch, self._source)


def _labels(one: Series) -> frozenset[tuple[str, str]]:
    return frozenset(one.labels.items())


def _take(held: dict[int, _Held], one: Series, serial: str | None) -> None:
    """Add what a series holds; of several certificates at one time, the one that expires last counts."""
    for time, value in zip(one.times, one.values, strict=True):
        now = _Held(value, serial or "")
        held[time] = max(held.get(time, now), now)


def _place(labels: Labels) -> str:
    """Say where a certificate lies. A secret is the same whichever exporter has read it."""
    for kind in ("secret", "configmap"):
        if name := labels.get(f"{kind}_name"):
            namespace, key = (labels.get(f"{kind}_{part}", "") for part in ("namespace", "key"))
            return f"{labels.get('cluster', '')} {kind} {namespace}/{name} {key}".strip()
    machine = labels.get("node") or labels.get("instance", "")
    return f"{machine} {labels.get('filepath', '')} {labels.get('embedded_key', '')}".strip()
