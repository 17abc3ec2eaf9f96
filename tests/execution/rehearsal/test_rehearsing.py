"""Many rehearsals at once: one that breaks or hangs stops no other; and what is stored of them."""

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from certforecast.errors import InputError
from certforecast.execution.rehearsal import CheckResult, Finding, Rehearsal, registry, rehearse
from certforecast.execution.rehearsal.recording import rows
from certforecast.execution.rehearsal.subject import Subject
from certforecast.features import features
from certforecast.renewals import renewals
from certforecast.settings import Settings
from tests.execution.rehearsal.parts import NOW, acme, candidate, only
from tests.timeline import Timeline, day


def test_what_breaks_or_hangs_is_a_finding_and_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = threading.Event()

    def check(subject: Subject) -> Iterator[Finding]:
        if subject.candidate.name == "hangs.test":
            never.wait()
        if subject.candidate.name == "breaks.test":
            raise ZeroDivisionError("of all things")
        yield from ()

    monkeypatch.setattr(registry, "CHECKS", {"one": check})
    settings = Settings(home=tmp_path, rehearsal={"timeout_s": 0.3, "workers": 2})
    names = ["hangs.test", "breaks.test", "a.test", "b.test", "c.test"]
    done = {made.name: made for _, made in rehearse([candidate(name) for name in names], settings)}
    assert done.keys() == set(names)
    assert [finding.code for _, finding in done["hangs.test"].findings] == ["timeout"]
    assert [finding.message for _, finding in done["breaks.test"].findings] == [
        "ZeroDivisionError: of all things"
    ]
    assert not any(done[f"{name}.test"].findings for name in "abc")
    never.set()


def test_no_more_than_so_many_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()
    both = threading.Barrier(2, timeout=10)

    def check(_: Subject) -> Iterator[Finding]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait()  # two are there at once, or this fails
        with lock:
            running -= 1
        yield from ()

    monkeypatch.setattr(registry, "CHECKS", {"one": check})
    settings = Settings(home=tmp_path, rehearsal={"workers": 2})
    done = list(rehearse([candidate(f"{number}.test") for number in range(6)], settings))
    assert not any(made.findings for _, made in done)
    assert most == 2


def test_a_check_that_is_not_there_cannot_be_left_out(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, rehearsal={"skip": ["caa", "weather"]})
    with pytest.raises(InputError, match="no check weather"):
        list(rehearse([candidate("a.test")], settings))


def test_an_authority_that_is_down_is_found_once(tmp_path: Path) -> None:
    settings = acme(tmp_path, "127.0.0.1:1")
    result = only("account", candidate("a.test"), settings)
    assert [finding.code for finding in result.findings] == ["unreachable"]
    assert only("clock", candidate("a.test"), settings).status == "left_out"


def test_without_a_staging_directory_there_is_no_order(tmp_path: Path) -> None:
    result = only("order", candidate("a.test"), acme(tmp_path, "127.0.0.1:1"))
    assert result.status == "left_out"
    assert "staging_directory_url" in result.detail


def made(*findings: tuple[str, Finding], at: datetime = NOW) -> Rehearsal:
    checks = [CheckResult(check=check, status="found", findings=(found,)) for check, found in findings]
    passed = CheckResult(check="disk", status="passed")
    left = CheckResult(check="order", status="left_out", detail="no staging")
    return Rehearsal(
        name="a.test",
        lineage="aa" * 32,
        fingerprint="bb" * 32,
        host="a.test",
        at=at,
        checks=(*checks, passed, left),
    )


def test_findings_of_one_kind_and_name_are_one_event() -> None:
    events = rows(
        made(
            ("challenge", Finding(code="connection", message="m1", host="a.test")),
            ("challenge", Finding(code="connection", message="m2", host="b.test")),
            ("order", Finding(code="connection", message="m3")),
            ("files", Finding(code="permission", message="m4")),
        ),
        "certforecast",
    ).events
    assert {(event["code"], event["host"]): event["detail"] for event in events} == {
        ("connection", "a.test"): "challenge: m1; order: m3",
        ("connection", "b.test"): "challenge: m2",
        ("permission", "a.test"): "files: m4",
    }
    (event,) = rows(made(), "certforecast").events
    assert (event["code"], event["detail"]) == (None, "1 checks passed, without order")


def test_a_rehearsal_is_no_intervention_and_a_feature() -> None:
    timeline = Timeline()
    key = timeline.certificate("a", "a.test", 0)
    with timeline.history() as history:
        found = made(("disk", Finding(code="disk", message="full")), at=day(30))
        history.append(
            rows(found.model_copy(update={"fingerprint": key}), "certforecast"), source="rehearsal"
        )
        assert history.quarantine().empty
        (row,) = renewals(history, day(120.5)).to_dict("records")
        assert (row["outcome"], row["intervention"]) == ("retired", False)
        (known,) = features(history, day(40)).to_dict("records")
        assert (known["rehearsal_failed"], known["days_since_rehearsal"]) == (1.0, 10.0)
        (before,) = features(history, day(29)).to_dict("records")
        assert before["rehearsal_failed"] != before["rehearsal_failed"]  # not known yet
