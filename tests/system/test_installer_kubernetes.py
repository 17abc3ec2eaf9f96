"""TLS Secrets: the client is the real `kubernetes` package, what answers it is ours.

No API server is to be had here. The fake keeps Secrets and answers as Kubernetes documents it: 401 without
the token, 404, 409 for an old resourceVersion, 422 for a key that does not match, ``dryRun=All``. This is
not tested against Kubernetes.
"""

import base64
import json
import logging
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from certforecast.errors import InstallationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import make_installer
from certforecast.execution.installers.kubernetes import (
    PREVIOUS,
    KubernetesInstaller,
    KubernetesInstallerSettings,
)
from certforecast.execution.staging import new_key
from tests.system.json_server import Answered, json_server

pytestmark = pytest.mark.system

TOKEN = "token-of-the-test"
PATH = "/api/v1/namespaces/shop/secrets/a.test"


class Cluster:
    """A stateful fake of one namespace's Secrets."""

    def __init__(self, folder: Path) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.meddle: list[Any] = []  # done once each, between a read and the write that follows it
        self.writes = 0
        self.forbidden = False
        self.url = ""
        self.kubeconfig = folder / "kubeconfig"

    def act(self, request: BaseHTTPRequestHandler, body: dict[str, Any] | None) -> Answered:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return problem(401, "Unauthorized")
        return self.read(request) if body is None else self.replace(request, body)

    def configure(self, token: str, url: str | None = None) -> None:
        self.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": {"server": url or self.url}}],
                    "users": [{"name": "u", "user": {"token": token}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )

    def put(self, chain: bytes, key: bytes, path: str = PATH, **more: Any) -> None:
        """Put a Secret in place as kubectl would."""
        version = str(int(self.secrets.get(path, {}).get("metadata", {}).get("resourceVersion", "0")) + 1)
        metadata = {
            "name": path.split("/")[-1],
            "namespace": path.split("/")[-3],
            "resourceVersion": version,
            "labels": {"app": "shop"},
        }
        metadata["annotations"] = more.pop("annotations", {"note": "of the shop"})
        data = {"tls.crt": coded(chain), "tls.key": coded(key), "ca.crt": coded(b"root")}
        self.secrets[path] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": metadata,
            "data": data,
            **more,
        }

    def read(self, request: BaseHTTPRequestHandler) -> tuple[int, Any]:
        url = urlsplit(request.path)
        if url.path.endswith("/secrets"):
            return self.listed(url.path, {name: value[0] for name, value in parse_qs(url.query).items()})
        found = self.secrets.get(url.path)
        if found is None:
            return problem(404, 'secrets "x" not found')
        copy = json.loads(json.dumps(found))
        if self.meddle:
            self.meddle.pop(0)()
        return 200, copy

    def listed(self, path: str, asked: dict[str, str]) -> tuple[int, Any]:
        """List Secrets of a type, one a page, whatever the limit."""
        if self.forbidden:
            return problem(403, "secrets is forbidden: cannot list resource")
        below = path.removesuffix("secrets").rstrip("/") + "/"
        kind = asked["fieldSelector"].removeprefix("type=")
        found = [one for key, one in self.secrets.items() if key.startswith(below) and one["type"] == kind]
        place = int(asked.get("continue", "0"))
        more = str(place + 1) if place + 1 < len(found) else ""
        items = [
            {name: value for name, value in one.items() if name not in ("kind", "apiVersion")}
            for one in found[place : place + 1]
        ]
        return 200, {"kind": "SecretList", "apiVersion": "v1", "metadata": {"continue": more}, "items": items}

    def replace(self, request: BaseHTTPRequestHandler, body: dict[str, Any]) -> tuple[int, Any]:
        if self.forbidden:
            return problem(403, 'secrets "a.test" is forbidden: cannot update resource')
        url = urlsplit(request.path)
        kept = self.secrets[url.path]
        if body["metadata"].get("resourceVersion") != kept["metadata"]["resourceVersion"]:
            return problem(
                409, "the object has been modified; please apply your changes to the latest version"
            )
        chain, key = (base64.b64decode(body["data"][name]) for name in ("tls.crt", "tls.key"))
        try:
            check_pair(chain, key)
        except InstallationError:
            # As a webhook might, it quotes what it refuses.
            return problem(422, f'Secret "a.test" is invalid: data[tls.key]: Invalid value: "{key.decode()}"')
        if parse_qs(url.query).get("dryRun") == ["All"]:
            return 200, body
        self.writes += 1
        body["metadata"]["resourceVersion"] = str(int(kept["metadata"]["resourceVersion"]) + 1)
        self.secrets[url.path] = body
        return 200, body

    def pair(self) -> tuple[bytes, bytes]:
        data = self.secrets[PATH]["data"]
        return base64.b64decode(data["tls.crt"]), base64.b64decode(data["tls.key"])

    def installer(self, folder: Path, **options: Any) -> KubernetesInstaller:
        given = {
            "kind": "kubernetes",
            "namespace": "shop",
            "kubeconfig": self.kubeconfig,
            "directory": folder / "sealing",
        }
        section = KubernetesInstallerSettings(**{**given, **options})
        made = make_installer(section, name="a.test", host="192.0.2.1", port=443)
        assert isinstance(made, KubernetesInstaller)
        return made


def coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def problem(status: int, message: str) -> tuple[int, Any]:
    return status, {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "code": status,
    }


@pytest.fixture
def cluster(tmp_path: Path, issue: Any) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    made.put(*issue("a.test"))
    with json_server(made.act) as made.url:
        made.configure(TOKEN)
        yield made


def test_certificate_and_key_are_replaced_together_and_put_back(
    cluster: Cluster, tmp_path: Path, issue: Any
) -> None:
    old, new = cluster.pair(), issue("a.test")
    installer = cluster.installer(tmp_path)
    installer.precheck()
    assert cluster.writes == 0, "tried as a dry run"
    before = installer.current()
    assert before == leaf_fingerprint(old[0])
    installer.swap(*new)
    installer.swap(*new)
    assert cluster.writes == 1
    assert cluster.pair() == new
    assert installer.current() == leaf_fingerprint(new[0])
    secret = cluster.secrets[PATH]
    assert secret["data"]["ca.crt"] == coded(b"root")
    assert secret["metadata"]["labels"] == {"app": "shop"}
    assert secret["metadata"]["annotations"]["note"] == "of the shop"
    # Annotations are shown by `kubectl describe`: what was there before is not readable in them.
    shown = json.dumps(secret["metadata"])
    assert "PRIVATE KEY" not in shown
    assert old[1].decode().splitlines()[1] not in shown
    assert PREVIOUS in secret["metadata"]["annotations"]
    installer.restore(before)
    installer.restore(before)
    assert cluster.writes == 2
    assert cluster.pair() == old
    # It goes on after a rollback, in both directions.
    installer.swap(*new)
    assert cluster.pair() == new
    with pytest.raises(InstallationError, match="from before, not"):
        installer.restore("0" * 64)


def test_a_write_in_between_is_not_lost(cluster: Cluster, tmp_path: Path, issue: Any) -> None:
    def touch() -> None:
        metadata = cluster.secrets[PATH]["metadata"]
        metadata["labels"]["owner"] = "others"
        metadata["resourceVersion"] = str(int(metadata["resourceVersion"]) + 1)

    new = issue("a.test")
    cluster.meddle = [touch, touch]
    cluster.installer(tmp_path).swap(*new)
    assert cluster.pair() == new
    assert cluster.secrets[PATH]["metadata"]["labels"] == {"app": "shop", "owner": "others"}
    cluster.meddle = [touch] * 20
    before = cluster.pair()
    with pytest.raises(InstallationError, match="409"):
        cluster.installer(tmp_path).swap(*issue("a.test"))
    assert cluster.pair() == before


def test_what_cannot_end_well_is_refused(cluster: Cluster, tmp_path: Path, issue: Any) -> None:
    installer = cluster.installer(tmp_path)
    chain, key = cluster.pair()

    def refused(words: str, code: str | None) -> None:
        with pytest.raises(InstallationError, match=words) as caught:
            installer.precheck()
        assert caught.value.code == code

    cluster.put(chain, new_key())
    refused("broken already", "config")
    cluster.put(chain, key, type="Opaque")
    refused("type Opaque", "config")
    cluster.put(chain, key, immutable=True)
    refused("immutable", "config")
    cluster.put(chain, key, annotations={"cert-manager.io/certificate-name": "shop"})
    refused("cert-manager.*Certificate shop", "config")
    cluster.put(chain, key)
    cluster.forbidden = True
    refused("403.*forbidden", "permission")
    cluster.forbidden = False
    cluster.configure("another-token")
    refused("401", "permission")
    assert cluster.writes == 0
    cluster.configure(TOKEN)
    with pytest.raises(InstallationError, match="404"):
        cluster.installer(tmp_path, secret="none").current()
    with pytest.raises(InstallationError, match="does not match"):
        installer.swap(issue("a.test")[0], new_key())
    with pytest.raises(InstallationError, match="does not hold what was there before"):
        installer.restore("0" * 64)
    cluster.configure(TOKEN, "http://127.0.0.1:9")
    with pytest.raises(InstallationError) as caught:
        installer.current()
    assert caught.value.code == "unreachable"
    with pytest.raises(InstallationError, match="set kubeconfig"):
        cluster.installer(tmp_path, kubeconfig=tmp_path / "none").current()


def test_tls_secrets_are_found(cluster: Cluster, issue: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def at(namespace: str, name: str) -> str:
        return f"/api/v1/namespaces/{namespace}/secrets/{name}"

    chain, key = issue("b.test")
    cluster.put(chain, key, at("bank", "b"))
    cluster.put(chain, key, at("shop", "opaque"), type="Opaque")
    cluster.put(chain, key, at("shop", "managed"), annotations={"cert-manager.io/certificate-name": "x"})
    cluster.put(b"rubbish", key, at("shop", "broken"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(cluster.kubeconfig))
    found = KubernetesInstallerSettings.discover_at(None)
    assert found == KubernetesInstallerSettings.discover_at("all")
    told = {one.settings["secret"]: (one.names, one.fingerprint, one.settings["namespace"]) for one in found}
    assert told == {
        "a.test": (("a.test",), leaf_fingerprint(cluster.pair()[0]), "shop"),
        "b": (("b.test",), leaf_fingerprint(chain), "bank"),
        "broken": ((), None, "shop"),
    }
    assert {one.settings["context"] for one in found} == {"x"}
    assert (
        KubernetesInstallerSettings.model_validate(found[0].settings).open("x").current() == told["a.test"][1]
    )
    (one,) = KubernetesInstallerSettings.discover_at("bank")
    assert one.settings["secret"] == "b"
    assert KubernetesInstallerSettings.discover() == []
    cluster.forbidden = True
    with pytest.raises(InstallationError, match="list the Secrets of bank: 403") as caught:
        KubernetesInstallerSettings.discover_at("bank")
    assert caught.value.code == "permission"


def test_no_key_is_told_even_when_the_server_quotes_it(
    cluster: Cluster,
    tmp_path: Path,
    issue: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    chain, key = issue("a.test")
    other = issue("a.test")[1]
    monkeypatch.setattr("certforecast.execution.installers.kubernetes.check_pair", lambda *_: None)
    with pytest.raises(InstallationError, match="422") as caught:
        cluster.installer(tmp_path).swap(chain, other)
    cluster.installer(tmp_path).swap(chain, key)
    told = caplog.text + f"{caught.value} {caught.value.__cause__!r}"
    for secret in (key, other):
        for line in secret.decode().splitlines()[1:-1]:
            assert line not in told
