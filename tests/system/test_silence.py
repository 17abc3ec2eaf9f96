"""A network that swallows packets without a word: every wait ends, and says what did not answer.

Pebble and the site are real; the way to them is lost at one of three depths (tests/system/silence.py).
"""

import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from certforecast.clock import system_clock
from certforecast.errors import ExecutionError, IssuanceError, VerificationError
from certforecast.execution import ActionResult, Executor, looks, preflight
from certforecast.execution.installers.acm import AcmInstallerSettings
from certforecast.execution.installers.files import FilesInstaller
from certforecast.execution.installers.lemur import LemurInstallerSettings
from certforecast.execution.installers.vault import VaultInstallerSettings
from certforecast.execution.issuers.acme.issuer import AcmeIssuer
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.issuers.acmpca import AcmPcaIssuerSettings
from certforecast.execution.issuers.est import EstIssuerSettings
from certforecast.execution.staging import Staging
from certforecast.execution.verification import handshake
from certforecast.planning.plan import Endpoint
from tests.system.pebble import Pebble, pebble
from tests.system.silence import Network, network
from tests.system.site import Site
from tests.system.test_installer_kubernetes import Cluster

pytestmark = pytest.mark.system

#: A wait that has this length at the latest, on a machine with a lot to do; without a limit it has none.
ENDS_S = 20.0

#: What is swallowed, how many bytes get through before, and to what nothing came then.
DEPTHS = pytest.mark.parametrize(
    ("lost", "passed", "unanswered"),
    [
        pytest.param("connections", 0, "a connection", id="connection"),
        pytest.param("answers", 0, "the TLS handshake", id="handshake"),
        pytest.param("answers", 700, "the TLS handshake", id="half a handshake"),
    ],
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), nonce_reject=0) as running:
        yield running


@pytest.fixture
def way(server: Pebble) -> Iterator[Network]:
    with network(server.ports["acme"]) as made:
        yield made


def acme(server: Pebble, way: Network, **changes: Any) -> AcmeIssuerSettings:
    own = {
        "directory_url": f"https://127.0.0.1:{way.port}/dir",
        "account_key": server.home / f"{way.port}.pem",
    }
    quick = {"timeout_s": 0.4, "patience_s": 0.5, "deadline_s": 8.0}
    return AcmeIssuerSettings(**server.section(**own, **quick, **changes))


@DEPTHS
def test_a_ca_that_falls_silent_in_an_order_is_left_and_found_again(
    server: Pebble, way: Network, tmp_path: Path, lost: Any, passed: int, unanswered: str
) -> None:
    staging = Staging(tmp_path / "staging")
    staging.prepare()
    request, issued = staging.csr(["a.site.test"]), server.issued()
    first = AcmeIssuer(acme(server, way))
    order = first.order(request)
    way.lose(lost, passed)
    # With the connection that is open, whose answers are lost, and with one that is still to be opened.
    issuers = [AcmeIssuer(acme(server, way)), *([first] if lost == "answers" else [])]
    for issuer in issuers:
        started = time.monotonic()
        with pytest.raises(IssuanceError) as caught:
            issuer.issue(order, request)
        assert time.monotonic() - started < ENDS_S
        what = "nothing answered a connection" if lost == "connections" else "no answer, or no end of it,"
        assert f"https://127.0.0.1:{way.port}/" in str(caught.value)
        assert f"{what} in " in str(caught.value)
        assert caught.value.code == "unreachable"
    way.lose("nothing")
    assert AcmeIssuer(acme(server, way)).issue(order, request).startswith(b"-----BEGIN")
    assert server.issued() == issued + 1


def test_a_renewal_whose_ca_is_silent_touches_nothing(server: Pebble, way: Network, tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        way.lose("answers", 700)
        settings = site.settings(issuers={"acme": acme(server, way)})
        (result,) = Executor(settings).run(site.plan(site.action(issuer="acme")), execute=True)
        assert result.status == "failed"
        assert f"https://127.0.0.1:{way.port}/dir: no answer" in result.detail
        assert result.detail.endswith("; no file was changed")
        assert site.in_place() == site.before
        assert not (site.certificate.parent / ".certforecast").exists()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have single looks end sooner than after five seconds."""
    for module in (preflight, looks):
        monkeypatch.setattr(module, "handshake", partial(handshake, timeout_s=0.3))


@pytest.mark.usefixtures("quick")
@DEPTHS
def test_an_endpoint_that_is_silent_costs_no_order(
    tmp_path: Path, lost: Any, passed: int, unanswered: str
) -> None:
    with Site(tmp_path).served() as site, network(site.endpoint.port) as way:
        site.endpoint = site.endpoint.model_copy(update={"port": way.port})
        way.lose(lost, passed)
        with pytest.raises(VerificationError) as caught:
            preflight.preflight(site.action(installer="files"), site.settings(), system_clock)
        silent = f"nothing answered {unanswered} within 0.3 s"
        assert f"127.0.0.1:{way.port} serves no certificate ({silent})" in str(caught.value)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("lost", ["connections", "answers"])
def test_an_endpoint_that_falls_silent_has_the_old_certificate_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: Any
) -> None:
    with Site(tmp_path).served() as site, network(site.endpoint.port) as way:
        site.endpoint = site.endpoint.model_copy(update={"port": way.port})
        settings = site.settings(executor={"verify_timeout_s": 0.5})

        def renew() -> ActionResult:
            (result,) = Executor(settings).run(site.plan(site.action()), execute=True)
            return result

        def fall_silent(installer: FilesInstaller, reload: Any = FilesInstaller.reload) -> None:
            reload(installer)
            way.lose(lost)

        with monkeypatch.context() as patch:
            patch.setattr(FilesInstaller, "reload", fall_silent)
            started = time.monotonic()
            result = renew()
            assert time.monotonic() - started < ENDS_S
        # Put back, though that cannot be proven either as long as nothing is heard; both are said.
        assert result.status == "failed"
        silent = f"nothing answered {'a connection' if lost == 'connections' else 'the TLS handshake'} within"
        assert f"127.0.0.1:{way.port} ({site.name}) does not serve" in result.detail
        assert f"after 0.5 s, it serves no certificate ({silent} " in result.detail
        assert f"rollback: 127.0.0.1:{way.port} serves nothing ({silent} 0.3 s), 0.5 s after" in result.detail
        assert site.in_place() == site.before
        way.lose("nothing")
        assert site.look().fingerprint == site.before
        if lost == "answers":
            again = renew()
            assert again.status == "verified", again.detail


@pytest.mark.parametrize("starttls", ["smtp", "imap", "pop3", "ldap", "postgres", "mysql"])
def test_no_word_before_tls(starttls: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = int(silent.getsockname()[1])
        endpoint = Endpoint(host="127.0.0.1", port=port, server_name="a.test", starttls=starttls)
        seen = handshake(endpoint, timeout_s=0.1)
    assert seen.fingerprint is None
    assert seen.error == f"nothing answered the words before TLS ({starttls}) within 0.1 s"


def vault(url: str, folder: Path) -> None:
    VaultInstallerSettings(kind="vault", address=url).open("a").current()


def kubernetes(url: str, folder: Path) -> None:
    cluster = Cluster(folder)
    cluster.configure("token", url)
    cluster.installer(folder).current()


def lemur(url: str, folder: Path) -> None:
    LemurInstallerSettings(kind="lemur", url=url, certificate=1).open("a").current()


def acm(url: str, folder: Path) -> None:
    arn = "arn:aws:acm:eu-west-1:1:certificate/1"
    AcmInstallerSettings(kind="acm", arn=arn, endpoint_url=url, directory=folder).open("a").current()


def acmpca(url: str, folder: Path) -> None:
    arn = "arn:aws:acm-pca:eu-west-1:1:certificate-authority/1"
    section = AcmPcaIssuerSettings(kind="acmpca", authority_arn=arn, endpoint_url=url, directory=folder)
    section.open(system_clock).order(csr(folder))


def est(url: str, folder: Path) -> None:
    secure = url.replace("http:", "https:")
    EstIssuerSettings(kind="est", url=secure, directory=folder).open(system_clock).order(csr(folder))


def csr(folder: Path) -> bytes:
    staging = Staging(folder / "staging")
    staging.prepare()
    return staging.csr(["a.site.test"])


@pytest.mark.parametrize(
    ("ask", "limit"),
    [
        (vault, "vault_client._TIMEOUT_S"),
        (kubernetes, "installers.kubernetes._TIMEOUT_S"),
        (lemur, "installers.lemur._TIMEOUT_S"),
        (acm, "aws_client._READ_S"),
        (acmpca, "aws_client._READ_S"),
        (est, "issuers.est._TIMEOUT_S"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_who_else_is_asked_may_be_silent_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[str, Path], None], limit: str
) -> None:
    monkeypatch.setattr(f"certforecast.execution.{limit}", 0.2)
    for name in ("VAULT_TOKEN", "LEMUR_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-the-test")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port, started = silent.getsockname()[1], time.monotonic()
        with pytest.raises(ExecutionError) as caught:
            ask(f"http://127.0.0.1:{port}", tmp_path)
    assert time.monotonic() - started < ENDS_S
    assert caught.value.code == "unreachable"
    assert str(port) in str(caught.value)
    assert "imed out" in str(caught.value) or "imeout" in str(caught.value)
