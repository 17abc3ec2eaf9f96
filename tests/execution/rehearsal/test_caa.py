"""CAA records allow and forbid as RFC 8659 and RFC 8657 say."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certforecast.execution.rehearsal.caa import refusal, relevant
from certforecast.execution.rehearsal.resolving import Caa
from tests.execution.rehearsal.parts import acme, candidate, nameserver, only


def issue(value: str, tag: str = "issue", *, critical: bool = False) -> Caa:
    return Caa(critical, tag, value)


OURS = ["our-ca.test", "older-name.test"]
ACCOUNT = "https://ca.test/acct/7"


@pytest.mark.parametrize(
    ("records", "wildcard", "wrong"),
    [
        ([], False, None),
        ([issue("our-ca.test")], False, None),
        ([issue("OLDER-name.TEST ; x=y")], False, None),
        ([issue("other.test")], False, "other.test is allowed"),
        ([issue("other.test"), issue("our-ca.test")], False, None),
        ([issue(";")], False, "nobody is allowed"),
        ([issue("mailto:a@b.test", "iodef")], False, None),
        ([issue("other.test", "issuewild")], False, None),
        ([issue("our-ca.test"), issue(";", "issuewild")], True, "nobody is allowed"),
        ([issue("our-ca.test"), issue(";", "issuewild")], False, None),
        ([issue("other.test")], True, "other.test is allowed"),
        ([issue("our-ca.test"), issue("x", "tbs", critical=True)], False, "unknown kind 'tbs'"),
        ([issue("our-ca.test"), issue("x", "tbs")], False, None),
        ([issue("our-ca.test; validationmethods=dns-01")], False, "by dns-01 only"),
        ([issue("our-ca.test; validationmethods=dns-01,http-01")], False, None),
        ([issue(f"our-ca.test; accounturi={ACCOUNT}")], False, None),
        ([issue("our-ca.test; accounturi=https://ca.test/acct/8")], False, "for account https://ca.test/acct/8"),
        ([issue("our_ca.test")], False, "cannot be read"),
        ([issue("our-ca.test; no parameter")], False, "cannot be read"),
    ],
)  # fmt: skip
def test_caa_records_allow_and_forbid_as_the_rfc_says(
    records: list[Caa], wildcard: bool, wrong: str | None
) -> None:
    said = refusal(records, OURS, wildcard=wildcard, account=ACCOUNT)
    assert (said is None) == (wrong is None), said
    assert wrong is None or wrong in str(said)


def test_an_account_that_is_not_known_is_taken_to_be_the_one_meant() -> None:
    assert refusal([issue(f"our-ca.test; accounturi={ACCOUNT}")], OURS, wildcard=False) is None


labels = st.lists(st.sampled_from("abc"), min_size=1, max_size=5)


@given(labels, st.sets(st.integers(0, 4)))
def test_the_closest_ancestor_with_records_counts(parts: list[str], holders: set[int]) -> None:
    zones = {".".join(parts[start:]): [issue(f"{start}.test")] for start in holders if start < len(parts)}
    place, found = relevant("*." + ".".join(parts), lambda name: zones.get(name, []))
    starts = sorted(start for start in holders if start < len(parts))
    assert list(found) == ([issue(f"{starts[0]}.test")] if starts else [])
    assert place == ".".join(parts[starts[0] if starts else 0 :])


@given(st.text(max_size=40))
def test_whatever_a_record_holds_it_never_allows_by_accident(value: str) -> None:
    allowed = refusal([issue(value)], OURS, wildcard=False) is None
    assert not allowed or value.split(";")[0].strip(" \t").lower() in OURS


def test_caa_is_asked_at_every_name_and_above_it(tmp_path: Path) -> None:
    answers = {
        ("shop.test", "CAA"): ['0 issue "our-ca.test"', '0 issuewild "other.test"'],
        ("www.shop.test", "A"): ["192.0.2.1"],
    }
    with nameserver(answers, broken=["sick.test"]) as server:
        subject = candidate("www.shop.test", "*.shop.test", "free.test", "www.sick.test")
        result = only("caa", subject, acme(tmp_path, server))
    assert [(finding.host, finding.code) for finding in result.findings] == [
        ("*.shop.test", "caa"),
        ("www.sick.test", "dns"),
    ]


def test_the_challenge_of_the_settings_counts() -> None:
    records = [issue("our-ca.test; validationmethods=dns-01,tls-alpn-01")]
    assert refusal(records, OURS, wildcard=False, method="dns-01") is None
    assert "not http-01" in (refusal(records, OURS, wildcard=False) or "")
