"""A certbot tree, laid out as certbot lays it out."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from certforecast.errors import SourceError
from certforecast.history import History
from certforecast.history.sources.certbot import CertbotSource
from tests.certificates import START, authority, certificate, key_pem, pem
from tests.history.sources.reading import read

SERVER = "https://acme.example/directory"
NOW = START + timedelta(days=1000)

CONF = """\
# renew_before_expiry = 30 days
version = 5.8.0
archive_dir = {root}/archive/{lineage}
cert = {root}/live/{lineage}/cert.pem
privkey = {root}/live/{lineage}/privkey.pem
chain = {root}/live/{lineage}/chain.pem
fullchain = {root}/live/{lineage}/fullchain.pem

# Options used in the renewal process
[renewalparams]
account = 0123abcd
pref_challs = http-01, dns-01
authenticator = webroot
installer = nginx
server = {server}
renew_hook = echo %(done)s
key_type = ecdsa
[[webroot_map]]
a.example = /srv/www
"""


def clock() -> datetime:
    return NOW


def issue(root: Path, lineage: str, number: int, *names: str) -> datetime:
    """Do what certbot does on issuance: new files in archive/, links in live/, the configuration anew."""
    at = START + timedelta(days=60 * (number - 1), hours=1)
    archive, live = root / "archive" / lineage, root / "live" / lineage
    for folder in (archive, live, root / "renewal"):
        folder.mkdir(parents=True, exist_ok=True)
    leaf, chain = pem(certificate(*names, start=at - timedelta(hours=1))), pem(authority())
    parts = {"cert": leaf, "chain": chain, "fullchain": leaf + chain, "privkey": key_pem()}
    for kind, data in parts.items():
        file, link = archive / f"{kind}{number}.pem", live / f"{kind}.pem"
        file.write_bytes(data)
        link.unlink(missing_ok=True)
        link.symlink_to(Path("../../archive") / lineage / file.name)
        for path in (file, link):
            os.utime(path, (at.timestamp(), at.timestamp()), follow_symlinks=False)
    (live / "README").write_text("This directory contains your keys and certificates.\n")
    (root / "renewal" / f"{lineage}.conf").write_text(CONF.format(root=root, lineage=lineage, server=SERVER))
    return at


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for number in (1, 2, 10):
        issue(tmp_path, "a.example", number, "a.example", "*.a.example")
    issue(tmp_path, "b.example-0001", 1, "b.example")
    return tmp_path


def test_every_version_is_a_certificate_and_an_event(tree: Path) -> None:
    found = read(CertbotSource(tree, clock=clock))
    assert found.rejected == []
    assert found.positions["certificates"] == [
        *(f"archive/a.example/cert{number}.pem#1" for number in (1, 2, 10)),
        "archive/b.example-0001/cert1.pem#1",
    ]
    times = [START + timedelta(days=60 * n, hours=1) for n in (0, 1, 9)]
    assert [row["known_at"] for row in found.certificates[:3]] == times
    assert {row["source"] for row in found.certificates} == {"certbot"}
    issued = [row for row in found.events if row["kind"] == "issued"]
    assert [(row["lineage"], row["at"]) for row in issued[:3]] == [("a.example", at) for at in times]
    assert issued[3]["lineage"] == "b.example-0001"
    assert {(row["actor"], row["host"]) for row in issued} == {
        ("certbot", "a.example"),
        ("certbot", "b.example"),
    }
    assert all(row["known_at"] == row["at"] for row in issued)
    assert [row["fingerprint"] for row in issued] == [row["fingerprint"] for row in found.certificates]


def test_the_configuration_speaks_of_the_newest_version_only(tree: Path) -> None:
    issued = [row for row in read(CertbotSource(tree, clock=clock)).events if row["kind"] == "issued"]
    assert [row.get("code") for row in issued] == [None, None, SERVER, SERVER]
    assert issued[2]["detail"] == "authenticator=webroot; installer=nginx; account=0123abcd; version=5.8.0"
    conf = tree / "renewal/a.example.conf"
    conf.write_text("renew_before_expiry = 20 days\n" + conf.read_text())
    issued = [row for row in read(CertbotSource(tree, clock=clock)).events if row["kind"] == "issued"]
    assert "renew_before_expiry=20 days" in issued[2]["detail"]


def test_the_live_link_tells_what_is_staged(tree: Path) -> None:
    link = tree / "live/a.example/cert.pem"
    link.unlink()
    link.symlink_to("../../archive/a.example/cert2.pem")
    back = START + timedelta(days=333)
    os.utime(link, (back.timestamp(), back.timestamp()), follow_symlinks=False)
    found = read(CertbotSource(tree, clock=clock))
    staged = [
        (row["at"], row["fingerprint"], position)
        for row, position in zip(found.events, found.positions["events"], strict=True)
        if row["kind"] == "staged" and row["lineage"] == "a.example"
    ]
    second = found.certificates[1]["fingerprint"]
    assert staged == [(back, second, "archive/a.example/cert2.pem#1")]


def test_a_host_is_known_as_far_as_the_configuration_says(tree: Path) -> None:
    first, second = read(CertbotSource(tree, clock=clock)).hosts
    assert first == {
        "host": "a.example",
        "automation": "certbot",
        "issuer": SERVER,
        "installer": "nginx",
        "valid_from": START + timedelta(hours=1),
        "known_at": START + timedelta(days=540, hours=1),
    }
    assert second["host"] == "b.example"


@pytest.mark.parametrize("broken", ["", "[renewalparams\n", "version = 5\n", "\x00\xff"])
def test_a_broken_configuration_loses_no_certificate(tree: Path, broken: str) -> None:
    (tree / "renewal/a.example.conf").write_bytes(broken.encode("latin-1"))
    found = read(CertbotSource(tree, clock=clock))
    assert [rejected.position for rejected in found.rejected] == ["renewal/a.example.conf"]
    assert "renewal configuration" in found.rejected[0].reason
    assert len(found.certificates) == 4
    assert [row["host"] for row in found.hosts] == ["b.example"]


def test_a_broken_version_loses_no_other(tree: Path) -> None:
    (tree / "archive/a.example/cert2.pem").write_bytes(b"")
    (tree / "archive/a.example/cert10.pem").write_bytes(b"garbage")
    found = read(CertbotSource(tree, clock=clock))
    assert [rejected.position for rejected in found.rejected] == [
        "archive/a.example/cert2.pem",
        "archive/a.example/cert10.pem",
    ]
    assert len(found.certificates) == 2
    assert len([row for row in found.events if row["kind"] == "issued"]) == 2
    # The link points at a version that cannot be read: nothing is said of it.
    assert [row["lineage"] for row in found.events if row["kind"] == "staged"] == ["b.example-0001"]


def test_a_missing_configuration_or_link_says_nothing(tree: Path) -> None:
    (tree / "renewal/a.example.conf").unlink()
    (tree / "live/a.example/cert.pem").unlink()
    found = read(CertbotSource(tree, clock=clock))
    assert found.rejected == []
    assert [row["host"] for row in found.hosts] == ["b.example"]
    assert len(found.certificates) == 4


def test_private_keys_are_never_opened(tree: Path) -> None:
    for path in tree.rglob("privkey*.pem"):
        path.unlink()
        path.mkdir()  # reading it would fail
    assert read(CertbotSource(tree, clock=clock)).rejected == []


def test_the_store_takes_every_row_once(tree: Path) -> None:
    with History(None) as history:
        assert history.ingest(CertbotSource(tree, clock=clock)).new == 4 + 6 + 2
        assert history.ingest(CertbotSource(tree, clock=clock)).changed == 0
        assert history.counts()["quarantine"] == 0


def test_a_folder_that_is_no_tree_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(SourceError, match="live/, archive/ and renewal/"):
            read(CertbotSource(path))


def test_times_are_utc(tree: Path) -> None:
    assert all(row["at"].tzinfo is UTC for row in read(CertbotSource(tree)).events)


def test_a_tree_is_recognised(tree: Path, tmp_path: Path) -> None:
    assert CertbotSource.recognises(tree) == "2 lineages of certbot"
    assert CertbotSource.recognises(tree / "renewal") is None
    assert CertbotSource.recognises(tree / "renewal/a.example.conf") is None
    assert CertbotSource.recognises(tmp_path / "missing") is None


def test_only_lineages_that_have_changed_are_read_again(tree: Path) -> None:
    with History(None) as history:
        assert history.ingest(CertbotSource(tree, clock=clock)).skipped == 0
        assert history.ingest(CertbotSource(tree, clock=clock)).skipped == 2
        issue(tree, "a.example", 3, "a.example")
        report = history.ingest(CertbotSource(tree, clock=clock))
        assert (report.tables["certificates"].new, report.skipped) == (1, 1)
        (tree / "live/b.example-0001/cert.pem").unlink()
        (tree / "renewal/a.example.conf").write_text("")
        assert history.ingest(CertbotSource(tree, clock=clock)).skipped == 0


def test_folders_of_archive_that_are_none_of_certbots(tree: Path) -> None:
    (tree / "archive/loop").symlink_to("loop")
    (tree / "archive/empty").mkdir()
    (tree / "archive/file").write_text("")
    (tree / "archive/a.example/cert3.pem").mkdir()
    found = read(CertbotSource(tree, clock=clock))
    assert [rejected.position for rejected in found.rejected] == ["archive/a.example/cert3.pem"]
    assert len(found.certificates) == 4
