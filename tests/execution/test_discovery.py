"""What servers use, read from their configurations."""

import tomllib
from pathlib import Path

import jks
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from hypothesis import given
from hypothesis import strategies as st

from certforecast.errors import InputError, InstallationError
from certforecast.execution.checks import leaf_fingerprint
from certforecast.execution.installers import Found, discovery
from certforecast.execution.installers.apache_config import virtual_hosts
from certforecast.execution.installers.haproxy import _bound
from certforecast.execution.installers.keystore import KeystoreInstallerSettings
from certforecast.execution.installers.nginx_config import sites
from certforecast.execution.installers.processes import Process
from tests.certificates import certificate, pem

NGINX = r"""
# configuration file /etc/nginx/nginx.conf:
user www; events { }
http {
  log_format main '{"a": "$remote_addr"; }';   # not } a block
  ssl_certificate shared.pem; ssl_certificate_key shared.key;
  map $host ${x} { default 1; }
  server { listen 80; server_name plain.test; }
  server { listen 443 ssl; listen [::]:443 ssl; server_name a.test "b.test" _;
    ssl_certificate /tls/rsa.pem; ssl_certificate_key /tls/rsa.key;
    ssl_certificate /tls/ec.pem; ssl_certificate_key /tls/ec.key;
    location / { return 200 "}"; } }
  server { listen 127.0.0.1:8443 ssl; server_name c.test; }
  server { listen 443 ssl; ssl_certificate /tls/$ssl_server_name.pem; ssl_certificate_key /k; }
}
"""


def test_nginx_blocks_their_own_certificates_and_those_they_inherit() -> None:
    found = [
        (site.names, site.addresses, site.certificate, site.key) for site in sites(NGINX, Path("/etc/nginx"))
    ]
    both = ("*:443", "[::]:443")
    assert found == [
        (("a.test", "b.test"), both, "/tls/rsa.pem", "/tls/rsa.key"),
        (("a.test", "b.test"), both, "/tls/ec.pem", "/tls/ec.key"),
        (("c.test",), ("127.0.0.1:8443",), "/etc/nginx/shared.pem", "/etc/nginx/shared.key"),
    ]


@given(st.text(alphabet=" \n{};#\"'\\$abssl_certificate", max_size=200))
def test_nginx_no_text_breaks_the_reading(text: str) -> None:
    list(sites(text, Path("/")))


def test_apache_hosts_with_variables_continued_lines_and_both_in_one_file(tmp_path: Path) -> None:
    one, two = tmp_path / "one.conf", tmp_path / "two.conf"
    one.write_text(
        """
        <VirtualHost *:443>
            ServerName A.test
            ServerAlias b.test \\
                c.test
            SSLCertificateFile "${TLS}/a.pem"
            SSLCertificateKeyFile keys/a.key
            # SSLCertificateFile /no.pem
        </VirtualHost>
        <VirtualHost *:80>
            ServerName plain.test
        </VirtualHost>
        """
    )
    two.write_text("SSLCertificateFile /both.pem\n")
    files = [one, tmp_path / "gone.conf", two]
    first, second = virtual_hosts(files, {"TLS": "/tls"}, Path("/etc/apache2"))
    assert (first.names, first.address) == (("a.test", "b.test", "c.test"), "*:443")
    assert (first.certificate, first.key) == ("/tls/a.pem", "/etc/apache2/keys/a.key")
    assert (second.certificate, second.key) == ("/both.pem", "/both.pem")


def test_haproxy_binds_with_a_base_a_folder_and_several(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    for name in ("b.pem", "a.pem", "a.pem.key", ".hidden", "x.ocsp"):
        (tmp_path / "dir" / name).touch()
    text = f"""
    global
        crt-base {tmp_path}
    frontend x
        bind :443 ssl crt one.pem crt /else/two.pem alpn h2
        bind 127.0.0.1:8443 ssl crt {tmp_path}/dir
        bind :80
    """
    assert [(address, str(path)) for address, path in _bound(text)] == [
        ("*:443", f"{tmp_path}/one.pem"),
        ("*:443", "/else/two.pem"),
        ("127.0.0.1:8443", f"{tmp_path}/dir/a.pem"),
        ("127.0.0.1:8443", f"{tmp_path}/dir/b.pem"),
    ]


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)


@given(
    st.lists(
        st.builds(
            Found,
            kind=st.sampled_from(["nginx", "haproxy"]),
            names=st.lists(st.sampled_from(["a.test", "*.b.test"]), max_size=2).map(tuple),
            addresses=st.just(("*:443",)),
            fingerprint=st.none(),
            settings=st.dictionaries(st.sampled_from(["kind", "config", "key"]), TEXT | st.lists(TEXT)),
        ),
        max_size=5,
    )
)
def test_sections_read_back_as_they_were_found(found: list[Found]) -> None:
    read = tomllib.loads(discovery.sections(found)).get("installers", {})
    assert list(read.values()) == [one.settings for one in found]


def test_one_kind_in_trouble_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    there = Found("good", (), (), None, {"kind": "good"})

    class Good:
        @staticmethod
        def discover() -> list[Found]:
            return [there, there]

        @staticmethod
        def discover_at(place: str | None) -> list[Found]:
            return [there]

    class Bad:
        @staticmethod
        def discover() -> list[Found]:
            raise InstallationError("it says nothing")

    monkeypatch.setattr(discovery, "kinds", lambda group: ["bad", "good"])
    monkeypatch.setattr(discovery, "load_kind", lambda group, kind: {"good": Good, "bad": Bad}[kind])
    assert discovery.discovered() == ([there], ["bad: it says nothing"])
    assert discovery.discovered(["good"]) == ([there], [])
    with pytest.raises(InputError, match="no installer of kind 'odd'; there are: bad, good"):
        discovery.discovered(["odd"])


def keystore(path: Path, alias: str, name: str) -> str:
    """Write a PKCS#12 file or a Java keystore with one entry, and give the fingerprint of its leaf."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = certificate(name, public_key=key.public_key())
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jks":
        der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        entry = jks.PrivateKeyEntry.new(alias, [leaf.public_bytes(Encoding.DER)], der)
        path.write_bytes(jks.KeyStore.new("jks", [entry]).saves("geheim"))
    else:
        sealed = BestAvailableEncryption(b"geheim")
        path.write_bytes(pkcs12.serialize_key_and_certificates(alias.encode(), key, leaf, None, sealed))
    return leaf_fingerprint(pem(leaf))


SERVER_XML = """<Server>
  <Connector port="8080"/>
  <Connector port="8443" SSLEnabled="true" address="127.0.0.1"><SSLHostConfig>
    <Certificate certificateKeystoreFile="conf/new.p12" certificateKeystorePasswordFile="conf/password"/>
    <Certificate certificateKeystoreFile="${catalina.base}/conf/java.jks" certificateKeyAlias="Site"/>
    <Certificate certificateFile="conf/cert.pem" certificateKeyFile="conf/key.pem"/>
  </SSLHostConfig></Connector>
  <Connector port="9443" keystoreFile="conf/old.p12" keystorePass="geheim" keyAlias="old"/>
  <Connector port="9444" keystoreFile="conf/old.p12" keystorePass="geheim" keyAlias="none"/>
  <Connector port="9445" keystoreFile="conf/gone.p12"/>
</Server>"""


def test_keystores_that_a_tomcat_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = tmp_path / "conf"
    prints = {
        name: keystore(conf / name, alias, f"{alias}.test")
        for name, alias in {"new.p12": "new", "java.jks": "site", "old.p12": "old"}.items()
    }
    (conf / "password").write_text("geheim\n")
    (conf / "server.xml").write_text(SERVER_XML)
    found = KeystoreInstallerSettings.discover_at(str(conf / "server.xml"))
    assert [(one.names, one.addresses, one.fingerprint) for one in found] == [
        (("new.test",), ("127.0.0.1:8443",), prints["new.p12"]),
        (("site.test",), ("127.0.0.1:8443",), prints["java.jks"]),
        (("old.test",), ("*:9443",), prints["old.p12"]),
        ((), ("*:9444",), None),
        ((), ("*:9445",), None),
    ]
    assert found[0].settings == {
        "kind": "keystore",
        "keystore": f"{conf}/new.p12",
        "password_file": f"{conf}/password",
    }
    assert found[1].settings == {"kind": "keystore", "keystore": f"{conf}/java.jks", "alias": "Site"}
    assert "geheim" not in repr(found), "passwords are read and never shown"
    assert (
        KeystoreInstallerSettings.model_validate(found[0].settings).open("x").current() == prints["new.p12"]
    )
    # The same of a Tomcat that runs.
    tomcat = Process(1, ("java", f"-Dcatalina.base={tmp_path}", "org.apache.catalina.startup.Bootstrap"), 1)
    monkeypatch.setattr("certforecast.execution.installers.keystore.running", lambda *_, **__: [tomcat])
    assert KeystoreInstallerSettings.discover() == found
    (conf / "server.xml").write_text("<Server>")
    with pytest.raises(InstallationError, match=r"server\.xml cannot be read"):
        KeystoreInstallerSettings.discover()


def test_keystores_below_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java, other = (
        keystore(tmp_path / "a.jks", "a", "a.test"),
        keystore(tmp_path / "b" / "b.pfx", "b", "b.test"),
    )
    keystore(tmp_path / ".certforecast" / "x" / "kept.p12", "a", "kept.test")
    (tmp_path / "c.p12").write_bytes(b"rubbish")
    for password, opened in (("geheim", other), ("another", None), (None, None)):
        if password is None:
            monkeypatch.delenv("CERTFORECAST_PASSWORD")
        else:
            monkeypatch.setenv("CERTFORECAST_PASSWORD", password)
        found = KeystoreInstallerSettings.discover_at(str(tmp_path))
        assert [(one.settings["keystore"], one.fingerprint) for one in found] == [
            (f"{tmp_path}/a.jks", java),
            (f"{tmp_path}/b/b.pfx", opened),
            (f"{tmp_path}/c.p12", None),
        ]
    with pytest.raises(InstallationError, match="no folder"):
        KeystoreInstallerSettings.discover_at(str(tmp_path / "nowhere"))


def test_a_place_is_for_one_kind_that_has_places(tmp_path: Path) -> None:
    keystore(tmp_path / "a.jks", "a", "a.test")
    (found,), troubles = discovery.discovered(["keystore"], str(tmp_path))
    assert (found.names, troubles) == (("a.test",), [])
    assert tomllib.loads(discovery.sections([found])) == {"installers": {"keystore-a-test": found.settings}}
    _, (trouble,) = discovery.discovered(["files"], str(tmp_path))
    assert "cannot be looked through" in trouble
    for only in (None, ["keystore", "files"]):
        with pytest.raises(InputError, match="is of one kind"):
            discovery.discovered(only, str(tmp_path))
