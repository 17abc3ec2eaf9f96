"""cert-manager's resources, written to its published API (cert-manager.io/v1), and a fake of a cluster.

No cluster is to be had here: the client is the real `kubernetes` package, what answers it is ours.
"""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from certforecast.errors import InputError, SourceError
from certforecast.history import History
from certforecast.history.sources import Batch
from certforecast.history.sources.certmanager import CertManagerSource
from tests.certificates import START, authority, certificate, key_pem, pem
from tests.history.sources.reading import read
from tests.history.sources.serving import Answer, Question, serving

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ISSUED = START + timedelta(hours=2)
ACME = "Failed to create Order: 429 urn:ietf:params:acme:error:rateLimited: too many certificates"


def encoded(*certificates: Any) -> str:
    return base64.b64encode(b"".join(map(pem, certificates))).decode()


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def resource(kind: str, name: str, group: str = "cert-manager.io/v1", **fields: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "web",
        "name": name,
        "creationTimestamp": stamp(START),
        "annotations": {"cert-manager.io/certificate-name": "shop"} if kind != "Certificate" else {},
    } | fields.pop("metadata", {})
    return {"apiVersion": group, "kind": kind, "metadata": metadata, **fields}


LEAF = certificate("shop.example", "*.shop.example", serial=5)
CERTIFICATE = resource(
    "Certificate", "shop",
    metadata={"managedFields": [{"manager": "kubectl", "time": stamp(START + timedelta(hours=1))}]},
    spec={"dnsNames": ["*.shop.example", "shop.example"],
          "issuerRef": {"kind": "ClusterIssuer", "name": "le"}},
    status={
        "conditions": [{"type": "Issuing", "status": "False", "reason": "Failed", "message": ACME}],
        "lastFailureTime": stamp(START + timedelta(days=50)),
        "failedIssuanceAttempts": 2,
    },
)  # fmt: skip
REQUEST = resource(
    "CertificateRequest", "shop-1", spec={"issuerRef": {"name": "le"}},
    status={
        "certificate": encoded(LEAF, authority()),
        "conditions": [{"type": "Ready", "status": "True", "reason": "Issued",
                        "lastTransitionTime": stamp(ISSUED)}],
    },
)  # fmt: skip
REFUSED = resource(
    "CertificateRequest", "shop-2",
    status={
        "conditions": [{"type": "Ready", "status": "False", "reason": "Failed", "message": "broken"}],
        "failureTime": stamp(START + timedelta(days=51)),
    },
)  # fmt: skip
ORDER = resource(
    "Order", "shop-2-1", "acme.cert-manager.io/v1",
    status={"state": "errored", "reason": ACME, "failureTime": stamp(START + timedelta(days=52))},
)  # fmt: skip
CHALLENGE = resource(
    "Challenge", "shop-2-1-1", "acme.cert-manager.io/v1",
    status={"state": "invalid", "reason": "urn:ietf:params:acme:error:dns: no such name"},
)  # fmt: skip
SECRET = resource(
    "Secret", "shop-tls", "v1", type="kubernetes.io/tls",
    data={"tls.crt": encoded(LEAF, authority()), "tls.key": base64.b64encode(key_pem()).decode()},
)  # fmt: skip
EVENT = resource(
    "Event", "shop.1", "v1", type="Warning", reason="Failed", message="The certificate request has failed",
    involvedObject={"kind": "Certificate", "namespace": "web", "name": "shop"},
    lastTimestamp=stamp(START + timedelta(days=53)),
)  # fmt: skip
NORMAL = {**EVENT, "type": "Normal", "reason": "Issuing"}
OTHER = resource("Pod", "shop-pod", "v1")
ALL = [CERTIFICATE, REQUEST, REFUSED, ORDER, CHALLENGE, SECRET, EVENT, NORMAL, OTHER]


def dumped(folder: Path, text: str, name: str = "dump.yaml") -> CertManagerSource:
    path = folder / name
    path.write_text(text)
    os.utime(path, ((NOW - timedelta(days=1)).timestamp(),) * 2)
    return CertManagerSource(path, clock=lambda: NOW)


def check(found: Batch, seen: datetime) -> None:
    told = {(one["kind"], one["at"], one["code"]) for one in found.events}
    assert told == {
        ("order_created", START, "le"),
        ("order_created", START, None),
        ("issued", ISSUED, "le"),
        ("order_failed", START + timedelta(days=50), "rateLimited"),
        ("order_failed", START + timedelta(days=51), "Failed"),
        ("order_failed", START + timedelta(days=52), "rateLimited"),
        ("challenge_failed", seen, "dns"),
        ("order_failed", START + timedelta(days=53), "Failed"),
    }
    assert {one["lineage"] for one in found.events} == {"web/shop"}
    assert all(one["known_at"] == one["at"] for one in found.events)
    about = {one["kind"]: (one["host"], one["fingerprint"]) for one in found.events}
    assert about.pop("issued") == ("shop.example", found.certificates[0]["fingerprint"])
    assert set(about.values()) == {(None, None)}
    assert [row["known_at"] for row in found.certificates] == [ISSUED, START + timedelta(hours=1)]
    assert {tuple(row["names"]) for row in found.certificates} == {("*.shop.example", "shop.example")}
    (host,) = found.hosts
    assert (host["host"], host["automation"], host["issuer"]) == (
        "shop.example",
        "cert-manager",
        "ClusterIssuer/le",
    )
    assert host["known_at"] == START + timedelta(hours=1)
    assert found.rejected == []
    assert base64.b64encode(key_pem()).decode()[:40] not in repr(found)


FORMS = {
    "documents": ("dump.yaml", yaml.safe_dump_all(ALL)),
    "list": ("dump.yml", yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": ALL})),
    "json": ("dump.json", json.dumps({"apiVersion": "v1", "kind": "List", "items": ALL})),
    "yaml times": ("dump.yaml", yaml.safe_dump_all(ALL).replace("Z'\n", "Z\n").replace(": '2026", ": 2026")),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_dump_is_read_whatever_its_form(tmp_path: Path, form: str) -> None:
    name, text = FORMS[form]
    source = dumped(tmp_path, text, name)
    check(read(source), NOW - timedelta(days=1))
    assert CertManagerSource.recognises(tmp_path) == "1 dumps of cert-manager's resources"
    assert CertManagerSource.recognises(tmp_path / name) == "1 dumps of cert-manager's resources"
    with History(None, clock=lambda: NOW) as history:
        done = history.ingest(source)
        assert (done.tables["certificates"].new, done.quarantined) == (1, 0)
        assert history.ingest(source).changed == 0


def test_a_folder_loses_nothing_to_a_bad_file(tmp_path: Path) -> None:
    dumped(tmp_path, yaml.safe_dump(REQUEST))
    dumped(tmp_path, "a: [", "broken.yaml")
    dumped(tmp_path, "7", "empty.json")
    found = read(CertManagerSource(tmp_path, clock=lambda: NOW))
    assert [one.position for one in found.rejected] == ["broken.yaml", "empty.json"]
    assert "line 2" in found.rejected[0].reason
    assert len(found.certificates) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"status": {"certificate": "%%%"}},
        {"status": {"certificate": 7}},
        {"status": {"certificate": base64.b64encode(b"words").decode()}},
        {"status": {"failureTime": "soon"}},
    ],
)
def test_a_bad_resource_is_set_aside_without_its_content(tmp_path: Path, change: dict[str, Any]) -> None:
    found = read(dumped(tmp_path, yaml.safe_dump_all([REQUEST | change, REQUEST])))
    assert [(one.position, one.content) for one in found.rejected] == [("dump.yaml#0", "")]
    assert len(found.certificates) == 1


@pytest.mark.parametrize("text", ["", "just words", "[1, 2]", "{", "a: &a [*a]", "[" * 5000, "\0"])
def test_what_is_no_dump_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        read(dumped(tmp_path, text))
    assert CertManagerSource.recognises(tmp_path) is None
    with pytest.raises(SourceError, match="is no file, and no folder"):
        read(CertManagerSource(tmp_path / "none"))


def test_a_billion_laughs_end(tmp_path: Path) -> None:
    lines = ["a0: &a0 [ha]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    text = "kind: Certificate\nmetadata: {name: x}\n" + "\n".join(lines)
    assert read(dumped(tmp_path, text)).rejected == []


FIELDS = [
    *("status", "spec", "metadata", "conditions", "type", "reason", "certificate", "name", "data", "tls.crt"),
    *("state", "failureTime", "dnsNames", "managedFields", "time"),
]
KINDS = ["Certificate", "CertificateRequest", "Order", "Challenge", "Secret", "Event"]
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=9) | st.just(encoded(LEAF)),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(
    kind=st.sampled_from(KINDS),
    fields=st.dictionaries(st.sampled_from(["status", "spec", "metadata", "data", "type"]), VALUES),
)
@example(kind="Order", fields={"status": {"state": []}})
@example(kind="Challenge", fields={"status": {"state": {}}})
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_resource_is_read_or_set_aside(tmp_path: Path, kind: str, fields: dict[str, Any]) -> None:
    found = read(dumped(tmp_path, json.dumps({**fields, "kind": kind}), "dump.json"))
    with History(None, clock=lambda: NOW) as history:
        history.append(found)


PLURALS = {"Certificate": "certificates", "CertificateRequest": "certificaterequests", "Order": "orders",
           "Challenge": "challenges", "Secret": "secrets", "Event": "events"}  # fmt: skip


@contextmanager
def cluster(folder: Path, answer: Any) -> Iterator[Path]:
    with serving(answer) as server:
        path = folder / "kubeconfig"
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "c", "cluster": {"server": server.url}}],
                    "users": [{"name": "u", "user": {"token": "t0ken"}}],
                    "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
                }
            )
        )
        yield path


def answers(gone: bool = False) -> Any:
    """Play the API: a page holds one resource; if told so, the second page of requests is gone once."""
    left = [gone]

    def answer(question: Question) -> Answer:
        plural = question.path.rpartition("/")[2]
        items = [one for one in ALL if PLURALS.get(one["kind"]) == plural]
        place = int(question["continue"] or 0)
        if place and left[0]:
            left[0] = False
            return Answer({"kind": "Status", "code": 410, "reason": "Expired"}, 410)
        if question.headers.get("authorization", question.headers.get("Authorization")) != "Bearer t0ken":
            return Answer({"kind": "Status", "code": 401}, 401)
        page = [
            {name: value for name, value in one.items() if name != "kind"} for one in items[place : place + 1]
        ]
        more = str(place + 1) if place + 1 < len(items) else ""
        return Answer({"kind": "List", "metadata": {"continue": more}, "items": page})

    return answer


@pytest.mark.parametrize("gone", [False, True])
def test_a_live_cluster_is_read_page_by_page(tmp_path: Path, gone: bool) -> None:
    """Tested against a fake of the API."""
    with cluster(tmp_path, answers(gone)) as path:
        for place in ("cluster", "context:test"):
            found = read(CertManagerSource(place, kubeconfig=path, clock=lambda: NOW))
    if not gone:
        check(found, NOW)
    assert "CertificateRequest/web/shop-1" in found.positions["certificates"]


def test_a_cluster_that_refuses_is_told(tmp_path: Path) -> None:
    with cluster(tmp_path, lambda question: Answer({"kind": "Status"}, 403)) as path:
        with pytest.raises(SourceError, match="answered 403 Forbidden when asked for Certificates; check"):
            read(CertManagerSource("cluster", kubeconfig=path))
        with pytest.raises(InputError, match="kubectl's configuration cannot be used"):
            read(CertManagerSource("context:other", kubeconfig=path))
    with pytest.raises(InputError, match="kubectl's configuration cannot be used"):
        read(CertManagerSource("cluster", kubeconfig=tmp_path / "none"))
