"""Containers as the tools of OpenSSL and Java write them."""

import shutil
import subprocess
from pathlib import Path

import pytest
import trustme

from certforecast.history.sources.pem import PemSource
from tests.history.sources.reading import parsed

pytestmark = pytest.mark.system

SECRET = "opensesame"


@pytest.fixture
def leaf(authority: trustme.CA, tmp_path: Path) -> Path:
    made = authority.issue_cert("keystore.example")
    path = tmp_path / "source.txt"
    path.write_bytes(made.private_key_and_cert_chain_pem.bytes())
    authority.cert_pem.write_to_path(tmp_path / "ca.txt")
    return path


def run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, capture_output=True, timeout=60)


def names(path: Path) -> list[list[str]]:
    found = parsed(PemSource(path, password=SECRET))
    assert found.rejected == []
    return [row["names"] for row in found.certificates]


@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_pkcs7_of_openssl(leaf: Path, tmp_path: Path, form: str) -> None:
    made = tmp_path / "chain.p7b"
    run("openssl", "crl2pkcs7", "-nocrl", "-certfile", leaf, "-certfile", tmp_path / "ca.txt",
        "-outform", form, "-out", made)  # fmt: skip
    assert names(made) == [["keystore.example"]]


@pytest.mark.parametrize("flags", [[], ["-legacy"]])
def test_pkcs12_of_openssl(leaf: Path, tmp_path: Path, flags: list[str]) -> None:
    made = tmp_path / "store.pfx"
    run("openssl", "pkcs12", "-export", "-in", leaf, "-out", made, "-passout", f"pass:{SECRET}", *flags)
    assert names(made) == [["keystore.example"]]


@pytest.mark.parametrize("kind", ["pkcs12", "jks", "jceks"])
def test_keystores_of_java(leaf: Path, tmp_path: Path, kind: str) -> None:
    assert shutil.which("keytool"), "install default-jre-headless"
    middle, made = tmp_path / "middle.p12x", tmp_path / f"store.{'p12' if kind == 'pkcs12' else 'jks'}"
    run(
        "openssl",
        "pkcs12",
        "-export",
        "-in",
        leaf,
        "-out",
        middle,
        "-passout",
        f"pass:{SECRET}",
        "-name",
        "a",
    )
    run("keytool", "-importkeystore", "-noprompt", "-srckeystore", middle, "-srcstoretype", "pkcs12",
        "-srcstorepass", SECRET, "-destkeystore", made, "-deststoretype", kind, "-deststorepass", SECRET,
        "-destkeypass", SECRET)  # fmt: skip
    run("keytool", "-importcert", "-noprompt", "-alias", "root", "-file", tmp_path / "ca.txt",
        "-keystore", made, "-storetype", kind, "-storepass", SECRET)  # fmt: skip
    assert names(made) == [["keystore.example"]]
