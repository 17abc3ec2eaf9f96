"""ACME clients that leave their state behind, run against pebble."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from certforecast.history import History
from certforecast.history.sources.caddy import CaddySource
from certforecast.history.sources.lego import LegoSource
from tests.history.sources.reading import read
from tests.system.pebble import pebble
from tests.system.site import wait_for

pytestmark = pytest.mark.system


def test_lego(tmp_path: Path) -> None:
    """Debian's lego issues, renews, and fails where the CA refuses; its folder holds what it holds now."""
    with pebble(tmp_path / "pebble", nonce_reject=0, blocked=("blocked.test",)) as server:

        def lego(*command: str, domains: tuple[str, ...]) -> int:
            done = subprocess.run(
                [
                    *("lego", "--server", server.directory_url, "--email", "ops@site.test", "--accept-tos"),
                    *(
                        "--path",
                        str(tmp_path / "lego"),
                        "--http",
                        "--http.port",
                        f"127.0.0.1:{server.http_port}",
                    ),
                    *(f"--domains={domain}" for domain in domains),
                    *command,
                ],
                env=os.environ | {"LEGO_CA_CERTIFICATES": str(server.ca_file)},
                capture_output=True,
                timeout=60,
            )
            return done.returncode

        assert lego("run", domains=("a.site.test", "b.site.test")) == 0
        with History(None) as history:
            source = LegoSource(tmp_path / "lego")
            assert LegoSource.recognises(tmp_path / "lego") == "1 lineages of lego"
            assert history.ingest(source).new == 3
            assert history.ingest(source).changed == 0
            assert lego("renew", "--days", "10000", "--no-random-sleep", domains=("a.site.test",)) == 0
            assert lego("run", domains=("blocked.test",)) != 0
            assert history.ingest(source).tables["certificates"].new == 1
            assert history.counts()["quarantine"] == 0
            # Revoked, the files go to archives/; lego renews the lineage no more.
            assert lego("revoke", domains=("a.site.test",)) == 0
            assert history.ingest(source).tables["events"].new == 1
            assert history.counts()["quarantine"] == 0
            events = history.tables().events.order_by(["known_at", "kind"]).to_pandas()
            certificates = history.tables().certificates.to_pandas()
    assert events["kind"].tolist() == ["issued", "issued", "retired"]
    assert set(events["lineage"]) == {"a.site.test"}
    assert set(events["code"].dropna()) == {"127.0.0.1"}
    assert [list(names) for names in certificates["names"]] == [["a.site.test", "b.site.test"]] * 2


def test_caddy(tmp_path: Path) -> None:
    """Debian's Caddy gets a certificate by itself as it starts; its storage is read while it runs."""
    storage = tmp_path / "storage"
    with pebble(tmp_path / "pebble", nonce_reject=0) as server:
        issuer = {
            "module": "acme",
            "ca": server.directory_url,
            "trusted_roots_pem_files": [str(server.ca_file)],
            "challenges": {
                "http": {"alternate_port": server.http_port},
                "tls-alpn": {"disabled": True},
            },
        }
        route = {"match": [{"host": ["a.site.test"]}], "handle": [{"handler": "static_response"}]}
        site = {"listen": [f"127.0.0.1:{server.ports['tls']}"], "routes": [route]}
        config = {
            "admin": {"disabled": True},
            "storage": {"module": "file_system", "root": str(storage)},
            "apps": {
                "http": {
                    "http_port": server.http_port,
                    "https_port": server.ports["tls"],
                    "servers": {"site": site},
                },
                "tls": {"automation": {"policies": [{"issuers": [issuer]}]}},
            },
        }
        (tmp_path / "caddy.json").write_text(json.dumps(config))
        with (tmp_path / "caddy.log").open("wb") as log:
            caddy = subprocess.Popen(
                ["caddy", "run", "--config", tmp_path / "caddy.json"],
                env=os.environ | {"HOME": str(tmp_path)},
                stdout=log,
                stderr=log,
            )
        try:
            wait_for(lambda: any(storage.glob("certificates/*/*/*.json")), caddy)
            found = read(CaddySource(storage))
        finally:
            caddy.terminate()
            caddy.wait(20)
    assert CaddySource.recognises(storage) == "1 lineages of Caddy"
    assert [row["names"] for row in found.certificates] == [["a.site.test"]]
    assert [(one["lineage"], one["kind"]) for one in found.events] == [("a.site.test", "issued")]
    assert f"127.0.0.1-{server.ports['acme']}-dir" in found.positions["certificates"][0]
    assert found.rejected == []
