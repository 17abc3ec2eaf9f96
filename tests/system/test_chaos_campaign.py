"""Many orders under random faults: what was issued is got, once, and nothing else is taken for it."""

import json
import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certforecast.clock import system_clock
from certforecast.errors import ExecutionError
from certforecast.execution import Executor
from certforecast.execution.checks import check_pair
from certforecast.execution.issuers.acme.issuer import AcmeIssuer
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.staging import Staging
from certforecast.history import History
from tests.system.chaos import Chaos, chaos
from tests.system.faults import PASSING, Fault, another_day, busy, garbled, problem, wrong_chain
from tests.system.pebble import Pebble, pebble
from tests.system.site import Prober, Site

pytestmark = pytest.mark.system

QUICK = {"timeout_s": 1.0, "patience_s": 8.0, "deadline_s": 30.0}
#: So often a run is begun again, as an operator would.
RUNS = 12


def faults(proxy: Chaos) -> dict[str, tuple[Fault, tuple[str, ...]]]:
    posts = ("newOrder", "order", "authorization", "challenge", "finalize", "certificate")
    return {
        **{name: (fault, ()) for name, fault in PASSING.items()},
        "503, an hour": (busy(503, "3600"), posts),
        "429, one second": (busy(429, "1"), posts),
        "429, an hour": (busy(429, "3600"), posts),
        "a day ahead": (another_day(1), ()),
        "half an answer": (garbled, ("order", "authorization")),
        "account lost": (problem("accountDoesNotExist"), ("newOrder",)),
        "wrong chain": (wrong_chain, ("certificate",)),
        "another key": (proxy.for_another_key(), ("certificate",)),
    }


@dataclass
class Outcome:
    serial: int | None = None
    refused: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)


def order_one(number: int, proxy: Chaos, home: Path) -> Outcome:
    """Get one certificate, in as many runs as it takes; each knows what a killed one would."""
    staging, outcome = Staging(home / f"staging-{number}"), Outcome()
    staging.prepare()
    names = [f"n{number}.site.test"]
    csr, order = staging.csr(names), None
    roots = proxy.server.trust_file.read_bytes()
    for _ in range(RUNS):
        acme = AcmeIssuer(AcmeIssuerSettings(**proxy.section(**QUICK)))
        try:
            if order is None:
                order = acme.order(csr)
            chain = acme.issue(order, csr)
        except ExecutionError as error:
            outcome.codes.append(str(error.code))
            continue
        try:
            check_pair(chain, staging.key, names=names, roots_pem=roots, now=system_clock())
        except ExecutionError as error:
            outcome.refused.append(str(error.code))
            continue
        outcome.serial = x509.load_pem_x509_certificates(chain)[0].serial_number
        break
    return outcome


def orders_under_faults(server: Pebble, home: Path, count: int, rate: float, seed: int) -> dict[str, Any]:
    before = server.issued()
    with chaos(server) as proxy, ThreadPoolExecutor(4) as pool:
        proxy.random_faults, proxy.rate, proxy.dice = faults(proxy), rate, random.Random(seed)
        done = list(pool.map(lambda number: order_one(number, proxy, home), range(count)))
        met, requests = Counter(proxy.met), len(proxy.seen)
    got = [outcome.serial for outcome in done if outcome.serial is not None]
    return {
        "orders": count,
        "requests": requests,
        "faults": sum(met.values()),
        "kinds of faults": dict(sorted(met.items())),
        "got": len(got),
        "lost": count - len(got),
        "issued by the CA": server.issued() - before,
        "doubled": server.issued() - before - len(set(got)),
        "wrong ones refused": dict(Counter(code for outcome in done for code in outcome.refused)),
        "runs that ended with an error": dict(Counter(code for one in done for code in one.codes)),
    }


def renewals_under_faults(server: Pebble, home: Path, count: int, rate: float, seed: int) -> dict[str, Any]:
    """Renew one live site again and again, a client shaking hands all the while."""
    with Site(home).served() as site, chaos(server) as proxy, History(None) as history:
        both = home / "both.pem"
        both.write_bytes(site.roots.read_bytes() + server.trust_file.read_bytes())
        section = AcmeIssuerSettings(**proxy.section(trust_file=both, **QUICK))
        settings = site.settings(issuers={"acme": section})
        proxy.random_faults, proxy.rate, proxy.dice = faults(proxy), rate, random.Random(seed)
        statuses: Counter[str] = Counter()
        proven = {site.before}
        with Prober(site.endpoint, both) as prober:
            for _ in range(count):
                site.before = site.look().fingerprint or site.before
                (result,) = Executor(settings, history).run(
                    site.plan(site.action(issuer="acme")), execute=True
                )
                statuses[result.status] += 1
                if result.status == "verified" and result.fingerprint_after is not None:
                    proven.add(result.fingerprint_after)
                assert result.status != "failed" or "no file was changed" in result.detail
        codes = Counter(history.tables().events.to_pandas()["code"].dropna())
    return {
        "renewals": count,
        "statuses": dict(statuses),
        "codes": dict(codes),
        "handshakes": len(prober.looks),
        "handshakes refused": len(prober.refused),
        "certificates served that were not proven": len(set(prober.looks) - proven),
    }


def judge(orders: dict[str, Any], renewals: dict[str, Any]) -> None:
    assert (orders["lost"], orders["doubled"]) == (0, 0)
    assert renewals["handshakes refused"] == 0
    assert renewals["certificates served that were not proven"] == 0
    assert set(renewals["statuses"]) <= {"verified", "failed"}


def test_a_few_orders_under_random_faults(tmp_path: Path) -> None:
    with pebble(tmp_path / "pebble", nonce_reject=50) as server:
        judge(
            orders_under_faults(server, tmp_path, 6, 0.1, seed=3),
            renewals_under_faults(server, tmp_path / "site", 2, 0.1, seed=4),
        )


@pytest.mark.campaign
def test_many_orders_under_random_faults(tmp_path: Path) -> None:
    count = int(os.environ.get("CAMPAIGN_ORDERS", "500"))
    with pebble(tmp_path / "pebble", nonce_reject=50) as server:
        orders = orders_under_faults(server, tmp_path, count, 0.15, seed=1)
        print(json.dumps(orders, indent=1))
        renewals = renewals_under_faults(server, tmp_path / "site", count // 5, 0.1, seed=2)
        print(json.dumps(renewals, indent=1))
    judge(orders, renewals)
