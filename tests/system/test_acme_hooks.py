"""Programs that write records: called as the real certbot and the real lego call them, in the same run."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import dns.query
import dns.update
import pytest

from certforecast.errors import IssuanceError
from certforecast.execution.issuers.acme.issuer import AcmeIssuer
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.staging import Staging
from tests.system.json_server import Answered, json_server
from tests.system.named import KEY_NAME, Named, named
from tests.system.pebble import Pebble, pebble

pytestmark = pytest.mark.system

ZONES = {
    "site.test": "",
    "acme.test": "",
    "first.test": "_acme-challenge CNAME 1234.acme.test.\n",
    "second.test": "_acme-challenge CNAME second.acme.test.\n",
}
NAMES = ("hook.site.test", "*.hook.site.test", "other.site.test")

HOOK = """#!{python}
import base64, hashlib, json, os, sys
import dns.query, dns.tsig, dns.update
arguments = sys.argv[1:]
given = {{name: value for name, value in os.environ.items() if name.startswith("CERTBOT_")}}
with open({log!r}, "a") as file:
    file.write(json.dumps([arguments, given]) + "\\n")
if arguments[0] in ("auth", "undo"):
    name, value = "_acme-challenge." + given["CERTBOT_DOMAIN"] + ".", given["CERTBOT_VALIDATION"]
elif arguments[1] == "--":
    name = "_acme-challenge." + arguments[2].rstrip(".") + "."
    value = base64.urlsafe_b64encode(hashlib.sha256(arguments[4].encode()).digest()).decode().rstrip("=")
else:
    name, value = arguments[1:]
key = dns.tsig.Key({key!r}, {secret!r}, "hmac-sha256")
update = dns.update.UpdateMessage("site.test.", keyring=key)
if arguments[0] in ("auth", "present"):
    update.add(name, 60, "TXT", value)
else:
    update.delete(name, "TXT", value)
assert dns.query.tcp(update, "127.0.0.1", port={port}, timeout=5).rcode() == 0
print("  written by the hook ")
"""


@pytest.fixture(scope="module")
def bind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    with named(tmp_path_factory.mktemp("bind") / "home", ZONES) as running:
        yield running


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, bind: Named) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), nonce_reject=0, resolver=bind.address) as running:
        yield running


class Hook:
    """A program that writes records, and what it was called with."""

    def __init__(self, home: Path, bind: Named) -> None:
        self.log, self.program = home / "calls", home / "hook"
        self.program.write_text(
            HOOK.format(
                python=sys.executable, log=str(self.log), key=KEY_NAME, secret=bind.secret, port=bind.port
            )
        )
        self.program.chmod(0o755)

    def calls(self) -> list[tuple[list[str], dict[str, str]]]:
        """Give what it was called with, and forget it. Secrets of challenges are shown by their length."""
        lines = self.log.read_text().splitlines()
        self.log.unlink()
        shown = []
        for line in lines:
            arguments, given = json.loads(line)
            for name in ("CERTBOT_ALL_DOMAINS", "CERTBOT_ALL_IDENTIFIERS"):
                if name in given:
                    given[name] = sorted(given[name].split(","))
            if "CERTBOT_VALIDATION" in given:
                given["CERTBOT_VALIDATION"] = len(given["CERTBOT_VALIDATION"])
            given = dict(sorted(given.items()))
            shown.append(([str(len(one)) if len(one) > 40 else one for one in arguments], given))
        return shown


@pytest.fixture
def hook(tmp_path: Path, bind: Named) -> Hook:
    return Hook(tmp_path, bind)


def issue(server: Pebble, folder: Path, dns_table: dict[str, Any], *names: str) -> bytes:
    staging = Staging(folder / "staging")
    staging.prepare()
    csr = staging.csr(names)
    acme = AcmeIssuer(AcmeIssuerSettings(**server.section(challenge="dns-01", dns=dns_table)))
    return acme.issue(acme.order(csr), csr)


def failure(server: Pebble, folder: Path, dns_table: dict[str, Any], *names: str) -> IssuanceError:
    with pytest.raises(IssuanceError) as caught:
        issue(server, folder, dns_table, *names)
    return caught.value


def counted(calls: list[tuple[list[str], dict[str, str]]], field: str) -> list[Any]:
    return sorted(given.pop(field, None) or "" for _, given in calls)


def test_hooks_are_called_as_certbot_calls_them(
    server: Pebble, bind: Named, hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("certbot")), "certonly", "--manual"),
            *("--preferred-challenges", "dns", "--manual-auth-hook", f"{hook.program} auth"),
            *("--manual-cleanup-hook", f"{hook.program} undo", "--server", server.directory_url),
            *("--config-dir", str(tmp_path / "etc"), "--work-dir", str(tmp_path / "work")),
            *("--logs-dir", str(tmp_path / "log"), "--non-interactive", "--agree-tos"),
            *("--register-unsafely-without-email", *(f"--domains={name}" for name in NAMES)),
        ],
        env=os.environ | {"REQUESTS_CA_BUNDLE": str(server.ca_file)},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    theirs = hook.calls()
    monkeypatch.setenv("CERTBOT_TOKEN", "of some other challenge")
    table = {
        "provider": "certbot-hook",
        "auth_hook": [str(hook.program), "auth"],
        "cleanup_hook": [str(hook.program), "undo"],
        "resolver": bind.address,
        "nameservers": [bind.address],
    }
    assert issue(server, tmp_path, table, *NAMES)
    ours = hook.calls()
    assert bind.texts("_acme-challenge.hook.site.test") == []
    # The order of names is the server's: how many were left for which is not ours to compare.
    for field in ("CERTBOT_REMAINING_CHALLENGES", "CERTBOT_AUTH_OUTPUT"):
        assert counted(ours, field) == counted(theirs, field)
    assert sorted(map(json.dumps, ours)) == sorted(map(json.dumps, theirs))
    assert [arguments for arguments, _ in ours] == [["auth"]] * 3 + [["undo"]] * 3


@pytest.mark.parametrize("mode", ["", "RAW"])
def test_programs_are_called_as_lego_calls_them(
    server: Pebble, bind: Named, hook: Hook, tmp_path: Path, mode: str
) -> None:
    done = subprocess.run(
        [
            *("lego", "--server", server.directory_url, "--email", "ops@site.test", "--accept-tos"),
            *("--path", str(tmp_path / "lego"), "--dns", "exec", "--dns.disable-cp"),
            *("--dns.resolvers", bind.address, *(f"--domains={name}" for name in NAMES), "run"),
        ],
        env=os.environ
        | {
            "LEGO_CA_CERTIFICATES": str(server.ca_file),
            "EXEC_PATH": str(hook.program),
            "EXEC_MODE": mode,
            "EXEC_SEQUENCE_INTERVAL": "0",
            "EXEC_POLLING_INTERVAL": "1",
        },
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    theirs = hook.calls()
    table = {
        "provider": "lego-exec",
        "program": [str(hook.program)],
        "raw": mode == "RAW",
        "resolver": bind.address,
        "nameservers": [bind.address],
    }
    assert issue(server, tmp_path, table, *NAMES)
    assert sorted(hook.calls()) == sorted(theirs)
    assert bind.texts("_acme-challenge.hook.site.test") == []


def test_a_hook_that_fails_is_quoted(server: Pebble, bind: Named, tmp_path: Path) -> None:
    table = {
        "provider": "certbot-hook",
        "auth_hook": ["sh", "-c", "echo zone is locked; echo by ops >&2; exit 3"],
        "resolver": bind.address,
    }
    error = failure(server, tmp_path, table, "a.site.test")
    assert "ended with 3" in str(error)
    assert "zone is locked" in str(error)
    assert "by ops" in str(error)
    missing = failure(server, tmp_path, {**table, "auth_hook": ["/nowhere/hook"]}, "a.site.test")
    assert "/nowhere/hook" in str(missing)


def test_a_hook_that_hangs_is_ended_with_what_it_started(server: Pebble, bind: Named, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    table = {
        "provider": "lego-exec",
        "program": ["sh", "-c", f"sleep 300 & echo $! > {pid}; wait"],
        "resolver": bind.address,
        "hook_timeout_s": 1.0,
    }
    error = failure(server, tmp_path, table, "a.site.test")
    assert "no end after 1 s" in str(error)
    deadline = time.monotonic() + 20  # it was killed; on a busy machine it takes a moment to be gone
    while _lives(pid.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class AcmeDns:
    """A fake of acme-dns, as no real one is to be had here: its API in front of a real BIND.

    Like acme-dns it keeps the last two texts of an account.
    """

    def __init__(self, bind: Named) -> None:
        self.bind, self.texts, self.status = bind, list[str](), 200

    def answer(self, headers: Any, body: dict[str, str]) -> tuple[int, dict[str, str]]:
        if (headers["X-Api-User"], headers["X-Api-Key"]) != ("user", "not to be shown"):
            return 401, {"error": "forbidden"}
        if body["subdomain"] != "1234" or len(body["txt"]) != 43:
            return 400, {"error": "bad_txt"}
        self.texts = [*self.texts, body["txt"]][-2:]
        key = dns.tsig.Key(KEY_NAME, self.bind.secret, "hmac-sha256")
        update = dns.update.UpdateMessage("acme.test.", keyring=key)
        update.delete("1234.acme.test.", "TXT")
        for text in self.texts:
            update.add("1234.acme.test.", 1, "TXT", text)
        dns.query.tcp(update, "127.0.0.1", port=self.bind.port, timeout=5)
        return 200, {"txt": body["txt"]}


@pytest.fixture
def acme_dns(bind: Named) -> Iterator[str]:
    fake = AcmeDns(bind)

    def act(request: BaseHTTPRequestHandler, body: Any) -> Answered:
        return fake.answer(request.headers, body) if request.path == "/update" else (404, {})

    with json_server(act) as address:
        yield f"{address}/"


def test_acme_dns_is_sent_the_texts(server: Pebble, bind: Named, acme_dns: str, tmp_path: Path) -> None:
    file = tmp_path / "accounts.json"
    account = {
        "username": "user",
        "password": "not to be shown",
        "subdomain": "1234",
        "fulldomain": "1234.acme.test",
        "allowfrom": [],
    }

    def table(**changes: Any) -> dict[str, Any]:
        shared = {**account, **changes}
        file.write_text(json.dumps({"first.test": shared, "b.site.test": shared}))
        file.chmod(0o600)
        return {
            "provider": "acme-dns",
            "accounts_file": file,
            "url": acme_dns,
            "resolver": bind.address,
            "nameservers": [bind.address],
        }

    assert issue(server, tmp_path, table(), "first.test", "*.first.test")
    forbidden = failure(server, tmp_path, table(username="other"), "first.test")
    assert "answered 401" in str(forbidden)
    unaliased = failure(server, tmp_path, table(), "b.site.test")
    assert "_acme-challenge.b.site.test. CNAME 1234.acme.test." in str(unaliased)
    assert "no account for c.site.test" in str(failure(server, tmp_path, table(), "c.site.test"))
    lacking = failure(server, tmp_path, table(subdomain=None), "first.test")
    assert "first.test.subdomain" in str(lacking)
    for error in (forbidden, unaliased, lacking):
        assert "not to be shown" not in str(error)


def test_a_dns_plugin_of_certbot_writes_records(server: Pebble, bind: Named, tmp_path: Path) -> None:
    credentials = tmp_path / "rfc2136.ini"

    def table(secret: str, **options: Any) -> dict[str, Any]:
        credentials.write_text(
            f"dns_rfc2136_server = 127.0.0.1\ndns_rfc2136_port = {bind.port}\n"
            f"dns_rfc2136_name = {KEY_NAME}\ndns_rfc2136_secret = {secret}\n"
            "dns_rfc2136_algorithm = HMAC-SHA256\n"
        )
        credentials.chmod(0o600)
        return {
            "provider": "certbot-plugin",
            "plugin": "dns-rfc2136",
            "options": {"credentials": str(credentials), **options},
            "resolver": bind.address,
            "nameservers": [bind.address],
        }

    good = table(bind.secret)
    assert issue(server, tmp_path, good, "plugin.site.test", "*.plugin.site.test", "second.test")
    assert bind.texts("_acme-challenge.plugin.site.test") == bind.texts("second.acme.test") == []
    wrong = table("bm90IHRoaXMgc2VjcmV0IG9uZSwgYnV0IGFub3RoZXI=")
    assert "signature we sent" in str(failure(server, tmp_path, wrong, "plugin.site.test"))
    strange = str(failure(server, tmp_path, table(bind.secret, password="x"), "plugin.site.test"))
    assert "no option 'password', but credentials, propagation_seconds" in strange
    assert "file of credentials" in str(failure(server, tmp_path, {**good, "options": {}}, "a.site.test"))
    absent = str(failure(server, tmp_path, {**good, "plugin": "dns-nobody"}, "plugin.site.test"))
    assert "install certbot-dns-nobody" in absent
    assert "dns-rfc2136" in absent
    assert "no DNS plugin" in str(failure(server, tmp_path, {**good, "plugin": "webroot"}, "a.site.test"))
