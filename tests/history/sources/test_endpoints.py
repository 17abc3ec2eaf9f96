"""Endpoints as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.history.sources.endpoints import SCHEMES, Endpoint, parse_endpoints
from certforecast.history.sources.starttls import PROTOCOLS


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("Example.ORG", ("example.org", 443, "example.org")),
        ("example.org:8443", ("example.org", 8443, "example.org")),
        ("example.org = a.example", ("example.org", 443, "a.example")),
        ("192.0.2.1:993=mail.example", ("192.0.2.1", 993, "mail.example")),
        ("[2001:DB8::1]:8443", ("2001:db8::1", 8443, "2001:db8::1")),
        ("[2001:db8::1]", ("2001:db8::1", 443, "2001:db8::1")),
        ("2001:db8::1", ("2001:db8::1", 443, "2001:db8::1")),
        ("bücher.example:443", ("xn--bcher-kva.example", 443, "xn--bcher-kva.example")),
        ("https://a.example", ("a.example", 443, "a.example")),
        ("https://a.example/", ("a.example", 443, "a.example")),
        ("SMTP://Mail.example", ("mail.example", 25, "mail.example", "smtp")),
        ("imap://[::1]:1143=a.example", ("::1", 1143, "a.example", "imap")),
        ("postgres://db.example", ("db.example", 5432, "db.example", "postgres")),
    ],
)
def test_endpoints_are_read(text: str, endpoint: tuple[str, int, str] | tuple[str, int, str, str]) -> None:
    assert Endpoint.parse(text) == Endpoint(*endpoint)


@pytest.mark.parametrize(
    ("text", "protocol", "host", "port", "server_name"),
    [
        ("tls://a.example", "tls", "a.example", 443, "a.example"),
        ("https://a.example/", "tls", "a.example", 443, "a.example"),
        ("HTTPS://A.Example:8443", "tls", "a.example", 8443, "a.example"),
        ("smtp://mail.example:587", "smtp", "mail.example", 587, "mail.example"),
        ("smtp://mail.example", "smtp", "mail.example", 25, "mail.example"),
        ("imap://[2001:db8::1]", "imap", "2001:db8::1", 143, "2001:db8::1"),
        ("pop3://2001:db8::1 = mail.example", "pop3", "2001:db8::1", 110, "mail.example"),
        ("ldap://192.0.2.1=ldap.example", "ldap", "192.0.2.1", 389, "ldap.example"),
        ("postgres://db.example", "postgres", "db.example", 5432, "db.example"),
        ("postgresql://db.example:5433/", "postgres", "db.example", 5433, "db.example"),
        ("mysql://db.example", "mysql", "db.example", 3306, "db.example"),
        ("mariadb://db.example", "mysql", "db.example", 3306, "db.example"),
        ("imaps://mail.example", "tls", "mail.example", 993, "mail.example"),
    ],
)
def test_a_scheme_tells_the_protocol_and_the_usual_port(
    text: str, protocol: str, host: str, port: int, server_name: str
) -> None:
    assert Endpoint.parse(text) == Endpoint(host, port, server_name, protocol)


def test_every_protocol_can_be_written_and_spoken() -> None:
    assert {protocol for protocol, _ in SCHEMES.values()} == PROTOCOLS | {"tls"}
    assert all(SCHEMES[protocol][0] == protocol for protocol in PROTOCOLS)


@pytest.mark.parametrize(
    "text",
    ["", ":443", "a.example:", "a.example:0", "a.example:65536", "a.example:9999999", "a.example:x", "a b",
     "[::1", "[::1]443x", "[::1]x:443", "a.example=", "=a.example", "*.example:443",
     "ftp://a.example", "://a.example", "smtp://", "smtp://:25", "https://a.example/login", "a.example/",
     "smtp://imap://a.example", "x@a.example", "postgres://user:word@db.example"],
)  # fmt: skip
def test_malformed_endpoints_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        Endpoint.parse(text)


def test_a_password_is_not_repeated() -> None:
    (rejected,) = parse_endpoints(["postgres://user:word@db.example"], "list")
    assert "word@" not in repr(rejected)


hosts = st.sampled_from(["a.example", "192.0.2.1", "2001:db8::1", "_x.example"])
protocols = st.sampled_from(["tls", *sorted(PROTOCOLS)])


@given(st.builds(Endpoint, hosts, st.integers(1, 65535), hosts, protocols))
def test_an_endpoint_is_read_as_it_is_written(endpoint: Endpoint) -> None:
    assert Endpoint.parse(str(endpoint)) == endpoint


@given(st.text())
def test_any_line_is_an_endpoint_or_set_aside(text: str) -> None:
    assert len(list(parse_endpoints([text], "list"))) <= 1
