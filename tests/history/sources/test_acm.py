"""What ACM's API may answer: described certificates in every state, and refusals.

The answers follow the API's model in botocore, which checks them (`Stubber`). moto's server, which plays
ACM in ``tests/system/test_source_acm.py``, knows neither failed renewals nor what filters do.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import SourceError
from certforecast.history.schema import EVENTS, HOSTS
from certforecast.history.sources import Batch
from certforecast.history.sources.acm import AcmSource
from certforecast.history.sources.acm_descriptions import events, first_known, host
from certforecast.history.validation import from_rows
from certforecast.history.x509 import fingerprint
from tests.certificates import START, certificate, der, pem
from tests.history.sources.reading import read

NOW = START + timedelta(days=60)
ARN = "arn:aws:acm:eu-west-1:123456789012:certificate/0a1b"
ROW = {"lineage": "0a1b", "host": "a.example", "actor": "acm", "source": "acm"}


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def detail(**changes: Any) -> dict[str, Any]:
    """Describe a certificate as ACM does; None takes a field away."""
    fields = {
        "CertificateArn": ARN,
        "DomainName": "*.a.example",
        "SubjectAlternativeNames": ["*.a.example", "A.example"],
        "Serial": "00:01",
        "Issuer": "Amazon",
        "CreatedAt": day(0),
        "IssuedAt": day(1),
        "NotBefore": day(0),
        "NotAfter": day(90),
        "Status": "ISSUED",
        "Type": "AMAZON_ISSUED",
        "RenewalEligibility": "INELIGIBLE",
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def told(**changes: Any) -> dict[str, dict[str, Any]]:
    """Give the events of a description, by kind."""
    rows = list(events(detail(**changes), ARN, "acm", NOW))
    assert from_rows(EVENTS, rows, [])[2] == []
    by_kind = {row["kind"]: row for row in rows}
    assert len(by_kind) == len(rows)
    return by_kind


# -- descriptions -------------------------------------------------------------------------------


def test_an_issued_certificate_was_ordered_and_issued() -> None:
    rows = told()
    assert set(rows) == {"order_created", "issued"}
    times = {"at": day(1), "known_at": day(1)}
    assert rows["issued"] == {
        **ROW,
        **times,
        "kind": "issued",
        "code": None,
        "detail": None,
        "fingerprint": None,
    }
    assert rows["order_created"]["at"] == day(0)


def test_an_imported_certificate_was_put_in_place() -> None:
    rows = told(Type="IMPORTED", CreatedAt=day(5), ImportedAt=day(5), IssuedAt=None)
    assert set(rows) == {"staged"}
    assert rows["staged"]["at"] == day(5)


@pytest.mark.parametrize(
    ("reason", "code"), [("CAA_ERROR", "caa"), ("SLR_NOT_FOUND", "SLR_NOT_FOUND"), (None, None)]
)
def test_a_failed_request_is_known_from_now(reason: str | None, code: str | None) -> None:
    row = told(Status="FAILED", FailureReason=reason, IssuedAt=None)["order_failed"]
    assert (row["at"], row["known_at"]) == (day(0), NOW)
    assert (row["code"], row["detail"]) == (code, reason)


def test_a_validation_times_out_after_three_days() -> None:
    domains = [{"DomainName": "a.example", "ValidationStatus": "PENDING_VALIDATION"}]
    domains[0]["ValidationMethod"] = "DNS"
    row = told(Status="VALIDATION_TIMED_OUT", IssuedAt=None, DomainValidationOptions=domains)["order_failed"]
    assert (row["at"], row["known_at"], row["code"]) == (day(3), day(3), "dns")


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("KEY_COMPROMISE", "keyCompromise"),
        ("SUPERCEDED", "superseded"),
        ("A_A_COMPROMISE", "aACompromise"),
        (None, None),
    ],
)
def test_a_revocation_has_the_reason_of_rfc_5280(reason: str | None, code: str | None) -> None:
    row = told(Status="REVOKED", RevokedAt=day(9), RevocationReason=reason)["revoked"]
    assert (row["at"], row["code"]) == (day(9), code)


def test_a_renewal_that_waits_for_validation_names_the_domains() -> None:
    domains = [
        {"DomainName": "a.example", "ValidationStatus": "SUCCESS", "ValidationMethod": "DNS"},
        {"DomainName": "b.example", "ValidationStatus": "PENDING_VALIDATION", "ValidationMethod": "DNS"},
    ]
    renewal = {"RenewalStatus": "PENDING_VALIDATION", "DomainValidationOptions": domains}
    row = told(RenewalSummary={**renewal, "UpdatedAt": day(30)})["challenge_failed"]
    assert (row["at"], row["known_at"], row["code"]) == (day(30), day(30), "dns")
    assert row["detail"] == "renewal PENDING_VALIDATION: b.example"


def test_a_failed_renewal_has_its_reason() -> None:
    renewal = {"RenewalStatus": "FAILED", "RenewalStatusReason": "DOMAIN_VALIDATION_DENIED"}
    row = told(RenewalSummary={**renewal, "UpdatedAt": day(31)})["order_failed"]
    assert (row["at"], row["code"]) == (day(31), "unauthorized")
    assert row["detail"] == "renewal FAILED: DOMAIN_VALIDATION_DENIED"


def test_another_way_of_validation_is_a_changed_configuration() -> None:
    methods = {"From": "EMAIL", "To": "DNS"}
    update = {"RequestedAt": day(8), "DomainValidationMethodUpdateSummary": methods}
    row = told(UpdateSummary=update)["config_changed"]
    assert (row["at"], row["detail"]) == (day(8), "validation by DNS, not EMAIL")


def test_no_event_is_from_the_future() -> None:
    assert told(IssuedAt=NOW + timedelta(days=1))["issued"]["known_at"] == NOW


def test_a_host_tells_who_renews_it_and_where_it_is_used() -> None:
    balancer = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/1"
    used = [balancer, "arn:aws:cloudfront::123456789012:distribution/E1", "nonsense"]
    row = host(detail(InUseBy=used, RenewalEligibility="ELIGIBLE"), NOW)
    assert row == {
        "host": "a.example",
        "automation": "acm",
        "issuer": "Amazon",
        "installer": "cloudfront, elasticloadbalancing",
        "valid_from": NOW,
        "known_at": NOW,
    }
    assert host(detail(), NOW) is None, "neither in use nor renewed"


@pytest.mark.parametrize(
    ("changes", "looked", "known"),
    [
        ({}, None, day(1)),
        ({"Type": "IMPORTED", "IssuedAt": None, "ImportedAt": day(4)}, None, day(4)),
        # Renewed: the first version's time is not this one's, the renewal's is.
        (
            {"NotBefore": day(40), "RenewalSummary": {"RenewalStatus": "SUCCESS", "UpdatedAt": day(41)}},
            None,
            day(41),
        ),
        (
            {"NotBefore": day(40), "RenewalSummary": {"RenewalStatus": "FAILED", "UpdatedAt": day(41)}},
            None,
            NOW,
        ),
        ({"NotBefore": day(40)}, None, NOW),
        # An import on day 2 did not show this version.
        ({}, day(2), NOW),
        ({"IssuedAt": NOW + timedelta(days=1)}, None, NOW),
        ({"NotBefore": None}, None, NOW),
    ],
)
def test_a_version_is_known_from_a_time_of_its_own(
    changes: dict[str, Any], looked: datetime | None, known: datetime
) -> None:
    assert first_known(detail(**changes), looked, NOW) == known


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [*detail(), "InUseBy", "RenewalSummary", "UpdateSummary", "DomainValidationOptions", "RevokedAt"]
STATES = st.sampled_from(["FAILED", "VALIDATION_TIMED_OUT", "SUCCESS", "PENDING_VALIDATION", "ISSUED"])
INNER = st.dictionaries(
    st.sampled_from(["RenewalStatus", "UpdatedAt", "RequestedAt", "DomainValidationOptions"]),
    anything | STATES,
)


@given(st.dictionaries(st.sampled_from(FIELDS), anything | STATES | INNER))
def test_nothing_described_crashes(description: dict[str, Any]) -> None:
    rows = list(events(description, ARN, "acm", NOW))
    assert all(row["at"] <= row["known_at"] <= NOW for row in rows)
    assert first_known(description, None, NOW) <= NOW
    place = host(description, NOW)
    _, _, rejected = from_rows(HOSTS, [place] if place else [], [])
    assert not rejected


# -- the API ------------------------------------------------------------------------------------

Answers = Callable[[Stubber], None]


def ask(monkeypatch: pytest.MonkeyPatch, answers: Answers, before: Batch | None = None) -> Batch:
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("acm", region_name="eu-west-1", **keys)
    monkeypatch.setattr(AcmSource, "_client", lambda self: client)
    marks = {mark.place: mark.state for mark in before.marks} if before else {}
    with Stubber(client) as stub:
        answers(stub)
        found = read(AcmSource("eu-west-1", clock=lambda: NOW), marks)
        stub.assert_no_pending_responses()
    return found


def listed(stub: Stubber, *summaries: dict[str, Any]) -> None:
    stub.add_response("list_certificates", {"CertificateSummaryList": list(summaries)})


def described(stub: Stubber, **changes: Any) -> None:
    stub.add_response("describe_certificate", {"Certificate": detail(**changes)}, {"CertificateArn": ARN})


def given_pem(stub: Stubber, text: str) -> None:
    stub.add_response("get_certificate", {"Certificate": text}, {"CertificateArn": ARN})


LEAF = certificate("a.example", "*.a.example")
SUMMARY = {"CertificateArn": ARN, "Status": "ISSUED"}


def whole(stub: Stubber, status: str = "ISSUED") -> None:
    listed(stub, {**SUMMARY, "Status": status})
    described(stub, Status=status)
    given_pem(stub, pem(LEAF).decode())


def test_all_key_types_and_pages_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(stub: Stubber) -> None:
        asked = {"Includes": ANY, "MaxItems": 100}
        page = {"CertificateSummaryList": [], "NextToken": "more"}
        stub.add_response("list_certificates", page, asked)
        stub.add_response("list_certificates", {"CertificateSummaryList": []}, {**asked, "NextToken": "more"})

    seen: list[dict[str, Any]] = []
    original = AcmSource._pages

    def spy(self: AcmSource, client: Any) -> Any:
        client.meta.events.register(
            "provide-client-params.acm.ListCertificates", lambda params, **_: seen.append(dict(params))
        )
        return original(self, client)

    monkeypatch.setattr(AcmSource, "_pages", spy)
    ask(monkeypatch, answers)
    assert len(seen) == 2
    assert {"RSA_1024", "RSA_4096", "EC_prime256v1"} <= set(seen[0]["Includes"]["keyTypes"])


def test_the_certificate_is_whole_and_known_from_its_issue(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ask(monkeypatch, whole)
    assert [(each.der, each.known_at, each.position) for each in found.wholes] == [(der(LEAF), day(1), ARN)]
    about = {row["kind"]: row["fingerprint"] for row in found.events}
    assert about == {"order_created": None, "issued": fingerprint(der(LEAF))}


@pytest.mark.parametrize(
    ("begins", "looked", "named"), [(0, None, {1, 60}), (30, None, {60}), (0, 20, {60}), (0, 61, set())]
)
def test_an_issue_names_the_present_version_only_if_it_can_be_its(
    begins: float, looked: float | None, named: set[float]
) -> None:
    renewal = {"RenewalStatus": "SUCCESS", "UpdatedAt": day(60), "DomainValidationOptions": []}
    about = detail(NotBefore=day(begins), RenewalSummary=renewal)
    rows = events(about, ARN, "acm", NOW, "f" * 64, None if looked is None else day(looked))
    assert {row["at"] for row in rows if row["fingerprint"]} == {day(number) for number in named}


def test_a_pending_certificate_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(stub: Stubber) -> None:
        listed(stub, {**SUMMARY, "Status": "PENDING_VALIDATION"})
        described(stub, Status="PENDING_VALIDATION", Serial=None, IssuedAt=None, NotBefore=None)

    found = ask(monkeypatch, answers)
    assert ([row["kind"] for row in found.events], found.wholes) == (["order_created"], [])


def test_a_settled_certificate_is_not_even_described_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask(monkeypatch, lambda stub: whole(stub, "EXPIRED"))
    second = ask(monkeypatch, lambda stub: listed(stub, {**SUMMARY, "Status": "EXPIRED"}), first)
    assert (len(first.wholes), second.skipped, second.wholes) == (1, 1, [])


def test_news_of_the_same_version_fetches_no_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(stub: Stubber) -> None:
        listed(stub, SUMMARY)
        described(stub, RenewalSummary=summary)

    renewal = {"RenewalStatus": "PENDING_AUTO_RENEWAL", "DomainValidationOptions": [{"DomainName": "a"}]}
    summary = {**renewal, "UpdatedAt": day(50)}
    second = ask(monkeypatch, answers, ask(monkeypatch, whole))
    assert second.wholes == []
    assert day(50) in [row["at"] for row in second.events]


def test_a_mark_of_something_else_is_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ask(monkeypatch, whole)
    for state in ("", "[]", "{", "[1,2,3,4]", "null"):
        first.marks[0] = type(first.marks[0])(ARN, state)
        assert len(ask(monkeypatch, whole, first).wholes) == 1


def test_one_that_cannot_be_read_is_rejected_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(stub: Stubber) -> None:
        listed(stub, {"Status": "ISSUED"}, SUMMARY, SUMMARY, SUMMARY)
        stub.add_client_error("describe_certificate", "ResourceNotFoundException", "gone")
        described(stub)
        given_pem(stub, "-----BEGIN CERTIFICATE-----\nAAAA")
        described(stub)
        given_pem(stub, "nothing")

    found = ask(monkeypatch, answers)
    assert [row.position for row in found.rejected] == ["eu-west-1#0", ARN, ARN, ARN]
    assert "gone" in found.rejected[1].reason
    assert (found.marks, found.wholes) == ([], [])


@pytest.mark.parametrize("code", ["ExpiredTokenException", "ThrottlingException", "InternalFailure"])
def test_a_refusal_of_everything_ends_the_import(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    def answers(stub: Stubber) -> None:
        listed(stub, SUMMARY)
        stub.add_client_error("describe_certificate", code, "no more")

    with pytest.raises(SourceError, match=r"eu-west-1 cannot be read: .*no more.*acm:DescribeCertificate"):
        ask(monkeypatch, answers)


@pytest.mark.parametrize(
    ("place", "options"),
    [
        ("not a region", {}),
        ("eu-west-1", {"profile": "no-such-profile"}),
        ("eu-west-1", {"endpoint_url": "nonsense"}),
    ],
)
def test_a_wrong_place_is_told(place: str, options: Any) -> None:
    with pytest.raises(SourceError, match=r"cannot be read.*check region, profile"):
        read(AcmSource(place, **options))
