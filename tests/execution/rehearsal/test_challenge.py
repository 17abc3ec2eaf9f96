"""The challenge's answer, fetched as an authority would."""

from pathlib import Path

import pytest

from tests.execution.rehearsal.parts import acme, candidate, nameserver, only, web


@pytest.mark.parametrize(
    ("redirect", "code", "words"),
    [
        (None, None, ""),
        ("/moved{path}", None, ""),
        ("{path}?moved", None, ""),
        ("http://a.test:nonsense{path}", "connection", "80 and 443 only"),
        ("http://127.0.0.1:1{path}", "connection", "80 and 443 only"),
        ("{path}", "connection", "more than 10 times"),
        ("http://gone.test/x", "dns", "gone.test, which has no address"),
    ],
)
def test_redirects_are_followed_as_an_authority_does(
    tmp_path: Path, redirect: str | None, code: str | None, words: str
) -> None:
    with nameserver({("a.test", "A"): ["127.0.0.1"]}) as server, web(tmp_path, redirect) as port:
        settings = acme(tmp_path, server, webroot=tmp_path, rehearsal={"http_port": port})
        result = only("challenge", candidate("a.test"), settings)
    assert [finding.code for finding in result.findings] == ([code] if code else [])
    assert all(words in finding.message for finding in result.findings)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_every_address_must_serve_the_challenge(tmp_path: Path) -> None:
    answers = {("a.test", "A"): ["127.0.0.1", "127.0.0.9"]}
    with nameserver(answers) as server, web(tmp_path) as port:
        settings = acme(tmp_path, server, webroot=tmp_path, rehearsal={"http_port": port})
        result = only("challenge", candidate("a.test", "*.a.test"), settings)
    assert [(finding.code, finding.host) for finding in result.findings] == [
        ("unsupported", "*.a.test"),
        ("connection", "a.test"),
    ]
    assert "127.0.0.9" in result.findings[1].message


def test_an_address_is_a_name_of_its_own(tmp_path: Path) -> None:
    with nameserver({}) as server, web(tmp_path) as port:
        settings = acme(tmp_path, server, webroot=tmp_path, rehearsal={"http_port": port})
        assert only("challenge", candidate("127.0.0.1"), settings).status == "passed"
        found = only("challenge", candidate("127.0.0.1", "127.0.0.9"), settings).findings
    assert [(finding.code, finding.host) for finding in found] == [("connection", "127.0.0.9")]


def test_without_a_web_root_the_answer_is_served_on_the_port(tmp_path: Path) -> None:
    with web(tmp_path) as port:
        pass  # it is free again
    with nameserver({("a.test", "A"): ["127.0.0.1"]}) as server:
        settings = acme(tmp_path, server, http_port=port, rehearsal={"http_port": port})
        assert only("challenge", candidate("a.test"), settings).status == "passed"
    with nameserver({("a.test", "A"): ["127.0.0.1"]}) as server, web(tmp_path) as port:
        settings = acme(tmp_path, server, http_port=port, rehearsal={"http_port": port})
        result = only("challenge", candidate("a.test"), settings)
    assert [finding.code for finding in result.findings] == ["http_port"]


def test_checks_of_other_challenges_are_left_out(tmp_path: Path) -> None:
    table = {"provider": "lego-exec", "program": ["true"]}
    with nameserver({}) as server:
        by_dns = acme(tmp_path, server, challenge="dns-01", dns=table)
        for check in ("challenge", "dns"):
            result = only(check, candidate("a.test"), by_dns)
            assert (result.status, "dns-01" in result.detail) == ("left_out", True)
        here = acme(tmp_path, server, challenge="dns-01", dns=table, rehearsal={"addresses": ["192.0.2.1"]})
        assert [found.code for found in only("dns", candidate("a.test"), here).findings] == ["dns"]
        by_http = acme(tmp_path, server)
        assert only("records", candidate("a.test"), by_http).status == "left_out"
