"""Names that are there and lead here, and the DNS server that is asked."""

from pathlib import Path
from typing import Any

import pytest

from certforecast.errors import InputError
from certforecast.execution.rehearsal.resolving import Resolver
from tests.execution.rehearsal.parts import acme, candidate, nameserver, only


def test_names_that_do_not_resolve_or_point_elsewhere_are_named(tmp_path: Path) -> None:
    answers = {
        ("here.test", "A"): ["192.0.2.1"],
        ("here.test", "AAAA"): ["2001:db8::1"],
        ("half.test", "A"): ["192.0.2.1", "192.0.2.9"],
        ("alias.test", "TXT"): ["a name without an address"],
    }
    with nameserver(answers, broken=["sick.test"]) as server:
        settings = acme(tmp_path, server, rehearsal={"addresses": ["192.0.2.1", "2001:db8::1"]})
        subject = candidate("here.test", "half.test", "alias.test", "gone.test", "sick.test", "*.here.test")
        result = only("dns", subject, settings)
    found = {finding.host: finding for finding in result.findings}
    assert found.keys() == {"half.test", "alias.test", "gone.test", "sick.test"}
    assert {finding.code for finding in result.findings} == {"dns"}
    assert "points to 192.0.2.9," in found["half.test"].message
    assert "has no address" in found["gone.test"].message
    assert "SERVFAIL" in found["sick.test"].message


@pytest.mark.parametrize("server", ["nonsense", "192.0.2.1:port", "[::1"])
def test_a_resolver_that_is_no_address_is_refused_before_anything(server: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rehearsal\.resolver"):
        only("dns", candidate("a.test"), acme(tmp_path, server))


def test_a_resolver_is_read_with_and_without_a_port() -> None:
    def asked(server: str) -> tuple[Any, int]:
        resolver = Resolver(server)._asked
        return resolver.nameservers[0], resolver.port

    assert asked("192.0.2.53") == ("192.0.2.53", 53)
    assert asked("192.0.2.53:5353") == ("192.0.2.53", 5353)
    assert asked("2001:db8::53") == ("2001:db8::53", 53)
    assert asked("[2001:db8::53]:5353") == ("2001:db8::53", 5353)
