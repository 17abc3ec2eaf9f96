"""acme.sh's home, written as its documentation and source lay it out: no package of it is to be had here."""

import base64
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certforecast.errors import SourceError
from certforecast.history import History
from certforecast.history.sources.acmesh import AcmeShSource
from tests.certificates import START, authority, certificate, key_pem, pem
from tests.history.sources.reading import read

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CREATED = START + timedelta(hours=1)


def encoded(text: str) -> str:
    return f"__ACME_BASE64__START_{base64.b64encode(text.encode()).decode()}__ACME_BASE64__END_"


def lineage(home: Path, folder: str, *names: str, conf: str | bytes | None = None) -> Path:
    domain = folder.removesuffix("_ecc")
    place = home / folder
    place.mkdir(parents=True)
    settings = f"""
Le_Domain='{domain}'
Le_Alt='{",".join(names[1:]) or "no"}'
Le_Webroot='dns_cf'
Le_PreHook=''
Le_API='https://acme-v02.api.letsencrypt.org/directory'
Le_Keylength='ec-256'
Le_OrderFinalize='https://ca.example/finalize/1'
Le_LinkCert='https://ca.example/cert/1'
Le_CertCreateTime='{int(CREATED.timestamp())}'
Le_CertCreateTimeStr='{CREATED:%Y-%m-%dT%H:%M:%SZ}'
Le_NextRenewTimeStr='{encoded("2026-04-29T01:00:00Z")}'
Le_NextRenewTime='1777424400'
Le_ReloadCmd='{encoded("curl -H 'Authorization: hunter2' https://lb.example")}'
SAVED_CF_Token='hunter2'
"""
    text = settings.encode() if conf is None else conf if isinstance(conf, bytes) else conf.encode()
    (place / f"{domain}.conf").write_bytes(text)
    path = place / f"{domain}.cer"
    path.write_bytes(pem(certificate(*names)))
    (place / "ca.cer").write_bytes(pem(authority()))
    (place / "fullchain.cer").write_bytes(pem(certificate(*names)) + pem(authority()))
    (place / f"{domain}.key").write_bytes(key_pem())
    late = (NOW - timedelta(days=1)).timestamp()
    os.utime(path, (late, late))
    written = (CREATED + timedelta(seconds=3)).timestamp()
    os.utime(place / f"{domain}.conf", (written, written))
    return place


def source(home: Path) -> AcmeShSource:
    return AcmeShSource(home, clock=lambda: NOW)


def test_a_lineage_is_known_from_when_acmesh_says_it_was_issued(tmp_path: Path) -> None:
    lineage(tmp_path, "a.example", "a.example", "www.a.example")
    lineage(tmp_path, "a.example_ecc", "a.example", "www.a.example")
    (tmp_path / "ca").mkdir()
    (tmp_path / "account.conf").write_text("SAVED_X='hunter2'\n")
    found = read(source(tmp_path))
    assert [event["lineage"] for event in found.events] == ["a.example", "a.example"]
    assert {row["known_at"] for row in (*found.certificates, *found.events)} == {CREATED}
    assert [row["fingerprint"] for row in found.events] == [row["fingerprint"] for row in found.certificates]
    assert {row["known_at"] for row in found.hosts} == {CREATED + timedelta(seconds=3)}
    event = found.events[0]
    assert (event["kind"], event["host"], event["actor"]) == ("issued", "a.example", "acmesh")
    assert event["code"] == "https://acme-v02.api.letsencrypt.org/directory"
    assert event["detail"] == "Le_Keylength=ec-256; Le_NextRenewTimeStr=2026-04-29T01:00:00Z"
    assert [host["automation"] for host in found.hosts] == ["acmesh", "acmesh"]
    assert "hunter2" not in repr(found)
    assert found.rejected == []


@pytest.mark.parametrize("conf", [b"", b"Le_Alt='no'\n", b"\xff\xfe", b"Le_Domain='a.exam", b"x" * (1 << 21)])
def test_a_broken_configuration_loses_no_certificate(tmp_path: Path, conf: bytes) -> None:
    lineage(tmp_path, "a.example", "a.example", conf=conf)
    found = read(source(tmp_path))
    assert [one.position for one in found.rejected] == ["a.example/a.example.conf"]
    assert [row["known_at"] for row in found.certificates] == [NOW - timedelta(days=1)]


def test_a_lineage_without_a_certificate_yet_is_told(tmp_path: Path) -> None:
    (lineage(tmp_path, "a.example", "a.example") / "a.example.cer").unlink()
    found = read(source(tmp_path))
    assert [one.reason for one in found.rejected] == ["no certificate a.example.cer beside it yet"]


@pytest.mark.parametrize(
    ("setting", "installer"),
    [
        ("Le_ReloadCmd='systemctl reload nginx'", "nginx"),
        ("Le_ReloadCmd='sudo systemctl reload-or-restart haproxy.service'", "haproxy"),
        (f"Le_ReloadCmd='{encoded('service apache2 force-reload')}'", "apache2"),
        ("Le_ReloadCmd='nginx -s reload'", "nginx"),
        ("Le_ReloadCmd='systemctl reload nginx; /opt/deploy'", None),
        ("Le_ReloadCmd='/opt/deploy --token hunter2'", None),
        ("Le_Webroot='nginx:'", None),
        ("Le_DeployHook='haproxy,'", "haproxy"),
    ],
)
def test_what_it_is_installed_into_as_far_as_certain(
    tmp_path: Path, setting: str, installer: str | None
) -> None:
    lineage(tmp_path, "a.example", "a.example", conf=f"Le_Domain='a.example'\n{setting}\n")
    found = read(source(tmp_path))
    assert [row["installer"] for row in found.hosts] == [installer]
    assert "hunter2" not in repr(found)


def test_only_what_has_changed_is_read_again(tmp_path: Path) -> None:
    lineage(tmp_path, "a.example", "a.example")
    lineage(tmp_path, "b.example", "b.example")
    with History(None) as history:
        assert history.ingest(source(tmp_path)).skipped == 0
        (tmp_path / "a.example" / "a.example.cer").write_bytes(pem(certificate("a.example", serial=9)))
        report = history.ingest(source(tmp_path))
        assert (report.tables["certificates"].new, report.skipped) == (1, 1)
        assert history.ingest(source(tmp_path)).skipped == 2


def test_what_only_looks_alike_is_not_recognised(tmp_path: Path) -> None:
    (tmp_path / "nginx").mkdir()
    (tmp_path / "nginx" / "nginx.conf").write_text("user www-data;")
    assert AcmeShSource.recognises(tmp_path) is None


@given(conf=st.text())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_configuration_is_read_or_set_aside(tmp_path: Path, conf: str) -> None:
    home = tmp_path / str(abs(hash(conf)))
    if not home.exists():
        lineage(home, "a.example", "a.example", conf=conf.encode("utf-8", "surrogatepass"))
    assert len(read(source(home)).certificates) == 1


def test_a_folder_is_recognised(tmp_path: Path) -> None:
    assert AcmeShSource.recognises(tmp_path) is None
    with pytest.raises(SourceError, match="holds no lineage of acme"):
        read(source(tmp_path))
    lineage(tmp_path, "a.example", "a.example")
    assert AcmeShSource.recognises(tmp_path) == "1 lineages of acme.sh"
