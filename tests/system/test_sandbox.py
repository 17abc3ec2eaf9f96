"""The sandbox: what it claims about its endpoints is what they show."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from certforecast.clock import system_clock
from certforecast.errors import InputError, VerificationError
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import make_installer
from certforecast.execution.issuers import open_issuer
from certforecast.execution.verification import Served, handshake, prove
from certforecast.history import History
from certforecast.history.sources.certbot import CertbotSource
from certforecast.settings import load_settings
from certforecast.simulation import Sandbox
from certforecast.simulation.sites import sites
from tests.certificates import alternative, key, key_pem

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(tmp_path_factory.mktemp("sandbox")) as made:
        yield made


@pytest.fixture(scope="module")
def served(sandbox: Sandbox) -> dict[str, Served]:
    return {
        endpoint.server_name: handshake(endpoint, roots=sandbox.roots, timeout_s=10)
        for endpoint in sandbox.endpoints
    }


def in_files(sandbox: Sandbox, name: str) -> str:
    return leaf_fingerprint((sandbox.home / "tls" / name / "fullchain.pem").read_bytes())


def test_each_site_is_what_its_kind_says(sandbox: Sandbox, served: dict[str, Served]) -> None:
    now = datetime.now(UTC)
    left: dict[str, list[timedelta]] = {}
    for site in sandbox.sites:
        look = served[site.name]
        assert look.not_after is not None
        left.setdefault(site.kind, []).append(look.not_after - now)
        assert look.chain_ok == (look.not_after > now)
        assert (look.fingerprint == in_files(sandbox, site.name)) == (site.kind != "unserved")
    day = timedelta(days=1)
    assert {kind: len(found) for kind, found in left.items()} == {
        "healthy": 4,
        "due": 4,
        "expired": 2,
        "unserved": 3,
        "deaf": 1,
    }
    assert min(left["healthy"]) > 55 * day
    assert all(day / 5 < found <= 3 * day for found in left["due"] + left["deaf"])
    assert all(-2 * day < found < -day / 2 for found in left["expired"])
    assert sorted(left["unserved"])[0] < timedelta(0) < day * 0.9 < sorted(left["unserved"])[1]


def test_outages_are_what_clients_see(sandbox: Sandbox, served: dict[str, Served]) -> None:
    assert sandbox.outages() == [name for name, look in served.items() if not look.chain_ok]
    assert len(sandbox.outages()) == 3


def test_the_tree_tells_the_past_to_the_certbot_source(sandbox: Sandbox) -> None:
    with History(None) as history:
        history.ingest(CertbotSource(sandbox.tree))
        assert history.quarantine().empty
        known = history.tables().certificates.execute().explode("names").groupby("names")["known_at"]
        assert {name: tuple(sorted(moments)) for name, moments in known} == {
            site.name: site.issued for site in sandbox.sites
        }


def test_what_is_archived_is_dated_by_its_issue_and_its_key_is_private(sandbox: Sandbox) -> None:
    for site in sandbox.sites:
        archive = sandbox.tree / "archive" / site.name
        assert 5 <= len(site.issued) <= 8
        for number, issued in enumerate(site.issued, start=1):
            chain = (archive / f"fullchain{number}.pem").read_bytes()
            own = archive / f"privkey{number}.pem"
            check_pair(
                chain,
                own.read_bytes(),
                names=[site.name],
                roots_pem=sandbox.roots.read_bytes(),
                now=issued + timedelta(days=30),
            )
            assert (archive / f"cert{number}.pem").stat().st_mtime == issued.timestamp()
            assert own.stat().st_mode & 0o077 == 0
        assert (sandbox.tree / "live" / site.name / "cert.pem").resolve() == (
            archive / f"cert{len(site.issued)}.pem"
        ).resolve()


def test_the_same_seed_gives_the_same_past() -> None:
    now = datetime(2026, 10, 1, tzinfo=UTC)
    assert list(sites(now, 7)) == list(sites(now, 7)) != list(sites(now, 8))
    assert all(moment <= now for site in sites(now, 7) for moment in site.issued)


def test_the_inventory_names_every_site(sandbox: Sandbox) -> None:
    assert [row["host"] for row in sandbox.hosts] == [one.server_name for one in sandbox.endpoints]
    assert all(row["known_at"] < system_clock() for row in sandbox.hosts)


def test_a_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="is not empty"), Sandbox(tmp_path):
        pass


def test_its_settings_install_on_its_endpoints_but_the_broken_one_is_deaf(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = load_settings(**sandbox.settings(tmp_path))
    issuer = open_issuer("sandbox", settings, system_clock)
    assert issuer.roots == sandbox.roots
    heard = []
    for endpoint in sandbox.endpoints[-2:]:
        name = endpoint.server_name
        installer = make_installer(settings.installers["sandbox"], name=name, host="127.0.0.1", port=1)
        csr = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .add_extension(*alternative(name))
            .sign(key(), hashes.SHA256())
            .public_bytes(Encoding.PEM)
        )
        chain_pem = issuer.issue(issuer.order(csr), csr)
        installer.precheck()
        installer.swap(chain_pem, key_pem())
        installer.reload()
        try:
            patience = 1 if name == sandbox.broken else 20
            prove([endpoint], leaf_fingerprint(chain_pem), roots=sandbox.roots, timeout_s=patience)
            heard.append(name)
        except VerificationError:
            assert name == sandbox.broken
    assert heard == ["login1.sandbox.test"]


def test_the_endpoints_end_with_the_block_and_with_the_process(tmp_path: Path) -> None:
    script = (
        "import os, sys, time; from pathlib import Path; from certforecast.simulation import Sandbox\n"
        "with Sandbox(Path(sys.argv[1])) as sandbox:\n"
        "    if sys.argv[2] == 'killed': os.kill(os.getpid(), 9)\n"
    )
    for how in ("done", "killed"):
        home = tmp_path / how
        ended = subprocess.run([sys.executable, "-c", script, home, how], timeout=60).returncode
        assert ended == (0 if how == "done" else -9)
        pids = [int(path.read_text()) for path in (home / "run").glob("*.pid")]
        assert len(pids) == 14
        deadline = time.monotonic() + 20
        while any(runs(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not [pid for pid in pids if runs(pid)]
        shutil.rmtree(home)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")
