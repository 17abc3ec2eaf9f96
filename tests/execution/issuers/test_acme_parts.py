"""Small parts of the ACME issuer, without a server."""

import itertools
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.execution.issuers import ChallengeError
from certforecast.execution.issuers.acme.answers import refuse_names
from certforecast.execution.issuers.acme.chains import choose
from certforecast.execution.issuers.acme.client import Network, identifiers
from certforecast.execution.issuers.acme.dns.lookup import Lookup
from certforecast.execution.issuers.acme.dns.servers import Server, read_address
from certforecast.execution.issuers.acme.listeners import Shown
from certforecast.execution.staging import signing_request
from tests.execution.issuers.parts import account_key
from tests.execution.rehearsal.parts import nameserver


def chain_of(*names: str) -> bytes:
    """Make a chain in which each is issued by the next; the last name has no certificate in it."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime(2026, 1, 1, tzinfo=UTC)
    made = []
    for subject, issuer in itertools.pairwise(names):
        builder = x509.CertificateBuilder(
            *(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in (issuer, subject)),
            key.public_key(),
            1,
            now,
            now + timedelta(days=1),
        )
        made.append(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return b"".join(made)


LONG, SHORT = chain_of("leaf", "R3", "X1", "DST"), chain_of("leaf", "R3", "X1")


@pytest.mark.parametrize(
    ("preferred", "wanted"), [(None, LONG), ("DST", LONG), ("X1", SHORT), ("R3", LONG), ("leaf", LONG)]
)
def test_the_chain_that_ends_at_a_root_comes_before_one_that_passes_it(
    preferred: str | None, wanted: bytes
) -> None:
    assert choose([LONG, SHORT], preferred) == wanted


def test_no_more_chains_are_fetched_than_needed(caplog: pytest.LogCaptureFixture) -> None:
    fetched: list[bytes] = []

    def fetch() -> Iterator[bytes]:
        for chain in (LONG, SHORT):
            fetched.append(chain)
            yield chain

    assert choose(fetch(), None) == LONG
    assert choose(fetch(), "DST") == LONG
    assert fetched == [LONG, LONG]
    with caplog.at_level(logging.WARNING):
        assert choose(fetch(), "Nobody") == LONG
    assert "DST" in caplog.text
    assert "X1" in caplog.text


def test_an_address_is_an_identifier_of_its_own_kind() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = signing_request(key, ["2001:db8::1", "192.0.2.1", "*.a.test"])
    found = [(one.typ.name, one.value) for one in identifiers(csr)]
    assert found == [("ip", "2001:db8::1"), ("ip", "192.0.2.1"), ("dns", "*.a.test")]


def test_a_nonce_that_another_thread_took_is_replaced() -> None:
    class Taken(set[str]):
        """The last one goes between the look and the taking, once."""

        def pop(self) -> str:
            if "last" in self:
                self.remove("last")
                raise KeyError
            return super().pop()

    network = Network(account_key())
    network._nonces = Taken({"last"})
    network.head = lambda _: network._nonces.add("fresh")  # type: ignore[method-assign, func-returns-value]
    network._check_response = lambda *_, **__: None  # type: ignore[method-assign, assignment, return-value]
    network._add_nonce = lambda _: None  # type: ignore[method-assign]
    assert network._get_nonce("https://a.test/order", "https://a.test/nonce") == "fresh"


def test_names_are_refused_by_their_challenge() -> None:
    refuse_names(["a.test", "*.a.test"], "dns-01")
    refuse_names(["a.test", "192.0.2.1", "2001:db8::1"], "http-01")
    for name, kind in (("*.a.test", "http-01"), ("*.a.test", "tls-alpn-01"), ("2001:db8::1", "dns-01")):
        with pytest.raises(ChallengeError, match=r"is an? ") as caught:
            refuse_names([name], kind)
        assert caught.value.code == "unsupported"


def test_servers_as_settings_write_them() -> None:
    assert read_address("192.0.2.1", "x") == Server("192.0.2.1", 53)
    assert read_address("[2001:db8::1]:5353", "x") == Server("2001:db8::1", 5353)
    assert str(Server("2001:db8::1")) == "[2001:db8::1]:53"
    with pytest.raises(InputError, match=r"dns\.resolver"):
        read_address("ns.example.org", "dns.resolver")


def test_the_servers_of_a_zone_are_found() -> None:
    answers = {
        ("a.test", "SOA"): ["ns1.a.test. ops.a.test. 1 2 3 4 5"],
        ("a.test", "NS"): ["ns1.a.test.", "ns2.a.test."],
        ("_acme-challenge.www.a.test", "TXT"): ["x"],
        ("ns1.a.test", "A"): ["192.0.2.1"],
        ("ns2.a.test", "A"): ["192.0.2.2", "192.0.2.1"],
        ("ns2.a.test", "AAAA"): ["2001:db8::2"],
    }
    with nameserver(answers, broken=["broken.test"]) as server:
        found = Lookup(server).authoritative("_acme-challenge.www.a.test")
        assert set(found) == {Server("192.0.2.1"), Server("192.0.2.2"), Server("2001:db8::2")}
        assert len(found) == 3
        with pytest.raises(ChallengeError, match=r"dns\.nameservers"):
            Lookup(server).authoritative("broken.test")
        with pytest.raises(ChallengeError, match="alias"):
            Lookup(server).follow("broken.test")
        assert Lookup(server).follow("_acme-challenge.absent.test") == "_acme-challenge.absent.test"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=20), st.randoms())
def test_what_is_shown_is_what_was_added_and_not_removed(
    pairs: list[tuple[str, int]], random: object
) -> None:
    shown, order = Shown[int](), list(pairs)
    for key, answer in pairs:
        shown.add({key: answer})
    random.shuffle(order)  # type: ignore[attr-defined]
    left = list(pairs)
    for key, answer in order:
        assert shown.find(key) in [value for name, value in left if name == key]
        shown.remove({key: answer})
        left.remove((key, answer))
        assert sorted(shown) == sorted(value for _, value in left)
        assert bool(shown) == bool(left)
