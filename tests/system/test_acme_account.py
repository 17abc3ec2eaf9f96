"""Accounts at a real ACME server: bound, with a new key, given up; profiles, chains, revoking."""

import base64
import http.client
import json
import logging
import ssl
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from certforecast.errors import IssuanceError
from certforecast.execution.issuers.acme.account import Account
from certforecast.execution.issuers.acme.client import Client
from certforecast.execution.issuers.acme.issuer import AcmeIssuer
from certforecast.execution.issuers.acme.revoking import Reason
from certforecast.execution.issuers.acme.settings import AcmeIssuerSettings
from certforecast.execution.staging import Staging, signing_request
from tests.cli.conftest import Shell
from tests.system.pebble import Pebble, pebble

pytestmark = pytest.mark.system

KID, MAC_KEY = (
    "customer-1",
    base64.urlsafe_b64encode(b"a MAC key of thirty-two bytes...").decode().rstrip("="),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), alternates=2) as running:
        yield running


@pytest.fixture(scope="module")
def bound(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("bound"), eab={KID: MAC_KEY}) as running:
        yield running


@pytest.fixture
def section(server: Pebble, tmp_path: Path) -> Callable[..., AcmeIssuerSettings]:
    def make(server: Pebble = server, **changes: Any) -> AcmeIssuerSettings:
        account = {"account_key": tmp_path / "account" / "key.pem"}
        return AcmeIssuerSettings(**server.section(**{**account, **changes}))

    return make


def issue(settings: AcmeIssuerSettings, folder: Path, name: str = "a.site.test") -> bytes:
    staging = Staging(folder / "staging")
    staging.prepare()
    csr = staging.csr([name])
    acme = AcmeIssuer(settings)
    return acme.issue(acme.order(csr), csr)


def test_an_account_is_bound_to_a_customer(
    bound: Pebble, section: Callable[..., AcmeIssuerSettings], tmp_path: Path
) -> None:
    secret = tmp_path / "mac"
    secret.write_text(MAC_KEY + "\n")
    secret.chmod(0o600)
    eab = {"kid": KID, "hmac_file": secret}
    with pytest.raises(IssuanceError) as unbound:
        issue(section(bound), tmp_path)
    assert unbound.value.code == "externalAccountRequired"
    settings = section(bound, eab=eab)
    assert issue(settings, tmp_path)
    secret.unlink()
    assert issue(settings, tmp_path)  # of no more use: the account is there


@pytest.mark.parametrize(
    ("kid", "text", "mode", "code", "words"),
    [
        (KID, base64.urlsafe_b64encode(b"of somebody else").decode(), 0o600, "unauthorized", ""),
        ("stranger", MAC_KEY, 0o600, "unauthorized", ""),
        (KID, "a", 0o600, "config", "base64url"),
        (KID, "  \n", 0o600, "config", "holds no MAC key"),
        (KID, MAC_KEY, 0o644, "config", "open to every user"),
    ],
)
def test_a_bad_binding_is_named_and_the_secret_never_shown(
    bound: Pebble,
    section: Callable[..., AcmeIssuerSettings],
    tmp_path: Path,
    kid: str,
    text: str,
    mode: int,
    code: str,
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    secret = tmp_path / "mac"
    secret.write_text(text)
    secret.chmod(mode)
    settings = section(bound, eab={"kid": kid, "hmac_file": secret})
    with pytest.raises(IssuanceError) as caught, caplog.at_level(logging.DEBUG):
        issue(settings, tmp_path)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert len(text) < 16 or text not in f"{caught.value!r}{caplog.text}{settings!r}"


def test_a_mac_key_may_be_in_the_environment(
    bound: Pebble,
    section: Callable[..., AcmeIssuerSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MAC_KEY_OF_THE_TEST", MAC_KEY)
    assert issue(section(bound, eab={"kid": KID, "hmac_env": "MAC_KEY_OF_THE_TEST"}), tmp_path)


def test_the_preferred_chain_is_taken(
    server: Pebble,
    section: Callable[..., AcmeIssuerSettings],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    roots = [x509.load_pem_x509_certificate(server.root(number)) for number in range(3)]
    names = [str(root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value) for root in roots]
    assert len(set(names)) == 3
    for name, root in zip(names, roots, strict=True):
        chain = x509.load_pem_x509_certificates(issue(section(preferred_chain=name), tmp_path))
        chain[-1].verify_directly_issued_by(root)
    assert not caplog.records
    first = x509.load_pem_x509_certificates(issue(section(preferred_chain="No Such Root"), tmp_path))
    first[-1].verify_directly_issued_by(roots[0])
    assert "No Such Root" in caplog.text


def test_a_profile_is_ordered_where_it_is_offered(
    server: Pebble, section: Callable[..., AcmeIssuerSettings], tmp_path: Path
) -> None:
    """Debian's pebble knows no profiles, so its directory is given some on the way."""
    with pytest.raises(IssuanceError, match="none at all"):
        issue(section(profile="shortlived"), tmp_path)
    with between(server, {"profiles": {"classic": "as ever", "shortlived": "six days"}}) as (url, sent):
        settings = section(directory_url=url, profile="shortlived")
        assert issue(settings, tmp_path)
        assert [order.get("profile") for order in sent("/order-plz")] == ["shortlived"]
        assert issue(settings.model_copy(update={"profile": None}), tmp_path)
        assert "profile" not in sent("/order-plz")[-1]
        with pytest.raises(IssuanceError, match="classic, shortlived") as caught:
            issue(settings.model_copy(update={"profile": "longlived"}), tmp_path)
        assert caught.value.code == "invalidProfile"
        assert len(sent("/order-plz")) == 2


def test_an_account_gets_a_new_key(section: Callable[..., AcmeIssuerSettings], tmp_path: Path) -> None:
    settings = section()
    with pytest.raises(IssuanceError, match="no account key"):
        Account(settings).roll_over()
    issue(settings, tmp_path)
    account, key = Account(settings), settings.account_key
    old, before = key.read_bytes(), account.state()
    running = AcmeIssuer(settings)
    running.account.client()
    running.account.roll_over()
    assert key.read_bytes() != old
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert Account(settings).state() == before
    assert [path.name for path in key.parent.iterdir()] == ["key.pem"]
    assert issue(settings, tmp_path)
    assert running.find_account()
    key.write_bytes(old)
    with pytest.raises(IssuanceError) as caught:
        Account(settings).state()
    assert caught.value.code == "accountDoesNotExist"


class Killed(BaseException):
    """The process is no more."""


@pytest.mark.parametrize("moment", ["before the server knows", "after the server knows"])
def test_a_change_of_key_may_be_killed(
    section: Callable[..., AcmeIssuerSettings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    settings = section()
    issue(settings, tmp_path)
    key, before = settings.account_key, Account(settings).state()
    old, change = key.read_bytes(), Client.change_key

    def killed(client: Client, new: Any) -> None:
        if moment == "after the server knows":
            change(client, new)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Client, "change_key", killed)
        with pytest.raises(Killed):
            Account(settings).roll_over()
    drafted = key.with_name("key.pem.next")
    new = drafted.read_bytes()
    assert stat.S_IMODE(drafted.stat().st_mode) == 0o600
    assert key.read_bytes() == old
    assert issue(settings, tmp_path)  # whatever the server knows is found
    assert Account(settings).state() == before
    assert key.read_bytes() == (new if moment == "after the server knows" else old)
    assert drafted.exists() == (moment == "before the server knows")
    if drafted.exists():
        Account(settings).roll_over()  # goes on with the same key
        assert key.read_bytes() == new
    assert Account(settings).state() == before


def test_a_killed_change_is_ended_by_the_next(
    section: Callable[..., AcmeIssuerSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = section()
    issue(settings, tmp_path)

    def killed(_: Account) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Account, "_take_next", killed)
        with pytest.raises(Killed):
            Account(settings).roll_over()
    new = settings.account_key.with_name("key.pem.next").read_bytes()
    Account(settings).roll_over()
    assert settings.account_key.read_bytes() == new
    assert Account(settings).state()


def test_an_account_is_given_up(section: Callable[..., AcmeIssuerSettings], tmp_path: Path) -> None:
    settings = section()
    issue(settings, tmp_path)
    acme = AcmeIssuer(settings)
    acme.account.client()
    acme.account.deactivate()
    with pytest.raises(IssuanceError) as caught:
        issue(settings, tmp_path)
    assert caught.value.code in ("unauthorized", "accountDoesNotExist")


@pytest.mark.parametrize("kind", ["account", "P-256", "P-384", "RSA"])
def test_a_certificate_is_revoked(
    server: Pebble, section: Callable[..., AcmeIssuerSettings], tmp_path: Path, kind: str
) -> None:
    key: Any = {
        "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
    }.get(kind, lambda: ec.generate_private_key(ec.SECP256R1()))()
    acme, csr = AcmeIssuer(section()), signing_request(key, ["revoked.site.test"])
    chain = acme.issue(acme.order(csr), csr)
    serial = x509.load_pem_x509_certificate(chain).serial_number
    assert server.revoked(serial) is None
    by = acme if kind == "account" else AcmeIssuer(section(account_key=tmp_path / "none.pem"))
    pem = None if kind == "account" else pem_of(key)
    if pem is not None:
        with pytest.raises(IssuanceError, match="not that of the certificate"):
            by.revoke(chain, key_pem=pem_of(ec.generate_private_key(ec.SECP256R1())))
    assert by.revoke(chain, Reason.superseded, pem) is True
    assert server.revoked(serial) == Reason.superseded == 4
    assert by.revoke(chain, Reason.superseded, pem) is False
    assert not (tmp_path / "none.pem").exists()  # no account is made for it


def pem_of(key: PrivateKeyTypes) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_the_command_line(
    server: Pebble,
    section: Callable[..., AcmeIssuerSettings],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = tmp_path / "account" / "key.pem"
    chain = tmp_path / "chain.pem"
    config = tmp_path / "certforecast.toml"
    config.write_text(
        f'[issuers.ca]\nkind = "acme"\ndirectory_url = "{server.directory_url}"\naccount_key = "{key}"\n'
        f'ca_file = "{server.ca_file}"\ncontact = ["mailto:ops@site.test"]\n'
        f'[issuers.away]\nkind = "acme"\ndirectory_url = "https://127.0.0.1:1/dir"\naccount_key = "{key}"\n'
        f'[issuers.own]\nkind = "embedded"\ndirectory = "{tmp_path}/own"\n'
    )
    shell = Shell(tmp_path / "home", capsys, monkeypatch)
    options = ("--config", str(config), "issuers")
    listed = {row["name"]: row for row in shell.json(*options)}
    assert listed["ca"]["terms"].startswith("data:text/plain")
    assert listed["ca"]["challenge"] == "http-01"
    assert "cannot be reached" in listed["away"]["error"]
    assert listed["own"] == {"name": "own", "kind": "embedded"}
    assert "away" in shell(*options)
    assert shell.json(*options, "account", "ca") is None
    chain.write_bytes(issue(section(), tmp_path))
    found = shell.json(*options, "account", "ca")
    assert (found["status"], found["contact"]) == ("valid", ["mailto:ops@site.test"])
    assert "no ACME issuer 'own'" in shell.complaint(*options, "account", "own")
    old = key.read_bytes()
    assert shell.json(*options, "rollover", "ca")["changed"] is False
    assert key.read_bytes() == old
    assert shell.json(*options, "rollover", "ca", "--execute")["changed"] is True
    assert key.read_bytes() != old
    serial = x509.load_pem_x509_certificate(chain.read_bytes()).serial_number
    revoke = (*options, "revoke", "ca", "--certificate", str(chain))
    assert "keyCompromise" in shell.complaint(*revoke, "--reason", "boredom")
    assert shell.json(*revoke)["outcome"] == "would be revoked"
    assert server.revoked(serial) is None
    done = shell.json(*revoke, "--reason", "keyCompromise", "--execute")
    assert (done["outcome"], done["reason"]) == ("is revoked", "keyCompromise")
    assert server.revoked(serial) == 1
    assert shell.json(*revoke, "--execute")["outcome"] == "was revoked already"
    assert "--execute" in (shell(*options, "deactivate", "ca") or shell.errors)
    assert shell.json(*options, "deactivate", "ca", "--execute")["changed"] is True
    shell.complaint(*options, "account", "ca", expected=3)


@contextmanager
def between(
    server: Pebble, meta: dict[str, Any]
) -> Iterator[tuple[str, Callable[[str], list[dict[str, Any]]]]]:
    """Stand between us and pebble: its directory says more, and what it accepts is kept.

    Yields
    ------
    str, callable
        The directory's address; gives what was sent to a path, decoded, but for what had to be sent again.
    """
    told: list[tuple[str, dict[str, Any]]] = []
    outward = ssl.create_default_context(cafile=str(server.ca_file))

    class Handler(BaseHTTPRequestHandler):
        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            # The host of the request goes along: the addresses that pebble gives, and signatures, name it.
            upstream = http.client.HTTPSConnection("127.0.0.1", server.ports["acme"], context=outward)
            upstream.request(self.command, self.path, body or None, dict(self.headers))
            answer = upstream.getresponse()
            content = answer.read()
            if body and answer.status < 400:
                payload = json.loads(body)["payload"]
                padded = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
                told.append((self.path, json.loads(padded or b"{}")))
            if self.path == "/dir":
                directory = json.loads(content)
                directory["meta"] |= meta
                content = json.dumps(directory).encode()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            upstream.close()

        do_GET = do_HEAD = do_POST = forward  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        inward = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        inward.load_cert_chain(server.home / "tls.pem", server.home / "tls.key")
        web.socket = inward.wrap_socket(web.socket, server_side=True)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield (
            f"https://127.0.0.1:{web.server_port}/dir",
            lambda path: [body for where, body in told if where == path],
        )
        web.shutdown()
