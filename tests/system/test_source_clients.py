"""ACME clients that leave their state behind, run against pebble."""

import os
import subprocess
from pathlib import Path

import pytest

from certforecast.history import History
from certforecast.history.sources.lego import LegoSource
from tests.system.pebble import pebble

pytestmark = pytest.mark.system


def test_lego(tmp_path: Path) -> None:
    """Debian's lego issues, renews, and fails where the CA refuses; its folder holds what it holds now."""
    with pebble(tmp_path / "pebble", blocked=("blocked.test",)) as server:

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
            events = history.tables().events.order_by("at").to_pandas()
            certificates = history.tables().certificates.to_pandas()
    assert events["kind"].tolist() == ["issued", "issued"]
    assert set(events["lineage"]) == {"a.site.test"}
    assert set(events["code"]) == {"127.0.0.1"}
    assert [list(names) for names in certificates["names"]] == [["a.site.test", "b.site.test"]] * 2
