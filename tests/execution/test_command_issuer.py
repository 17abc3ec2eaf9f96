"""Any program as an issuer: OpenSSL's own, and bad ones."""

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from certforecast.clock import system_clock
from certforecast.errors import IssuanceError
from certforecast.execution.checks import check_pair
from certforecast.execution.issuers.command import CommandIssuer, CommandIssuerSettings
from certforecast.execution.staging import Staging, new_key

NAMES = ["www.site.test", "192.0.2.7"]


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    made = Staging(tmp_path / "staging" / "a")
    made.prepare()
    return made


def issuer(tmp_path: Path, *command: str, **options: Any) -> CommandIssuer:
    section = CommandIssuerSettings(
        kind="command", command=list(command), directory=tmp_path / "issued", **options
    )
    made = section.open(system_clock)
    assert isinstance(made, CommandIssuer)
    return made


def python(tmp_path: Path, body: str, **options: Any) -> CommandIssuer:
    return issuer(tmp_path, sys.executable, "-c", body, **options)


@pytest.fixture
def openssl(tmp_path: Path) -> list[str]:
    """Make a root, and give the command that signs with it; each run leaves a line."""
    ca = tmp_path / "ca"
    ca.mkdir()
    (ca / "key.pem").write_bytes(new_key())
    command = ["openssl", "req", "-x509", "-new", "-key", f"{ca}/key.pem", "-subj", "/CN=root", "-days", "9"]
    command += ["-addext", "keyUsage=critical,keyCertSign", "-out", f"{ca}/root.pem"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    script = tmp_path / "sign"
    script.write_text(
        f"""#!/bin/sh
        secret="${{CERTFORECAST_SEALING_KEY:-none}}"
        echo "$1 $CERTFORECAST_ORDER $CERTFORECAST_NAMES $secret" >> {tmp_path}/runs
        cmp -s "$2" - || exit 3   # the file and the standard input are the same
        openssl x509 -req -in "$2" -CA {ca}/root.pem -CAkey {ca}/key.pem -days 5 -copy_extensions copyall
        cat {ca}/root.pem
        """
    )
    script.chmod(0o755)
    return [str(script), "{order}", "{csr}"]


def test_openssl_issues_once_an_order(
    openssl: list[str], staging: Staging, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    csr = staging.csr(NAMES)
    monkeypatch.setenv("CERTFORECAST_SEALING_KEY", "secret-of-ours")
    made = issuer(tmp_path, *openssl, trust_file=tmp_path / "ca" / "root.pem")
    order = json.loads(json.dumps(made.order(csr)))
    assert not (tmp_path / "runs").exists(), "an order runs nothing"
    chain = made.issue(order, csr)
    assert issuer(tmp_path, *openssl).issue(order, csr) == chain
    (run,) = (tmp_path / "runs").read_text().splitlines()
    assert run == f"{order['order']} {order['order']} {' '.join(NAMES)} none"
    roots = (tmp_path / "ca" / "root.pem").read_bytes()
    monkeypatch.delenv("CERTFORECAST_SEALING_KEY")
    check_pair(chain, staging.key, names=NAMES, roots_pem=roots, now=datetime.now(UTC))
    assert chain.count(b"BEGIN CERTIFICATE") == 1, "without the root"
    assert made.issue(made.order(csr), csr) != chain, "another order"


def test_a_failed_run_is_run_again_with_the_same_request(staging: Staging, tmp_path: Path) -> None:
    body = f"""
import os, pathlib, sys
seen = pathlib.Path({str(tmp_path / "seen")!r})
before = seen.read_text() if seen.exists() else None
now = os.environ["CERTFORECAST_ORDER"] + sys.stdin.read()
seen.write_text(now)
sys.exit("first time" if before is None else "same" if before == now else "other")
"""
    made = python(tmp_path, body)
    order = made.order(staging.csr(NAMES))
    for words in ("first time", "same"):
        with pytest.raises(IssuanceError, match=words) as caught:
            made.issue(order, staging.csr(NAMES))
        assert caught.value.code == "command"


@pytest.mark.parametrize(
    ("body", "words", "code"),
    [
        ("print('hello')", "no certificate in PEM", "badCertificate"),
        ("", "no certificate in PEM", "badCertificate"),
        ("import sys; sys.stdout.write('x' * (5 << 20))", "which is no chain", "badCertificate"),
        ("import sys; sys.exit('no quota left')", "no quota left", "command"),
    ],
)
def test_what_is_no_chain_is_refused_and_not_kept(
    staging: Staging, tmp_path: Path, body: str, words: str, code: str
) -> None:
    made, csr = python(tmp_path, body), staging.csr(NAMES)
    with pytest.raises(IssuanceError, match=words) as caught:
        made.issue(made.order(csr), csr)
    assert caught.value.code == code
    assert not list((tmp_path / "issued").rglob("chain.pem"))


def test_a_certificate_for_another_key_is_refused(
    openssl: list[str], staging: Staging, tmp_path: Path
) -> None:
    other = Staging(tmp_path / "staging" / "b")
    other.prepare()
    made, csr = issuer(tmp_path, *openssl), other.csr(NAMES)
    (tmp_path / "other.pem").write_bytes(made.issue(made.order(csr), csr))
    stuck = issuer(tmp_path, "cat", str(tmp_path / "other.pem"))
    mine = staging.csr(NAMES)
    with pytest.raises(IssuanceError, match="another key"):
        stuck.issue(stuck.order(mine), mine)


def test_a_program_that_hangs_is_ended_with_all_it_started(staging: Staging, tmp_path: Path) -> None:
    child = tmp_path / "child"
    made = issuer(
        tmp_path, "sh", "-c", f"sleep 300 </dev/null >/dev/null 2>&1 & echo $! > {child}; wait", timeout_s=1.0
    )
    csr = staging.csr(NAMES)
    with pytest.raises(IssuanceError, match="no end after 1 s") as caught:
        made.issue(made.order(csr), csr)
    assert caught.value.code == "timeout"
    pid, deadline = int(child.read_text()), time.monotonic() + 20
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_key_in_what_it_wrote_is_told_on(staging: Staging, tmp_path: Path) -> None:
    key = new_key().decode()
    made, csr = python(tmp_path, f"import sys; sys.exit({key!r})"), staging.csr(NAMES)
    with pytest.raises(IssuanceError) as caught:
        made.issue(made.order(csr), csr)
    for line in key.splitlines()[1:-1]:
        assert line not in str(caught.value)


def test_what_cannot_be_run_or_kept_is_told(staging: Staging, tmp_path: Path) -> None:
    csr = staging.csr(NAMES)
    missing = issuer(tmp_path, "no-such-program-anywhere")
    with pytest.raises(IssuanceError, match="cannot be run") as caught:
        missing.issue(missing.order(csr), csr)
    assert caught.value.code == "config"
    (tmp_path / "issued-file").write_text("")
    blocked = CommandIssuer(
        CommandIssuerSettings(kind="command", command=["cat"], directory=tmp_path / "issued-file")
    )
    with pytest.raises(IssuanceError, match="could be issued twice"):
        blocked.issue(blocked.order(csr), csr)
    for rubbish in ({}, {"order": "../../x"}, {"order": 4}):
        with pytest.raises(IssuanceError, match="no order of this issuer"):
            missing.issue(rubbish, csr)
    with pytest.raises(IssuanceError, match="not a signing request"):
        missing.order(b"rubbish")
