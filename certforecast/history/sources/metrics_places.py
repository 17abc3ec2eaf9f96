"""What exporters tell of certificates in files and secrets, and in the hands of cert-manager and Traefik."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from certforecast.errors import InputError
from certforecast.history.names import NameSet, is_wildcard
from certforecast.history.sources import Rejected
from certforecast.history.sources.batching import Found
from certforecast.history.sources.metrics_series import Series, moment
from certforecast.history.sources.metrics_summaries import (
    dn_of_fields,
    end_of,
    names_of,
    serial_of,
    stand_in,
    summary,
)
from certforecast.history.sources.metrics_watch import Family, Watch

__all__ = ["CertManagers", "Files", "Traefiks"]

Finds = Iterator[Found | Rejected]
Labels = dict[str, str]

#: Parts of a name, in the order that most certificates have.
_FIELDS: Final = ("C", "ST", "L", "O", "OU", "CN")


class _Held(NamedTuple):
    """A certificate in a place; of several, the one that expires last is the one that counts."""

    expires: float
    serial: str


class _Places(Family):
    """Where certificates lie."""

    def __init__(self, watch: Watch, source: str) -> None:
        super().__init__(watch, source)
        self._told = set[Hashable]()

    def _certificate(
        self, identity: Hashable, time: int, position: str, names: NameSet, held: _Held, **known: Any
    ) -> Finds:
        """Give the row of a certificate, once, from its first sighting on."""
        not_after = end_of(held.expires)
        if not_after is None or identity in self._told:
            return
        self._told.add(identity)
        if self._watch.is_new(time):
            try:
                row = summary(
                    fingerprint=stand_in(identity),
                    names=names,
                    not_after=not_after,
                    seen=moment(time),
                    source=self._source,
                    **known,
                )
            except InputError as error:
                yield Rejected(position, str(error))
            else:
                yield Found("certificates", row, position)

    def _event(self, time: int, kind: str, lineage: str, actor: str, **told: str | None) -> Found:
        row = {
            "at": moment(time),
            "lineage": lineage,
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

    def finds(self, series: Iterable[Series]) -> Finds:
        """Yield what the samples say; those of a later call must be later."""
        begins = dict[Hashable, float]()
        held = defaultdict[tuple[str, str], dict[int, tuple[_Held, Labels]]](dict)
        readable = defaultdict[str, dict[int, bool]](dict)
        for one in series:
            place, subject = _place(one.labels), one.labels.get("subject_CN", "")
            if one.metric == "x509_cert_error":
                readable[place] |= {
                    time: False for time, value in zip(one.times, one.values, strict=True) if value
                }
            elif one.metric == "x509_cert_not_before" and one.values:
                begins[frozenset(one.labels.items())] = one.values[-1]
            elif one.metric == "x509_cert_not_after" and names_of([subject], only_hosts=True):
                serial = serial_of(one.labels.get("serial_number", ""), 10) or ""
                for time, value in zip(one.times, one.values, strict=True):
                    now = _Held(value, serial), one.labels
                    samples = held[place, subject]
                    samples[time] = max(samples.get(time, now), now, key=lambda pair: pair[0])
                    readable[place].setdefault(time, True)
        for (place, subject), samples in held.items():
            for time in sorted(samples):
                yield from self._sample(place, subject, time, *samples[time], begins)
        for place, states in readable.items():
            for time in sorted(states):
                if self._watch.look(place, time, states[time]).changed_from is True:
                    yield self._event(
                        time, "install_failed", place, "x509-certificate-exporter", code="unreadable"
                    )

    def _sample(
        self, place: str, subject: str, time: int, held: _Held, labels: Labels, begins: dict[Hashable, float]
    ) -> Finds:
        names = names_of([subject], only_hosts=True)
        assert names is not None  # noqa: S101 (others were left out)
        issuer = dn_of_fields((field, labels.get(f"issuer_{field}", "")) for field in _FIELDS)
        begun = end_of(begins.get(frozenset(labels.items())))
        position = f"{place} {moment(time).isoformat()}"
        yield from self._certificate(
            (issuer.rfc4514, *held),
            time,
            position,
            names,
            held,
            not_before=begun,
            issuer=issuer,
            serial=held.serial or None,
            subject_cn=subject,
        )
        if self._watch.look((place, subject), time, held).changed_from:
            host = None if is_wildcard(names.names[0]) else names.names[0]
            yield self._event(
                time, "staged", names.names[0], "x509-certificate-exporter", host=host, detail=place
            )


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
        ends = defaultdict[str, dict[int, float]](dict)
        renewals = defaultdict[str, dict[int, float]](dict)
        ready = defaultdict[str, dict[int, str]](dict)
        for one in series:
            # Prometheus puts its own label of the pod in the place of the exporter's, and that under this.
            namespace = one.labels.get("exported_namespace") or one.labels.get("namespace", "")
            lineage = f"{namespace}/{one.labels.get('exported_name') or one.labels.get('name', '')}"
            samples = dict(zip(one.times, one.values, strict=True))
            match one.metric:
                case "certmanager_certificate_expiration_timestamp_seconds":
                    ends[lineage] |= samples
                case "certmanager_certificate_renewal_timestamp_seconds":
                    renewals[lineage] |= samples
                case "certmanager_certificate_ready_status":
                    condition = one.labels.get("condition", "")
                    ready[lineage] |= {time: condition for time, value in samples.items() if value}
        for lineage, values in ends.items():
            for time in sorted(values):
                sight = self._watch.look(("end", lineage), time, values[time])
                if sight.changed_from is not None and (not_after := end_of(values[time])):
                    due = end_of(renewals[lineage].get(time))
                    detail = f"not_after={not_after.isoformat()}" + (
                        f"; renewal={due.isoformat()}" if due else ""
                    )
                    yield self._event(time, "issued", lineage, "cert-manager", detail=detail)
        for lineage, states in ready.items():
            for time in sorted(states):
                sight = self._watch.look(("ready", lineage), time, states[time])
                if sight.changed_from == "True":
                    yield self._event(time, "verify_failed", lineage, "cert-manager", code="not_ready")


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
            names = one.labels.get("cn", ""), one.labels.get("sans", "")
            serial = serial_of(one.labels.get("serial", ""), 10) or ""
            for time, value in zip(one.times, one.values, strict=True):
                now = _Held(value, serial)
                held[names][time] = max(held[names].get(time, now), now)
        for (subject, others), samples in held.items():
            # "TRAEFIK DEFAULT CERT" is no server's.
            names_held = names_of(others.split(",")) or names_of([subject])
            for time in sorted(samples) if names_held else ():
                yield from self._sample(subject, others, names_held, time, samples[time])  # type: ignore[arg-type]

    def _sample(self, subject: str, others: str, names: NameSet, time: int, held: _Held) -> Finds:
        first = (names_of([subject]) or names).names[0]
        yield from self._certificate(
            (names.id, *held),
            time,
            f"{first} {moment(time).isoformat()}",
            names,
            held,
            serial=held.serial or None,
            subject_cn=subject or None,
        )
        if self._watch.look((subject, others), time, held).changed_from:
            yield self._event(time, "staged", first, "traefik", host=None if is_wildcard(first) else first)


def _place(labels: Labels) -> str:
    """Say where a certificate lies. A secret is the same whichever exporter has read it."""
    for kind in ("secret", "configmap"):
        if name := labels.get(f"{kind}_name"):
            namespace, key = (labels.get(f"{kind}_{part}", "") for part in ("namespace", "key"))
            return f"{kind} {namespace}/{name} {key}".rstrip()
    machine = labels.get("node") or labels.get("instance", "")
    return f"{machine} {labels.get('filepath', '')} {labels.get('embedded_key', '')}".strip()
