"""A real Prometheus and its blackbox exporter, looking each second at a site that is renewed and fails."""

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests
import trustme

from certforecast.clock import system_clock
from certforecast.errors import SourceError
from certforecast.history import History
from certforecast.history.sources import Batch
from certforecast.history.sources.metrics import MetricsSource
from certforecast.history.x509 import fingerprint
from tests.history.sources.reading import read

pytestmark = pytest.mark.system

Start = Callable[[list[str], int], "subprocess.Popen[bytes]"]


class Site:
    """A TLS server whose certificate can be changed, and which can be gone."""

    def __init__(self, port: int, ca: trustme.CA) -> None:
        self.port = port
        self._ca = ca
        self._listener: socket.socket | None = None
        self.leaf = self.renew()

    def renew(self) -> str:
        made = self._ca.issue_cert("127.0.0.1", "www.site.test", "site.test")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.configure_cert(self._context)
        self.leaf = fingerprint(ssl.PEM_cert_to_DER_cert(made.cert_chain_pems[0].bytes().decode()))
        return self.leaf

    def start(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connection.settimeout(5)
                with (
                    contextlib.suppress(OSError),
                    connection,
                    self._context.wrap_socket(connection, server_side=True) as tls,
                ):
                    tls.recv(1)


@pytest.fixture
def site(free_port: Callable[[], int], authority: trustme.CA) -> Iterator[Site]:
    made = Site(free_port(), authority)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def prometheus(site: Site, start: Start, free_port: Callable[[], int], roots: Path, tmp_path: Path) -> str:
    """Give the address of a Prometheus that has the site, and a gateway without TLS, probed every second."""
    exporter, port = free_port(), free_port()
    tls = {"ca_file": str(roots)}
    modules = {
        "tls": {"prober": "tcp", "timeout": "1s", "tcp": {"tls": True, "tls_config": tls}},
        "plain": {"prober": "tcp", "timeout": "1s"},
    }
    (tmp_path / "blackbox.yml").write_text(json.dumps({"modules": modules}))  # JSON is YAML
    relabel = [
        {"source_labels": ["__address__"], "target_label": "__param_target"},
        {"source_labels": ["__param_target"], "target_label": "instance"},
        {"target_label": "__address__", "replacement": f"127.0.0.1:{exporter}"},
    ]
    targets = {"tls": f"127.0.0.1:{site.port}", "plain": f"127.0.0.1:{exporter}"}
    jobs = [
        {
            "job_name": name,
            "metrics_path": "/probe",
            "params": {"module": [name]},
            "static_configs": [{"targets": [target]}],
            "relabel_configs": relabel,
        }
        for name, target in targets.items()
    ]
    settings = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
    (tmp_path / "prometheus.yml").write_text(json.dumps(settings))
    listen = f"--web.listen-address=127.0.0.1:{exporter}"
    start(
        [_binary("prometheus-blackbox-exporter"), f"--config.file={tmp_path}/blackbox.yml", listen], exporter
    )
    flags = {
        "config.file": tmp_path / "prometheus.yml",
        "storage.tsdb.path": tmp_path / "tsdb",
        "web.listen-address": f"127.0.0.1:{port}",
        "log.level": "error",
    }
    start([_binary("prometheus"), *(f"--{name}={value}" for name, value in flags.items())], port)
    return f"http://127.0.0.1:{port}"


def _binary(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is not installed; tests/system/packages.sh installs it"
    return found


def source(address: str, **options: object) -> MetricsSource:
    recent = system_clock() - timedelta(minutes=10)
    return MetricsSource(address, step="1s", start=recent, **options)  # type: ignore[arg-type]


def wait_for(address: str, served: str | None) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        looks = read(source(address, every=True)).observations
        if looks and looks[-1]["fingerprint"] == served:
            return
        time.sleep(0.2)
    pytest.fail("Prometheus does not see the site")


def states(found: Batch) -> list[str | None]:
    """Give what was served, one after the other."""
    served = [row["fingerprint"] for row in found.observations]
    return [one for one, before in zip(served, [object(), *served], strict=False) if one != before]


def test_a_renewal_and_a_failure_are_seen(prometheus: str, site: Site, tmp_path: Path) -> None:
    first = site.leaf
    wait_for(prometheus, first)
    second = site.renew()
    wait_for(prometheus, second)
    site.stop()
    wait_for(prometheus, None)

    with History(tmp_path / "history.duckdb") as history:
        history.ingest(source(prometheus))
        marks = history.marks("metrics")
        rows = history.tables().certificates.to_pyarrow().to_pylist()
        assert history.counts()["quarantine"] == 0
    assert {row["fingerprint"] for row in rows} == {first, second}
    assert all(row["names"] == ["site.test", "www.site.test"] for row in rows)

    found = read(source(prometheus))
    assert states(found) == [first, second, None]
    assert {(row["host"], row["port"]) for row in found.observations} == {("127.0.0.1", site.port)}
    assert [(row["chain_status"], row["error"]) for row in found.observations if row["fingerprint"]] == [
        ("valid", None)
    ] * sum(row["fingerprint"] is not None for row in found.observations)
    # Prometheus names a moment of the second after its sample, at the latest.
    assert all(row["known_at"] == row["observed_at"] <= system_clock() for row in found.observations)

    # The failure goes on: the next import has never seen the site served, and knows it for TLS all the same.
    time.sleep(1.5)
    later = read(source(prometheus, every=True), marks)
    assert states(later) == [None]
    site.start()
    wait_for(prometheus, second)
    latest = read(source(prometheus), marks)
    assert states(latest) in ([second], [None, second])
    assert min(row["observed_at"] for row in latest.observations) > max(
        row["observed_at"] for row in found.observations if row["fingerprint"]
    )


def test_pages_and_saved_answers_tell_the_same(prometheus: str, site: Site, tmp_path: Path) -> None:
    wait_for(prometheus, site.leaf)
    end = system_clock()
    whole = read(source(prometheus, end=end, every=True))
    paged = read(source(prometheus, end=end, every=True, points=7))
    assert paged.observations == whole.observations
    assert len(paged.marks) > len(whole.marks)
    last = int(end.timestamp())
    query = {"query": '{__name__=~"probe_.*",job="tls"}', "start": last - 600, "end": last, "step": 1}
    saved = tmp_path / "saved.json"
    saved.write_bytes(requests.get(f"{prometheus}/api/v1/query_range", params=query, timeout=20).content)
    assert MetricsSource.recognises(saved)
    assert read(MetricsSource(saved, every=True)).observations == whole.observations


def test_what_prometheus_refuses_is_told(prometheus: str) -> None:
    with pytest.raises(SourceError, match=r"answered 400 .*regexp"):
        read(source(prometheus, labels=("job=~(",)))
    with pytest.raises(SourceError, match="answered 404"):
        read(source(f"{prometheus}/elsewhere"))
