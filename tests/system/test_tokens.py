"""Keys that never leave their token: SoftHSM, and an nginx that reads its key from it."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from certforecast.errors import ExecutionError, InstallationError
from certforecast.execution import Executor
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers.nginx import NginxInstallerSettings
from certforecast.execution.installers.versions import Versions
from certforecast.execution.issuers.embedded import EmbeddedIssuer
from certforecast.execution.references import KeyReference
from certforecast.execution.staging import Staging, new_key
from certforecast.planning.plan import Endpoint
from certforecast.settings import KeySettings
from tests.system.site import Prober, Site

pytestmark = pytest.mark.system

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "4711-of-the-test"
NGINX = shutil.which("nginx") or "/usr/sbin/nginx"


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., KeySettings]:
    """Give the keys of a fresh token, with the settings that are named."""
    import pkcs11

    (tmp_path / "tokens").mkdir()
    conf = tmp_path / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(conf))
    command = ["softhsm2-util", "--init-token", "--free", "--label", "web"]
    subprocess.run([*command, "--pin", PIN, "--so-pin", "4711"], check=True, capture_output=True, timeout=30)
    pkcs11.lib(str(MODULE)).reinitialize()
    pin_file = tmp_path / "pin"
    pin_file.write_text(PIN)  # without an end of line, which the engine takes for a part of it
    pin_file.chmod(0o600)

    def make(**options: Any) -> KeySettings:
        return KeySettings(**{"token": "web", "module": MODULE, "pin_file": pin_file, **options})

    return make


@pytest.mark.parametrize("algorithm", ["ecdsa-p256", "ecdsa-p384", "rsa-2048"])
def test_the_token_signs_the_request_and_the_certificate_is_for_its_key(
    token: Callable[..., KeySettings], algorithm: str, tmp_path: Path
) -> None:
    staging = Staging(tmp_path / "staging" / "a", token(algorithm=algorithm), name="a.test")
    staging.prepare()
    csr = staging.csr(["a.test", "192.0.2.7"])
    request = x509.load_pem_x509_csr(csr)
    assert request.is_signature_valid
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.test"]
    issuer = EmbeddedIssuer(tmp_path / "ca")
    chain = issuer.issue(issuer.order(csr), csr)
    check_pair(chain, staging.key, names=["a.test", "192.0.2.7"])
    staging.check_token()
    with pytest.raises(InstallationError, match="does not match"):
        check_pair(chain, new_key())
    assert b"PRIVATE KEY" not in staging.key
    assert PIN.encode() not in staging.key
    # What the token holds says so itself: sensitive, and not to be taken out.
    listed = pkcs11_tool("--list-objects", "--type", "privkey")
    assert "never extractable" in listed
    assert "sensitive" in listed


def pkcs11_tool(*arguments: str) -> str:
    command = ["pkcs11-tool", "--module", str(MODULE), "--token-label", "web", "--login", "--pin", PIN]
    done = subprocess.run([*command, *arguments], check=True, capture_output=True, text=True, timeout=30)
    return done.stdout


def test_openssl_agrees_that_the_reference_names_the_key(
    token: Callable[..., KeySettings], tmp_path: Path
) -> None:
    """OpenSSL's own PKCS#11 engine finds the key by the URI of the reference, and gives its public half."""
    staging = Staging(tmp_path / "staging" / "a", token(), name="a site; of=test")
    staging.prepare()
    reference = KeyReference.from_pem(staging.key)
    command = ["openssl", "pkey", "-engine", "pkcs11", "-inform", "engine", "-pubout"]
    uri = reference.uri.replace("type=private", "type=public")
    told = subprocess.run([*command, "-pubin", "-in", uri], check=True, capture_output=True, timeout=30)
    shown = told.stdout[told.stdout.index(b"-----BEGIN") :]
    assert shown == reference.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_a_killed_action_makes_no_second_key(token: Callable[..., KeySettings], tmp_path: Path) -> None:
    staging = Staging(tmp_path / "staging" / "a", token(), name="a.test")
    staging.prepare()
    first = staging.key
    staging.clear()  # as if killed after the token made the key, and before it was written down
    staging.prepare()
    assert staging.key == first
    other = Staging(tmp_path / "staging" / "b", token(), name="a.test")
    other.prepare()
    assert other.key != first
    assert pkcs11_tool("--list-objects", "--type", "privkey").count("Private Key Object") == 2
    with pytest.raises(ExecutionError, match="has 2 keys with the label"):
        Staging(tmp_path / "staging" / "c", token(reuse=True), name="a.test").prepare()


def test_with_reuse_the_key_of_the_label_is_taken(token: Callable[..., KeySettings], tmp_path: Path) -> None:
    keys = [Staging(tmp_path / "staging" / name, token(reuse=True), name="a.test") for name in "ab"]
    for staging in keys:
        staging.prepare()
    assert keys[0].key == keys[1].key


def test_what_is_wrong_with_the_token_is_told_and_never_the_pin(
    token: Callable[..., KeySettings], tmp_path: Path
) -> None:
    def attempt(**options: Any) -> str:
        with pytest.raises(ExecutionError) as caught:
            Staging(tmp_path / "staging" / "a", token(**options)).prepare()
        assert caught.value.code == "config"
        assert PIN not in str(caught.value)
        return str(caught.value)

    assert "NoSuchToken" in attempt(token="other") or "No token" in attempt(token="other")
    wrong = tmp_path / "wrong"
    wrong.write_text("0000-wrong")
    wrong.chmod(0o600)
    assert "PinIncorrect" in attempt(pin_file=wrong)
    wrong.chmod(0o644)
    assert "open to other users" in attempt(pin_file=wrong)
    assert "cannot be read" in attempt(pin_file=tmp_path / "none")
    assert "check token" in attempt(module=tmp_path / "none.so")
    staging = Staging(tmp_path / "staging" / "a", token())
    staging.prepare()
    pkcs11_tool(
        "--delete-object", "--type", "privkey", "--id", KeyReference.from_pem(staging.key).identity.hex()
    )
    with pytest.raises(ExecutionError, match="does not have the key"):
        staging.check_token()


def test_reference_and_certificate_are_switched_together(
    token: Callable[..., KeySettings], tmp_path: Path
) -> None:
    """For servers with OpenSSL's pkcs11-provider, which take the reference where they take a key file."""
    issuer = EmbeddedIssuer(tmp_path / "ca")
    made = []
    for number in range(2):
        staging = Staging(tmp_path / "staging" / str(number), token(), name="a.test")
        staging.prepare()
        csr = staging.csr(["a.test"])
        made.append((issuer.issue(issuer.order(csr), csr), staging.key))
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    for path, content in zip(paths, made[0], strict=True):
        path.write_bytes(content)
    versions = Versions(*paths, "a")
    versions.check()
    versions.install(*made[1])
    assert tuple(path.read_bytes() for path in paths) == made[1]
    versions.restore(leaf_fingerprint(made[0][0]))
    assert tuple(path.read_bytes() for path in paths) == made[0]
    with pytest.raises(InstallationError, match="does not match"):
        versions.install(made[1][0], made[0][1])


class TokenSite(Site):
    """A site whose nginx reads its key from the token, through OpenSSL's PKCS#11 engine."""

    def __init__(
        self, home: Path, keys: KeySettings, start: Callable[[list[str], int], Any], port: int
    ) -> None:
        super().__init__(home)
        self.keys = keys
        self.key.unlink()
        staging = Staging(home / "first" / "a", keys, name=self.name)
        staging.prepare()
        csr = staging.csr([self.name])
        chain = self.issuer.issue(self.issuer.order(csr), csr)
        self.certificate.write_bytes(chain)
        self.before = leaf_fingerprint(chain)
        self.uri = KeyReference.from_pem(staging.key).uri
        self.endpoint = Endpoint(host="127.0.0.1", port=port, server_name=self.name)
        self.conf = home / "nginx.conf"
        self.conf.write_text(
            f"""
            user root; daemon off; pid {home}/nginx.pid; error_log {home}/error.log; worker_processes 1;
            ssl_engine pkcs11; env SOFTHSM2_CONF; env OPENSSL_CONF;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f;
                uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;
                server {{ listen 127.0.0.1:{port} ssl; server_name {self.name}; return 200 "ok";
                          ssl_certificate {self.certificate};
                          ssl_certificate_key "engine:pkcs11:{self.uri};pin-source=file:{keys.pin_file}"; }}
            }}
            """
        )
        start([NGINX, "-p", str(home), "-c", str(self.conf), "-e", f"{home}/error.log"], port)

    def renew(self, keys: KeySettings, key: str | None = None) -> Any:
        section = NginxInstallerSettings(
            kind="nginx",
            certificate=str(self.certificate),
            key=key or self.uri,
            config=str(self.conf),
            prefix=str(self.home),
            binary=NGINX,
        )
        settings = self.settings(installers={"nginx": section}, keys=keys)
        action = self.action(installer="nginx", id=f"renew{keys.reuse}{len(key or '')}")
        (result,) = Executor(settings).run(self.plan(action), execute=True)
        return result


def test_nginx_with_its_key_in_the_token_gets_a_new_certificate(
    token: Callable[..., KeySettings], tmp_path: Path, start: Any, free_port: Callable[[], int]
) -> None:
    keys = token(reuse=True)
    site = TokenSite(tmp_path, keys, start, free_port())
    assert site.look().fingerprint == site.before
    with Prober(site.endpoint, site.roots) as prober:
        result = site.renew(keys)
    assert result.status == "verified", result.detail
    assert site.look().fingerprint == result.fingerprint_after != site.before
    assert site.look().chain_ok
    assert prober.refused == []
    served = x509.load_pem_x509_certificate(site.certificate.read_bytes())
    first = x509.load_pem_x509_certificate(
        (tmp_path / "ca" / "issued")
        .joinpath(
            next(
                p.name
                for p in (tmp_path / "ca" / "issued").iterdir()
                if leaf_fingerprint(p.read_bytes()) == site.before
            )
        )
        .read_bytes()
    )
    assert served.public_key() == first.public_key()
    leaked = [p for p in tmp_path.rglob("*") if p.is_file() and b"PRIVATE KEY" in p.read_bytes()]
    ours = {tmp_path / "ca" / "root" / "key.pem", tmp_path / "home" / "signing.key"}
    assert set(leaked) == ours, "the embedded authority's own, the one that plans are signed with, no other"
    # And back again, as a rollback would.
    Versions(site.certificate, None, site.name).restore(site.before)


def test_a_certificate_for_another_key_is_refused_before_anything_is_touched(
    token: Callable[..., KeySettings], tmp_path: Path, start: Any, free_port: Callable[[], int]
) -> None:
    site = TokenSite(tmp_path, token(reuse=True), start, free_port())
    for keys, words in (
        (KeySettings(), "is served with a key in a token"),
        (token(label="another", reuse=True), "is for another key"),
    ):
        content = site.certificate.read_bytes()
        result = site.renew(keys.model_copy(update={}))
        assert result.status in ("rolled_back", "failed"), result
        assert words in result.detail
        assert site.certificate.read_bytes() == content
        assert site.look().fingerprint == site.before
        assert site.look().chain_ok
