"""Names: one spelling for each."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.history.names import is_wildcard, name_set_id, normalise_name, registered_domains


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("WWW.Example.ORG.", "www.example.org"),
        ("*.Example.org", "*.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.BÜCHER.example", "*.xn--bcher-kva.example"),
        ("faß.example", "xn--fa-hia.example"),
        ("_sip._tcp.example.org", "_sip._tcp.example.org"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:0DB8:0000::0001", "2001:db8::1"),
        (" example.org ", "example.org"),
    ],
)
def test_names_have_one_spelling(written: str, kept: str) -> None:
    assert normalise_name(written) == kept


@pytest.mark.parametrize(
    "written",
    [
        "", ".", "a..b", "-a.example", "a@example.org", "two words", "a" * 64 + ".example", "a." * 127 + "ab",
        "urn:node:a", "https://example.org", "example.org/path", "fe80::1%eth0", "\ud800.example",
    ],
)  # fmt: skip
def test_what_is_no_name_is_refused(written: str) -> None:
    with pytest.raises(InputError):
        normalise_name(written)


@given(st.text() | st.from_regex(r"(\*\.)?[A-Za-zäßéЖ0-9_.-]{1,30}", fullmatch=True))
@example("１.2.3.4")
@example("a。b")
@example("*.ä。")
def test_normalising_twice_changes_nothing(written: str) -> None:
    try:
        once = normalise_name(written)
    except InputError:
        return
    assert once.isascii()
    assert normalise_name(once) == once


@given(st.sets(st.sampled_from(["a.example", "b.example", "*.c.example", "192.0.2.1"]), min_size=1))
def test_the_identity_of_a_set_of_names_has_no_order(names: set[str]) -> None:
    assert name_set_id(sorted(names)) == name_set_id(sorted(names, reverse=True))
    assert len(name_set_id(names)) == 32


def test_different_sets_have_different_identities() -> None:
    assert name_set_id(["a.example", "b.example"]) != name_set_id(["a.example"])
    assert name_set_id(["a.example"]) == "b8e7453371a024daae06f3164492c0af"


def test_registered_domains_follow_the_public_suffix_list() -> None:
    names = ["a.b.example.co.uk", "*.example.co.uk", "example.org", "localhost", "com", "192.0.2.1"]
    assert registered_domains(names) == ["example.co.uk", "example.org"]
    assert registered_domains(["me.github.io"]) == ["me.github.io"]


def test_wildcards_are_told_apart() -> None:
    assert is_wildcard("*.example.org")
    assert not is_wildcard("www.example.org")
