"""Certificates from the PKI of a real OpenBao (Vault's API)."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from certforecast.clock import system_clock
from certforecast.errors import IssuanceError
from certforecast.execution import Executor
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.issuers.kept import KeptOrder
from certforecast.execution.issuers.vault import VaultIssuer, VaultIssuerSettings
from certforecast.execution.staging import Staging
from tests.system.openbao import TOKEN, client, openbao, token_for
from tests.system.site import Site

pytestmark = pytest.mark.system

NAMES = ["www.site.test", "*.site.test", "192.0.2.7"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with openbao(tmp_path_factory.mktemp("bao")) as address:
        yield address


class Authority:
    """A PKI mount of the test's own: a root, an intermediate that signs, and a role."""

    def __init__(self, server: str, mount: str, folder: Path) -> None:
        self.server, self.mount, self.folder = server, mount, folder
        self.client = client(server)
        for path in (f"{mount}-root", mount):
            self.client.sys.enable_secrets_engine("pki", path=path)
        pki = self.client.secrets.pki
        root = pki.generate_root(
            "internal", "Root of the test", {"key_type": "ec"}, mount_point=f"{mount}-root"
        )
        self.roots = folder / "vault-root.pem"
        self.roots.write_text(root["data"]["certificate"])
        csr = self.client.write_data(
            f"{mount}/intermediate/generate/internal", data={"common_name": "Intermediate", "key_type": "ec"}
        )
        signed = pki.sign_intermediate(
            csr["data"]["csr"], "Intermediate", {"format": "pem_bundle"}, mount_point=f"{mount}-root"
        )
        self.client.write_data(
            f"{mount}/intermediate/set-signed", data={"certificate": signed["data"]["certificate"]}
        )
        self.role("web", allow_any_name=True)

    def role(self, name: str, **options: Any) -> None:
        data = {"key_type": "any", "ttl": "24h", "max_ttl": "72h", "allow_ip_sans": True, **options}
        self.client.write_data(f"{self.mount}/roles/{name}", data=data)

    def settings(self, **options: Any) -> VaultIssuerSettings:
        given = {
            "kind": "vault",
            "address": self.server,
            "mount": self.mount,
            "role": "web",
            "directory": self.folder / "issued",
            "trust_file": self.roots,
        }
        return VaultIssuerSettings(**{**given, **options})

    def issuer(self, **options: Any) -> VaultIssuer:
        return VaultIssuer(self.settings(**options), system_clock)

    def count(self) -> int:
        """Count the leaves that the mount has issued."""
        told = self.client.list(f"{self.mount}/certs")
        keys = told["data"]["keys"] if told else []
        found = [self.client.read(f"{self.mount}/cert/{key}")["data"]["certificate"] for key in keys]
        parsed = [x509.load_pem_x509_certificate(pem.encode()) for pem in found]
        return sum("Intermediate" in each.issuer.rfc4514_string() for each in parsed)


@pytest.fixture
def authority(
    server: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Authority:
    monkeypatch.setenv("VAULT_TOKEN", TOKEN)
    return Authority(server, f"pki/{request.node.name[5:30].rstrip('_-[')}", tmp_path)


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    made = Staging(tmp_path / "staging" / "a")
    made.prepare()
    return made


def test_a_role_signs_and_the_chain_leads_to_its_root(authority: Authority, staging: Staging) -> None:
    issuer = authority.issuer(ttl_hours=48.0)
    csr = staging.csr(NAMES)
    chain = issuer.issue(issuer.order(csr), csr)
    roots = authority.roots.read_bytes()
    check_pair(chain, staging.key, names=NAMES, roots_pem=roots, now=datetime.now(UTC))
    leaf, *others = x509.load_pem_x509_certificates(chain)
    assert leaf.not_valid_after_utc - datetime.now(UTC) > timedelta(hours=47)
    assert [each.subject.rfc4514_string() for each in others] == ["CN=Intermediate"], "without the root"


def test_asked_again_it_gives_the_same_and_issues_no_second_one(
    authority: Authority, staging: Staging
) -> None:
    issuer = authority.issuer()
    csr = staging.csr(NAMES)
    order = json.loads(json.dumps(issuer.order(csr)))  # as it comes back from a checkpoint
    assert authority.count() == 0, "an order alone issues nothing"
    first = issuer.issue(order, csr)
    # Signatures differ each time, the request of the order does not.
    assert authority.issuer().issue(order, staging.csr(NAMES)) == first
    assert authority.count() == 1
    assert authority.issuer().issue(issuer.order(csr), csr) != first, "another order"


class Killed(BaseException):
    """The process is gone."""


def test_killed_before_the_chain_was_written_down_it_finds_what_was_issued(
    authority: Authority, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer = authority.issuer()
    earlier = issuer.order(staging.csr(NAMES))
    issuer.issue(earlier, staging.csr(["other.site.test"]))
    another = Staging(authority.folder / "staging" / "b")
    another.prepare()
    csr = another.csr(NAMES)
    order = issuer.order(csr)
    with monkeypatch.context() as patch:

        def die(self: KeptOrder, chain: bytes) -> bytes:
            raise Killed

        patch.setattr(KeptOrder, "keep", die)
        with pytest.raises(Killed):
            issuer.issue(order, csr)
    assert authority.count() == 2
    chain = authority.issuer().issue(order, csr)
    assert authority.count() == 2
    now = datetime.now(UTC)
    check_pair(chain, another.key, names=NAMES, roots_pem=authority.roots.read_bytes(), now=now)


def test_an_older_certificate_of_a_key_that_is_used_again_is_not_taken(
    authority: Authority, staging: Staging
) -> None:
    csr = staging.csr(NAMES)
    first = authority.issuer()
    old = first.issue(first.order(csr), csr)
    later = VaultIssuer(authority.settings(), lambda: datetime.now(UTC) + timedelta(hours=1))
    order = later.order(csr)
    later._kept.find(order, csr).begin(datetime.now(UTC) + timedelta(hours=1))
    assert leaf_fingerprint(later.issue(order, csr)) != leaf_fingerprint(old)


def test_the_executor_renews_with_it(authority: Authority, tmp_path: Path) -> None:
    with Site(tmp_path).served() as site:
        authority.role("site", allowed_domains=[site.name], allow_bare_domains=True)
        settings = site.settings(issuers={"ca": authority.settings(role="site")})
        (result,) = Executor(settings).run(site.plan(site.action()), execute=True)
        assert result.status == "verified", result.detail
        assert site.look().fingerprint == result.fingerprint_after != site.before
        kept = b"".join(p.read_bytes() for p in (tmp_path / "issued").rglob("*.pem"))
        assert b"PRIVATE KEY" not in kept


def test_an_approle_that_may_sign_and_no_more_is_enough(
    authority: Authority, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VAULT_TOKEN")
    bao = authority.client
    bao.sys.create_or_update_policy(
        "sign", f'path "{authority.mount}/sign/web" {{ capabilities = ["update"] }}'
    )
    if "approle/" not in bao.sys.list_auth_methods():
        bao.sys.enable_auth_method("approle")
    bao.auth.approle.create_or_update_approle("certforecast", token_policies=["sign"], token_ttl="10m")
    secret = authority.folder / "secret-id"
    secret.write_text(bao.auth.approle.generate_secret_id("certforecast")["data"]["secret_id"])
    role_id = bao.auth.approle.read_role_id("certforecast")["data"]["role_id"]
    issuer = authority.issuer(role_id=role_id, secret_id_file=secret)
    csr = staging.csr(NAMES)
    check_pair(issuer.issue(issuer.order(csr), csr), staging.key, names=NAMES)
    secret.write_text("another-secret")
    with pytest.raises(IssuanceError) as caught:
        issuer.order(csr)
    assert "another-secret" not in str(caught.value)
    assert caught.value.code in ("rejected", "permission")


def test_what_is_wrong_is_told(
    authority: Authority, staging: Staging, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    csr = staging.csr(NAMES)

    def refused(issuer: VaultIssuer) -> IssuanceError:
        with pytest.raises(IssuanceError) as caught:
            issuer.issue(issuer.order(csr), csr)
        return caught.value

    authority.role("narrow", allowed_domains=["other.test"])
    error = refused(authority.issuer(role="narrow"))
    assert error.code == "rejected"
    assert "not allowed by this role" in str(error)
    assert refused(authority.issuer(role="none")).code == "rejected"
    assert refused(authority.issuer(address="http://127.0.0.1:9")).code == "unreachable"
    monkeypatch.setenv("VAULT_TOKEN", token_for(authority.server, 'path "x" { capabilities = ["read"] }'))
    assert refused(authority.issuer()).code == "permission"
    monkeypatch.setenv("VAULT_TOKEN", "s.not-a-token")
    error = refused(authority.issuer())
    assert error.code == "permission"
    assert "s.not-a-token" not in str(error)
    monkeypatch.delenv("VAULT_TOKEN")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "there is no token" in str(refused(authority.issuer()))
    assert authority.count() == 0
