"""Two real CAs, and what happens when the first fails."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from certforecast.clock import system_clock
from certforecast.errors import IssuanceError
from certforecast.execution import Executor
from certforecast.execution.checks import check_pair
from certforecast.execution.issuers import ChallengeError, open_issuer
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.issuers.failover import FailoverIssuer, FailoverIssuerSettings, issuer_of
from certforecast.execution.staging import Staging
from certforecast.history import History
from certforecast.settings import Settings
from tests.system.chaos import Chaos, chaos
from tests.system.faults import Fault, busy, hang, internal, problem, reset
from tests.system.pebble import Pebble, free_ports, pebble
from tests.system.site import Site

pytestmark = pytest.mark.system

QUICK = {"timeout_s": 1.0, "patience_s": 2.0, "deadline_s": 15.0}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Pebble, Pebble]]:
    home = tmp_path_factory.mktemp("pebbles")
    with pebble(home / "one", nonce_reject=20) as one, pebble(home / "two", nonce_reject=20) as two:
        yield one, two


@pytest.fixture
def proxies(servers: tuple[Pebble, Pebble]) -> Iterator[tuple[Chaos, Chaos]]:
    with chaos(servers[0]) as one, chaos(servers[1]) as two:
        yield one, two


def settings_of(proxies: tuple[Chaos, Chaos], home: Path, **first: Any) -> Settings:
    one, two = (proxy.section(**QUICK) for proxy in proxies)
    issuers = {
        "main": FailoverIssuerSettings(kind="failover", issuers=["one", "two"]),
        "one": AcmeIssuerSettings(**one | first),
        "two": AcmeIssuerSettings(**two),
    }
    return Settings(home=home, issuers=issuers)


class Orders:
    """A key, a request, and the issuer as each process of its own would open it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.staging = Staging(settings.home / "staging")
        self.staging.prepare()
        self.csr = self.staging.csr(["a.site.test"])

    def open(self) -> FailoverIssuer:
        issuer = open_issuer("main", self.settings, system_clock)
        assert isinstance(issuer, FailoverIssuer)
        return issuer

    def check(self, chain: bytes, roots: Path | None) -> None:
        assert roots is not None
        check_pair(
            chain,
            self.staging.key,
            names=["a.site.test"],
            roots_pem=roots.read_bytes(),
            now=system_clock(),
        )


def test_the_first_does_it_where_it_can(proxies: tuple[Chaos, Chaos], tmp_path: Path) -> None:
    orders = Orders(settings_of(proxies, tmp_path))
    order = orders.open().order(orders.csr)
    chain = orders.open().issue(order, orders.csr)
    assert order["issuer"] == "one"
    orders.check(chain, proxies[0].server.trust_file)
    assert proxies[1].seen == []


@pytest.mark.parametrize(
    "fault", [internal, reset, busy(429, "3600"), busy(503, "3600"), hang(3.0)],
    ids=["500", "reset", "429", "503", "hang"],
)  # fmt: skip
def test_the_second_does_it_where_the_first_fails(
    proxies: tuple[Chaos, Chaos], tmp_path: Path, fault: Fault
) -> None:
    orders = Orders(settings_of(proxies, tmp_path))
    proxies[0].fail("newOrder", fault, times=100)
    order = orders.open().order(orders.csr)
    assert order["issuer"] == "two"
    chain = orders.open().issue(order, orders.csr)
    # Held to the roots of the CA at which it was ordered, and to no others.
    orders.check(chain, issuer_of(orders.open(), order).roots)
    assert issuer_of(orders.open(), order).roots == proxies[1].server.trust_file


def test_a_server_that_is_not_there(proxies: tuple[Chaos, Chaos], tmp_path: Path) -> None:
    away = f"https://127.0.0.1:{free_ports(1)[0]}/dir"
    orders = Orders(settings_of(proxies, tmp_path, directory_url=away))
    assert orders.open().order(orders.csr)["issuer"] == "two"


@pytest.mark.parametrize("kind", ["rejectedIdentifier", "unauthorized", "malformed", "userActionRequired"])
def test_what_is_ours_is_asked_of_nobody_else(
    proxies: tuple[Chaos, Chaos], tmp_path: Path, kind: str
) -> None:
    orders = Orders(settings_of(proxies, tmp_path))
    proxies[0].fail("newOrder", problem(kind, 403), times=100)
    with pytest.raises(IssuanceError) as caught:
        orders.open().order(orders.csr)
    assert caught.value.code == kind
    assert proxies[1].seen == []


def test_a_challenge_that_fails_is_ours(proxies: tuple[Chaos, Chaos], tmp_path: Path) -> None:
    orders = Orders(settings_of(proxies, tmp_path, http_port=free_ports(1)[0]))
    order = orders.open().order(orders.csr)
    with pytest.raises(ChallengeError):
        orders.open().issue(order, orders.csr)
    assert proxies[1].seen == []


def test_a_killed_run_goes_on_where_the_order_went(proxies: tuple[Chaos, Chaos], tmp_path: Path) -> None:
    one, two = proxies
    orders = Orders(settings_of(proxies, tmp_path))
    order = orders.open().order(orders.csr)
    before = [proxy.server.issued() for proxy in proxies]
    one.fail("finalize", internal, times=100)
    two.fail("certificate", reset, times=100)
    with pytest.raises(IssuanceError):  # as if it were killed when the second had issued
        orders.open().issue(order, orders.csr)
    two.heal()
    asked = len(one.about("finalize"))
    chain = orders.open().issue(order, orders.csr)
    assert orders.open().issue(order, orders.csr) == chain
    assert len(one.about("finalize")) == asked
    assert [proxy.server.issued() for proxy in proxies] == [before[0], before[1] + 1]
    orders.check(chain, issuer_of(orders.open(), order).roots)


def test_all_reasons_are_told_where_all_fail(proxies: tuple[Chaos, Chaos], tmp_path: Path) -> None:
    orders = Orders(settings_of(proxies, tmp_path))
    proxies[0].fail("newOrder", busy(429, "3600"), times=100)
    proxies[1].fail("newOrder", internal, times=100)
    with pytest.raises(IssuanceError, match=r"rateLimited.*; then .*serverInternal") as caught:
        orders.open().order(orders.csr)
    assert caught.value.code == "serverInternal"


@pytest.mark.parametrize("names", [["one", "nowhere"], ["one", "one"], ["one", "main"]])
def test_settings_that_cannot_work(proxies: tuple[Chaos, Chaos], tmp_path: Path, names: list[str]) -> None:
    settings = settings_of(proxies, tmp_path)
    settings.issuers["main"] = FailoverIssuerSettings(kind="failover", issuers=names)
    with pytest.raises(IssuanceError) as caught:
        open_issuer("main", settings, system_clock)
    assert caught.value.code == "config"


def test_renews_a_live_site_by_the_second(proxies: tuple[Chaos, Chaos], tmp_path: Path) -> None:
    proxies[0].fail("newOrder", busy(503, "7200"), times=100)
    with Site(tmp_path).served() as site, History(None) as history:
        settings = site.settings(issuers=settings_of(proxies, tmp_path).issuers)
        (result,) = Executor(settings, history).run(site.plan(site.action(issuer="main")), execute=True)
        assert result.status == "verified", result.detail
        orders = history.tables().events.to_pandas()
        assert "order_failed" not in set(orders["kind"])


def test_a_chain_is_held_to_the_roots_of_the_ca_that_issued_it(
    proxies: tuple[Chaos, Chaos], tmp_path: Path
) -> None:
    """A root that is trusted for the other CA only is no root for this one."""
    settings = settings_of(proxies, tmp_path)
    first, second = (settings.issuers[name] for name in ("one", "two"))
    swapped = {"trust_file": first.trust_file}, {"trust_file": second.trust_file}  # type: ignore[attr-defined]
    issuers = settings.issuers | {
        "one": first.model_copy(update=swapped[1]),
        "two": second.model_copy(update=swapped[0]),
    }
    with Site(tmp_path / "site").served() as site, History(None) as history:
        settings = site.settings(issuers=issuers)
        (result,) = Executor(settings, history).run(site.plan(site.action(issuer="main")), execute=True)
        assert result.status == "failed"
        assert "does not lead to a trusted root" in result.detail
        assert site.look().fingerprint == site.before
