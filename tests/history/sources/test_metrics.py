"""Answers of Prometheus, written by hand: their form follows its documentation ("HTTP API", "Range vectors").

Metrics and labels are those of blackbox_exporter (``prober/tls.go``), x509-certificate-exporter
(``docs/metrics.md``), cert-manager (``pkg/metrics/certificates_test.go``) and Traefik (``appendCertMetric``).
A real Prometheus is asked in ``tests/system/test_source_metrics.py``.
"""

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certforecast.errors import InputError, SourceError
from certforecast.history import History
from certforecast.history.sources import NO_MARKS, Batch, Marks
from certforecast.history.sources.metrics import MetricsSource
from certforecast.history.sources.metrics_series import parse_duration, parse_matcher
from certforecast.history.sources.metrics_watch import Watch
from certforecast.history.sources.pem import PemSource
from certforecast.history.x509 import fingerprint
from tests.certificates import certificate, der
from tests.history.sources.reading import read
from tests.history.sources.serving import Answer, Question, serving

START = datetime(2026, 3, 1, tzinfo=UTC)
NOW = datetime(2026, 9, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
A, B = "aa" * 32, "bb" * 32
PROBE = {"instance": "https://www.a.example/login", "job": "blackbox"}
END_A = datetime(2026, 5, 1, tzinfo=UTC)
END_B = datetime(2026, 7, 30, tzinfo=UTC)


def clock() -> datetime:
    return NOW


def at(hours: float) -> datetime:
    return START + hours * HOUR


def series(metric: str, labels: dict[str, str], samples: dict[int, float | datetime]) -> dict[str, Any]:
    """Write a series; samples by the hour."""
    values = [
        [at(hour).timestamp(), str(value.timestamp() if isinstance(value, datetime) else value)]
        for hour, value in samples.items()
    ]
    return {"metric": {"__name__": metric, **labels}, "values": values}


def answer(*found: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "matrix", "result": list(found)}}


def leaf(fingerprint: str, **labels: str) -> dict[str, str]:
    return {
        **PROBE,
        "fingerprint_sha256": fingerprint,
        "issuer": "CN=R3,O=Let's Encrypt,C=US",
        "subject": "CN=www.a.example",
        "subjectalternative": "a.example,www.a.example",
        "serialnumber": "0a01",
        **labels,
    }


def during(hours: range, value: float | datetime) -> dict[int, float | datetime]:
    return dict.fromkeys(hours, value)


def renewed_probe() -> list[dict[str, Any]]:
    """A until hour 20, down from 20 to 22, B from 23 on; nothing was asked from 30 to 34."""
    looked = [*range(30), *range(35, 40)]
    second = range(23, 30), range(35, 40)
    return [
        series("probe_success", PROBE, {hour: float(hour not in (20, 21, 22)) for hour in looked}),
        series("probe_ssl_earliest_cert_expiry", PROBE,
               during(range(20), END_A) | {hour: END_B for hours in second for hour in hours}),
        series("probe_ssl_last_chain_expiry_timestamp_seconds", PROBE, during(range(20), END_A)),
        series("probe_ssl_last_chain_info", leaf(B), {hour: 1.0 for hours in second for hour in hours}),
        series("probe_ssl_last_chain_info", leaf(A), during(range(20), 1.0)),
    ]  # fmt: skip


def save(path: Path, *answers: Any) -> Path:
    path.write_text("\n".join(json.dumps(one) for one in answers))
    return path


def load(path: Path, *answers: Any, **options: Any) -> Batch:
    return read(MetricsSource(save(path / "saved.json", *answers), clock=clock, **options))


def looks(found: Batch) -> list[tuple[float, str | None]]:
    return [((row["observed_at"] - START) / HOUR, row["fingerprint"]) for row in found.observations]


def test_probes_are_looks_kept_at_changes_and_every_few_hours(tmp_path: Path) -> None:
    found = load(tmp_path, answer(*renewed_probe()))
    assert found.rejected == []
    assert looks(found) == [
        (0, A), (6, A), (12, A), (18, A), (20, None), (23, B), (24, B), (35, B), (36, B),
    ]  # fmt: skip
    for row in found.observations:
        assert (row["host"], row["port"], row["server_name"]) == ("www.a.example", 443, "www.a.example")
        assert row["known_at"] == row["observed_at"]
        assert row["error"] == (None if row["fingerprint"] else "other")
        assert row["chain_status"] == ("valid" if row["fingerprint"] == A else None)


def test_certificates_begin_when_that_is_likely(tmp_path: Path) -> None:
    found = load(tmp_path, answer(*renewed_probe()))
    first, second = found.certificates
    assert (first["fingerprint"], first["known_at"]) == (A, START)
    assert (second["fingerprint"], second["known_at"]) == (B, at(23))
    assert (second["not_before"], second["not_after"]) == (END_B - timedelta(days=180), END_B)
    assert first["not_before"] == END_A - timedelta(days=64) or first["not_before"] <= START
    assert first["names"] == ["a.example", "www.a.example"]
    assert (first["issuer_dn"], first["issuer_org"]) == ("CN=R3,O=Let's Encrypt,C=US", "Let's Encrypt")


def test_what_is_kept_does_not_tell_what_comes(tmp_path: Path) -> None:
    """Cut off at any hour, the import gives the same rows as the whole does up to then."""
    whole = looks(load(tmp_path, answer(*renewed_probe())))
    for hour in (1, 7, 19, 20, 21, 23, 29, 36):
        cut = copy.deepcopy(renewed_probe())
        for one in cut:
            one["values"] = [sample for sample in one["values"] if sample[0] <= at(hour).timestamp()]
        assert looks(load(tmp_path, answer(*cut))) == [look for look in whole if look[0] <= hour]


def test_a_certificate_is_known_from_its_first_sighting_wherever_that_was(tmp_path: Path) -> None:
    late, early = {"instance": "1.a.example:443"}, {"instance": "2.a.example:443"}
    found = load(
        tmp_path,
        answer(
            series("probe_ssl_last_chain_info", leaf(B) | late, {0: 1.0}),
            series("probe_ssl_last_chain_info", leaf(A) | late, {7: 1.0}),
            series("probe_ssl_earliest_cert_expiry", PROBE | late, {0: END_B, 7: END_A}),
            series("probe_ssl_last_chain_info", leaf(A) | early, {3: 1.0}),
            series("probe_ssl_earliest_cert_expiry", PROBE | early, {3: END_A}),
        ),
    )
    assert {row["fingerprint"]: row["known_at"] for row in found.certificates} == {B: START, A: at(3)}


def test_every_sample_can_be_kept(tmp_path: Path) -> None:
    assert len(load(tmp_path, answer(*renewed_probe()), every=True).observations) == 35
    assert len(load(tmp_path, answer(*renewed_probe()), heartbeat_hours=1e3).observations) == 4


def test_answers_may_be_spread_over_lines(tmp_path: Path) -> None:
    together = load(tmp_path, answer(*renewed_probe()))
    apart = load(tmp_path, *(answer(one) for one in renewed_probe()))
    assert (apart.observations, apart.certificates) == (together.observations, together.certificates)


@pytest.mark.parametrize(
    ("instance", "endpoint"),
    [
        ("mail.a.example:993", ("mail.a.example", 993)),
        ("www.a.example", ("www.a.example", 443)),
        ("http://www.a.example:8080/", ("www.a.example", 443)),
        ("https://[2001:db8::1]:8443/x?y", ("2001:db8::1", 8443)),
        ("https://user:word@www.a.example", ("www.a.example", 443)),
    ],
)
def test_instances_are_endpoints(tmp_path: Path, instance: str, endpoint: tuple[str, int]) -> None:
    found = load(
        tmp_path, answer(series("probe_ssl_earliest_cert_expiry", {"instance": instance}, {0: END_A}))
    )
    assert [(row["host"], row["port"]) for row in found.observations] == [endpoint]
    assert "word@" not in repr(found)


def test_an_instance_that_is_no_endpoint_is_set_aside_once(tmp_path: Path) -> None:
    odd = {"instance": "user:word@x y"}
    found = load(tmp_path, answer(series("probe_ssl_earliest_cert_expiry", odd, {0: END_A, 1: END_A})))
    assert [rejected.reason for rejected in found.rejected] == ["label instance names no endpoint"]
    assert "word@" not in repr(found)


def test_probes_without_tls_are_no_looks(tmp_path: Path) -> None:
    icmp = {"instance": "gateway.a.example", "job": "ping"}
    found = load(tmp_path, answer(series("probe_success", icmp, {0: 1, 1: 0, 2: 1})))
    assert found.observations == found.rejected == []


def test_an_older_exporter_tells_only_the_end(tmp_path: Path) -> None:
    samples = during(range(3), END_A) | during(range(3, 6), END_B)
    found = load(tmp_path, answer(series("probe_ssl_earliest_cert_expiry", PROBE, samples)))
    first, second = found.certificates
    assert [look[1] for look in looks(found)] == [first["fingerprint"], second["fingerprint"]]
    assert first["fingerprint"].startswith("~")
    assert first["names"] == ["www.a.example"]


def test_ends_that_are_none_are_no_ends(tmp_path: Path) -> None:
    samples: dict[int, float | datetime] = {
        0: 0.0,
        1: -62135596800.0,
        2: float("nan"),
        3: float("inf"),
        4: 1e18,
    }
    found = load(tmp_path, answer(series("probe_ssl_earliest_cert_expiry", PROBE, samples)))
    assert found.observations == found.certificates == found.rejected == []


def test_a_whole_certificate_that_comes_later_brings_its_details(tmp_path: Path) -> None:
    whole = der(certificate("www.a.example", start=START))
    probe = leaf(fingerprint(whole))
    found = load(
        tmp_path,
        answer(
            series("probe_ssl_last_chain_info", probe, {0: 1}),
            series("probe_ssl_earliest_cert_expiry", PROBE, {0: END_A}),
        ),
    )
    (tmp_path / "later.der").write_bytes(whole)
    with History(None) as history:
        history.append(found)
        for batch in PemSource(tmp_path / "later.der").read():
            history.append(batch)
        (row,) = history.tables().certificates.to_pyarrow().to_pylist()
    assert row["key_algorithm"] is not None
    assert row["not_before"] == START
    assert row["known_at"] == START


def x509(serial: int, issuer: str = "CA 1", **labels: str) -> dict[str, str]:
    return {
        "instance": "10.0.0.1:9793", "serial_number": str(serial), "subject_CN": "www.a.example",
        "issuer_C": "US", "issuer_O": 'Example "CA", Inc.', "issuer_CN": issuer,
        "filepath": "/etc/tls/cert.pem", "filename": "cert.pem", **labels,
    }  # fmt: skip


def test_files_hold_certificates_with_their_beginning(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        answer(
            series("x509_cert_not_after", x509(255), during(range(5), END_A)),
            series("x509_cert_not_before", x509(255), during(range(5), START - HOUR)),
            series("x509_cert_not_after", x509(256), during(range(5, 9), END_B)),
            series("x509_cert_not_before", x509(256), during(range(5, 9), START + HOUR)),
            series("x509_cert_not_after", x509(1, subject_CN="kubernetes"), during(range(9), END_B)),
            series(
                "x509_cert_error", {"instance": "10.0.0.1:9793", "filepath": "/etc/tls/cert.pem"}, {9: 1.0}
            ),
        ),
    )
    assert found.rejected == []
    first, second = found.certificates
    assert (first["serial"], first["not_before"], first["known_at"]) == ("ff", START - HOUR, START)
    assert (second["serial"], second["not_before"], second["known_at"]) == ("100", START + HOUR, at(5))
    assert first["issuer_dn"] == r"CN=CA 1,O=Example \"CA\"\, Inc.,C=US"
    assert [(row["kind"], row["at"], row["lineage"], row.get("code")) for row in found.events] == [
        ("staged", at(5), "www.a.example", None),
        ("install_failed", at(9), "www.a.example", "unreadable"),
    ]


def test_a_secret_is_one_whoever_reads_it(tmp_path: Path) -> None:
    secret = {"secret_namespace": "shop", "secret_name": "tls", "secret_key": "tls.crt", "filepath": ""}
    found = load(
        tmp_path,
        answer(
            *(series("x509_cert_not_after", x509(1, instance=pod, **secret), {0: END_A}) for pod in "ab"),
            *(series("x509_cert_not_after", x509(2, instance=pod, **secret), {1: END_B}) for pod in "ab"),
        ),
    )
    assert [(row["kind"], row["detail"]) for row in found.events] == [("staged", "secret shop/tls tls.crt")]
    assert [row["serial"] for row in found.certificates] == ["1", "2"]


def test_cert_manager_tells_of_renewals_and_of_what_is_not_ready(tmp_path: Path) -> None:
    labels = {"namespace": "cert-manager", "exported_namespace": "shop", "name": "www", "issuer_name": "le"}
    ready = "certmanager_certificate_ready_status"
    expiry = during(range(3), END_A) | during(range(3, 6), END_B)
    found = load(
        tmp_path,
        answer(
            series("certmanager_certificate_expiration_timestamp_seconds", labels, expiry),
            series("certmanager_certificate_renewal_timestamp_seconds", labels, during(range(6), at(9))),
            series(ready, labels | {"condition": "True"}, {0: 1, 1: 0, 2: 0, 3: 1}),
            series(ready, labels | {"condition": "False"}, {0: 0, 1: 1, 2: 1, 3: 0}),
        ),
    )
    assert found.certificates == found.observations == found.rejected == []
    assert [(row["at"], row["kind"], row["lineage"], row.get("code")) for row in found.events] == [
        (at(3), "issued", "shop/www", None),
        (at(1), "verify_failed", "shop/www", "not_ready"),
    ]
    assert (
        found.events[0]["detail"] == "not_after=2026-07-30T00:00:00+00:00; renewal=2026-03-01T09:00:00+00:00"
    )


def test_traefik_s_newest_certificate_counts(tmp_path: Path) -> None:
    def held(serial: str) -> dict[str, str]:
        return {"cn": "a.example", "sans": "*.a.example,a.example", "serial": serial, "instance": "t1"}

    default = {"cn": "TRAEFIK DEFAULT CERT", "sans": "", "serial": "9"}
    found = load(
        tmp_path,
        answer(
            series("traefik_tls_certs_not_after", held("17"), during(range(5, 9), END_B)),
            series("traefik_tls_certs_not_after", held("16"), during(range(9), END_A)),
            series("traefik_tls_certs_not_after", default, during(range(9), END_B)),
        ),
    )
    assert {row["serial"]: row["known_at"] for row in found.certificates} == {"10": START, "11": at(5)}
    assert [(row["kind"], row["at"], row["lineage"]) for row in found.events] == [
        ("staged", at(5), "a.example")
    ]


def test_everything_fits_the_store(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        answer(
            *renewed_probe(),
            series("x509_cert_not_after", x509(255), {0: END_A}),
            series(
                "traefik_tls_certs_not_after", {"cn": "a.example", "sans": "a.example"}, {0: END_A, 1: END_B}
            ),
        ),
    )
    with History(None) as history:
        history.append(found)
        counts = history.counts()
    assert counts["quarantine"] == 0
    assert counts["observations"] == len(found.observations)


def test_a_file_is_read_again_only_if_it_changed(tmp_path: Path) -> None:
    source = MetricsSource(save(tmp_path / "saved.json", answer(*renewed_probe())), clock=clock)
    marks = {mark.place: mark.state for mark in read(source).marks}
    again = read(source, marks)
    assert (again.skipped, again.observations) == (1, [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("{", "is not JSON"),
        ("[]", "holds no answer"),
        ('{"status": "error", "error": "bad"}', "holds no answer"),
        ('{"status": "success", "data": {"resultType": "vector", "result": []}}', "holds no answer"),
    ],
)
def test_a_file_without_answers_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "saved.json").write_text(content)
    with pytest.raises(SourceError, match=message):
        read(MetricsSource(tmp_path / "saved.json"))


def test_bad_series_are_set_aside_and_the_others_read(tmp_path: Path) -> None:
    good = renewed_probe()
    bad: list[Any] = [
        7,
        {"metric": {"a": 1}},
        {"metric": {"__name__": "probe_success"}, "values": {}},
        {"metric": {"__name__": "probe_success"}, "values": [[1], [1, 2], ["x", "1"], [1e300, "1"], None]},
        series("probe_success", PROBE, {24 * 365: 1.0}),
    ]
    found = load(tmp_path, answer(*good, *bad))
    assert [rejected.position for rejected in found.rejected] == [f"saved.json#0[{n}]" for n in range(5, 10)]
    assert looks(found) == looks(load(tmp_path, answer(*good)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def mutations(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from mutations(value[key], (*path, key))


WHOLE = answer(
    *renewed_probe(),
    series("x509_cert_not_after", x509(255), {0: END_A, 1: END_B}),
    series("certmanager_certificate_ready_status", {"name": "x", "condition": "True"}, {0: 1.0}),
    series("traefik_tls_certs_not_after", {"cn": "a.example", "serial": "1"}, {0: END_A}),
)
PATHS = [path for path in mutations(WHOLE) if path]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), json_values), min_size=1, max_size=4))
def test_whatever_an_answer_holds_it_is_read_or_set_aside(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[tuple[Any, ...], Any]]
) -> None:
    mutated = copy.deepcopy(WHOLE)
    for path, value in changes:
        inner: Any = mutated
        try:
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
        except (TypeError, KeyError, IndexError):
            continue
    with_history(tmp_path_factory, json.dumps(mutated).encode())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
def test_whatever_a_file_holds_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    with_history(tmp_path_factory, content)


def with_history(folders: pytest.TempPathFactory, content: bytes) -> None:
    path = folders.getbasetemp() / "fuzzed.json"
    path.write_bytes(content)
    MetricsSource.recognises(path)
    try:
        found = read(MetricsSource(path, clock=clock))
    except SourceError:
        return
    for table in ("observations", "certificates", "events"):
        assert all(row["known_at"] <= NOW for row in getattr(found, table))


@given(st.lists(st.tuples(st.integers(1, 5), st.sampled_from("AB")), max_size=30), st.integers(1, 8))
def test_what_is_kept_tells_every_state_and_never_falls_silent(
    steps: list[tuple[int, str]], heartbeat: int
) -> None:
    watch = Watch(step_ms=1, heartbeat_ms=heartbeat)
    time, kept, states = 0, list[tuple[int, str]](), list[tuple[int, str]]()
    for step, state in steps:
        time += step
        states.append((time, state))
        if watch.look("x", time, state).told:
            kept.append((time, state))
    assert [s for (_, s), (_, before) in zip(kept[1:], kept, strict=False) if s != before] == [
        s for (_, s), (_, before) in zip(states[1:], states, strict=False) if s != before
    ]
    assert {time // heartbeat for time, _ in kept} == {time // heartbeat for time, _ in states}


def prometheus(found: list[dict[str, Any]]) -> Callable[[Question], Answer]:
    """Play Prometheus: range queries by name, series of any time."""

    def reply(question: Question) -> Answer:
        if question.path == "/prom/api/v1/series":
            wanted = question["match[]"].partition("{")[0]
            return Answer(
                {
                    "status": "success",
                    "data": [s["metric"] for s in found if s["metric"]["__name__"] == wanted],
                }
            )
        assert question.path == "/prom/api/v1/query_range"
        wanted, start, end = (
            question["query"].partition("{")[0],
            float(question["start"]),
            float(question["end"]),
        )
        part = [
            {**one, "values": [sample for sample in one["values"] if start <= sample[0] <= end]}
            for one in found
            if one["metric"]["__name__"] == wanted
        ]
        return Answer(answer(*part))

    return reply


def test_a_prometheus_is_asked_in_pages_and_for_what_is_new(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    with serving(prometheus(renewed_probe())) as served:

        def load(end: datetime, marks: Marks = NO_MARKS) -> Batch:
            source = MetricsSource(
                f"{served.url}/prom", start=START, end=end, points=7, only=("blackbox",),
                labels=("job=blackbox",), token_file=tmp_path / "token", clock=clock,
            )  # fmt: skip
            return read(source, marks)

        whole = load(at(39.5))
        assert looks(whole) == [
            (0, A), (6, A), (12, A), (18, A), (20, None), (23, B), (24, B), (35, B), (36, B),
        ]  # fmt: skip
        ranges = [question for question in served.asked if question["query"].startswith("probe_success")]
        assert ranges[0]["query"] == 'probe_success{job="blackbox"}'
        assert [(float(q["start"]) - START.timestamp()) / 3600 for q in ranges] == [0, 7, 14, 21, 28, 35]
        assert all((float(q["end"]) - float(q["start"])) / float(q["step"]) <= 6 for q in ranges)
        assert all(question.headers["Authorization"] == "Bearer s3cret" for question in served.asked)

        # In two imports, the second of which begins while the site is down: the same rows.
        first = load(at(22.2))
        second = load(at(39.5), {mark.place: mark.state for mark in first.marks})
        assert looks(first) + looks(second) == looks(whole)
        assert first.certificates + second.certificates == whole.certificates
        ranges = [question for question in served.asked if question["query"].startswith("probe_success")]
        assert (float(ranges[-3]["start"]) - START.timestamp()) / 3600 == 22
        again = load(at(39.9), {mark.place: mark.state for mark in second.marks})
        assert (again.observations, again.skipped) == ([], 1)


def test_a_target_that_is_down_all_the_time_is_known_from_before() -> None:
    """Its expired certificate, say, is refused by the exporter ever since."""
    mail = {"instance": "mail.a.example:993", "job": "mail"}
    found = [
        series("probe_success", mail, during(range(5), 1.0) | during(range(5, 20), 0.0)),
        series("probe_ssl_earliest_cert_expiry", mail, during(range(5), END_A)),
    ]
    with serving(prometheus(found)) as served:
        source = MetricsSource(served.url + "/prom", start=at(10), end=at(19), clock=clock)
        assert looks(read(source)) == [(10, None), (12, None), (18, None)]


def test_what_an_earlier_import_had_is_told_no_more() -> None:
    watch = Watch(step_ms=1, heartbeat_ms=100, after_ms=2)
    sights = [watch.look("x", time, state) for time, state in enumerate("ABCCD")]
    assert [sight.told for sight in sights] == [False, False, False, False, True]
    assert [sight.changed_from for sight in sights] == [None, None, None, None, "C"]


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (
            422,
            {"status": "error", "errorType": "execution", "error": "too many samples"},
            "too many samples.*fewer",
        ),
        (
            400,
            {"status": "error", "errorType": "bad_data", "error": "11,000 points"},
            "11,000 points.*fewer points",
        ),
        (200, {"status": "success"}, "not an answer to a range query.*check the address"),
        (200, ["?"], "has no status"),
    ],
)
def test_what_prometheus_refuses_is_told(status: int, body: Any, message: str) -> None:
    with serving(lambda question: Answer(body, status)) as served, pytest.raises(SourceError, match=message):
        read(MetricsSource(served.url, clock=clock))


@pytest.mark.parametrize("points", [0, 11_001])
def test_pages_are_as_prometheus_allows(points: int) -> None:
    with pytest.raises(InputError, match="11000"):
        read(MetricsSource("http://127.0.0.1:1", points=points))


def test_files_are_recognised(tmp_path: Path) -> None:
    saved = save(tmp_path / "saved.json", answer(*renewed_probe()))
    assert MetricsSource.recognises(saved) == "answers of Prometheus, JSON"
    other = save(tmp_path / "other.json", answer(series("up", {}, {0: 1.0})))
    assert MetricsSource.recognises(other) is None
    assert MetricsSource.recognises(tmp_path) is None


@pytest.mark.parametrize(
    "options", [{"only": ("nagios",)}, {"heartbeat_hours": 0}, {"heartbeat_hours": float("nan")}]
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        load(tmp_path, answer(*renewed_probe()), **options)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, answer(*renewed_probe()), only=("x509", "traefik")).observations == []


def test_durations_and_matchers() -> None:
    assert [parse_duration(text) for text in ("15", "1.5s", "5m", "1h", "1d", "250ms")] == [
        15_000, 1500, 300_000, 3_600_000, 86_400_000, 250,
    ]  # fmt: skip
    for text in ("", "0s", "h", "1 h", "-1h", "1y"):
        with pytest.raises(InputError):
            parse_duration(text)
    assert parse_matcher("job=blackbox") == 'job="blackbox"'
    assert parse_matcher('env=~"a|b"') == 'env=~"a|b"'
    assert parse_matcher('a!=x"y\\') == 'a!="x\\"y\\\\"'
    with pytest.raises(InputError):
        parse_matcher("job")
