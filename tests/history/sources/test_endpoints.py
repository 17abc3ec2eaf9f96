"""Endpoints as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.history.sources.endpoints import Endpoint, parse_endpoints


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
    ],
)
def test_endpoints_are_read(text: str, endpoint: tuple[str, int, str]) -> None:
    assert Endpoint.parse(text) == Endpoint(*endpoint)


@pytest.mark.parametrize(
    "text",
    ["", ":443", "a.example:", "a.example:0", "a.example:65536", "a.example:9999999", "a.example:x", "a b",
     "[::1", "[::1]443x", "[::1]x:443", "a.example=", "=a.example", "*.example:443", "https://a.example"],
)  # fmt: skip
def test_malformed_endpoints_are_refused(text: str) -> None:
    with pytest.raises(InputError):
        Endpoint.parse(text)


hosts = st.sampled_from(["a.example", "192.0.2.1", "2001:db8::1", "_x.example"])


@given(st.builds(Endpoint, hosts, st.integers(1, 65535), hosts))
def test_an_endpoint_is_read_as_it_is_written(endpoint: Endpoint) -> None:
    assert Endpoint.parse(str(endpoint)) == endpoint


@given(st.text())
def test_any_line_is_an_endpoint_or_set_aside(text: str) -> None:
    assert len(list(parse_endpoints([text], "list"))) <= 1
