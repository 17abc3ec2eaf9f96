"""Distinguished names: OpenSSL's line and cryptography's string say the same."""

import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from certforecast.errors import InputError
from certforecast.history.dn import parse_oneline
from tests.certificates import certificate, pem

SHORT = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.STREET_ADDRESS: "street",
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.DOMAIN_COMPONENT: "DC",
    NameOID.SERIAL_NUMBER: "serialNumber",
}


def oneline(name: x509.Name) -> str:
    """Write a name as OpenSSL does with ``-nameopt oneline,-esc_msb,-space_eq``."""
    return ", ".join(
        " + ".join(f"{SHORT[attribute.oid]}={quoted(str(attribute.value))}" for attribute in part)
        for part in name.rdns
    )


def quoted(value: str) -> str:
    special = set(value) & set(',+"\\<>;') or value[:1] in ("#", " ") or value[-1:] == " "
    escaped = "".join(f"\\{letter}" if letter in '"\\' else letter for letter in value)
    return f'"{escaped}"' if special else escaped


values = st.text(st.sampled_from(' ,+"\\<>;#=aB1é:/.'), min_size=1, max_size=12)
attributes = st.builds(x509.NameAttribute, st.sampled_from(sorted(SHORT, key=str)), values)
parts = st.lists(attributes, min_size=1, max_size=2, unique_by=lambda attribute: attribute.oid)
names = st.lists(parts.map(x509.RelativeDistinguishedName), min_size=1, max_size=4).map(x509.Name)


@given(names)
def test_the_line_gives_the_string_of_the_same_name(name: x509.Name) -> None:
    parsed = parse_oneline(oneline(name))
    assert parsed.rfc4514 == name.rfc4514_string()
    for value, oid in (
        (parsed.organisation, NameOID.ORGANIZATION_NAME),
        (parsed.common_name, NameOID.COMMON_NAME),
    ):
        assert value == next((str(found.value) for found in name.get_attributes_for_oid(oid)), None)


@pytest.mark.system
def test_openssl_writes_what_is_read(tmp_path: Path) -> None:
    for number, value in enumerate(['a, "b" + c', "#x", " y ", "back\\slash", "é;<>", "x=y", "plain"]):
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, value),
                x509.NameAttribute(NameOID.EMAIL_ADDRESS, "ca@example.org"),
                x509.NameAttribute(NameOID.COMMON_NAME, value),
            ]
        )
        file = tmp_path / f"{number}.pem"
        file.write_bytes(pem(certificate("a.example", issuer=name)))
        for options in ("oneline,-esc_msb,-space_eq", "oneline"):
            printed = subprocess.run(
                ["openssl", "x509", "-in", file, "-noout", "-issuer", "-nameopt", options],
                check=True, capture_output=True, text=True, timeout=30,
            ).stdout  # fmt: skip
            parsed = parse_oneline(printed.removeprefix("issuer=").rstrip("\n"))
            assert parsed.rfc4514 == name.rfc4514_string()


def test_long_and_odd_values_are_no_obstacle() -> None:
    assert parse_oneline("C=USA, O=, CN=" + "x" * 80).rfc4514 == f"CN={'x' * 80},O=,C=USA"
    assert parse_oneline("1.2.3.4=a, CN=b").rfc4514 == "CN=b,1.2.3.4=a"


@pytest.mark.parametrize(
    "text", ["", "words", "C=US,", "C=US, ", 'O="open', "=x", "C=US; CN=a\\", "C=" + "x" * 9999]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not a distinguished name"):
        parse_oneline(text)


@given(st.text())
@example("CN=" + " " * 4000 + '"')
def test_any_text_gives_a_name_or_an_input_error(text: str) -> None:
    try:
        parse_oneline(text)
    except InputError:
        return
