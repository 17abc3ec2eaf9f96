"""Postfix and Dovecot, whose TLS begins with STARTTLS."""

import contextlib
import os
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Iterator
from imaplib import IMAP4
from pathlib import Path
from typing import Any

import pytest

from certforecast.execution.installers.dovecot import DovecotInstallerSettings
from certforecast.execution.installers.postfix import PostfixInstallerSettings
from tests.system.dovecot import dovecot_conf
from tests.system.installing import Contract, FreePort, ServerSite, home
from tests.system.site import wait_for

__all__ = ["home"]

pytestmark = pytest.mark.system

QUEUES = ("pid", "private", "public", "active", "incoming", "maildrop", "deferred", "defer", "bounce", "hold",
          "corrupt", "flush", "saved", "trace")  # fmt: skip


class PostfixSite(ServerSite):
    section = PostfixInstallerSettings
    starttls = "smtp"
    tester = ("postfix", "check")
    reloader = ("postfix", "reload")
    reads_by_itself = True
    tls = "smtpd_tls_cert_file = {certificate}\nsmtpd_tls_key_file = {key}"

    def __init__(self, home: Path, port: int) -> None:
        super().__init__(home)
        self.at(port)
        self.conf, queue, data = home / "conf", home / "queue", home / "data"
        for folder in (self.conf, queue, data):
            folder.mkdir()
        for name in QUEUES:
            (queue / name).mkdir(mode=0o755 if name == "pid" else 0o700)
            shutil.chown(queue / name, "root" if name == "pid" else "postfix")
        for name in ("maildrop", "public"):
            shutil.chown(queue / name, "postfix", "postdrop")
            (queue / name).chmod(0o730 if name == "maildrop" else 0o710)
        shutil.chown(data, "postfix")
        tls = self.tls.format(certificate=self.certificate, key=self.key, home=home)
        (self.conf / "main.cf").write_text(
            f"""
compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
maillog_file = {home}/log
maillog_file_prefixes = {home}
myhostname = {self.name}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
smtpd_tls_security_level = may
{tls}
"""
        )
        (self.conf / "master.cf").write_text(
            f"127.0.0.1:{port} inet n - n - - smtpd\n"
            "tlsmgr unix - - n 1000? 1 tlsmgr\n"
            "anvil unix - - n - 1 anvil\n"
            "rewrite unix - - n - - trivial-rewrite\n"
            "proxymap unix - - n - - proxymap\n"
            "postlog unix-dgram n - n - 1 postlogd\n"
        )

    def more(self) -> dict[str, Any]:
        return {"config": str(self.conf)}


class ChainSite(PostfixSite):
    """One file with the key first, as Postfix wants it."""

    tls = "smtpd_tls_chain_files = {home}/tls/chain.pem"

    def __init__(self, home: Path, port: int) -> None:
        super().__init__(home, port)
        chain = home / "tls" / "chain.pem"
        chain.write_bytes(self.key.read_bytes() + self.certificate.read_bytes())
        chain.chmod(0o600)
        self.certificate = self.key = chain


@contextlib.contextmanager
def postfix(site: PostfixSite) -> Iterator[PostfixSite]:
    master = subprocess.Popen(["/usr/lib/postfix/sbin/master", "-c", site.conf, "-d"], start_new_session=True)
    try:
        wait_for(lambda: site.look().fingerprint is not None, master)
        yield site
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(master.pid, 15)
        master.wait(20)


class TestPostfix(Contract):
    @pytest.fixture
    def server(self, home: Path, free_port: FreePort) -> Iterator[PostfixSite]:
        with postfix(PostfixSite(home, free_port())) as site:
            yield site

    def test_a_session_that_is_open_goes_on(self, server: PostfixSite) -> None:
        context = ssl.create_default_context(cafile=server.roots)
        with smtplib.SMTP("127.0.0.1", server.endpoint.port, timeout=30) as session:
            session._host = server.name  # type: ignore[attr-defined]  # whom the certificate must name
            session.starttls(context=context)
            result = server.renew()
            assert result.status == "verified", result.detail
            assert session.noop()[0] == 250


class TestPostfixChain(Contract):
    @pytest.fixture
    def server(self, home: Path, free_port: FreePort) -> Iterator[PostfixSite]:
        with postfix(ChainSite(home, free_port())) as site:
            yield site


class DovecotSite(ServerSite):
    section = DovecotInstallerSettings
    starttls = "imap"
    tester = ("doveconf", "-n")
    reloader = ("doveadm", "reload")
    reads_by_itself = True

    def __init__(self, home: Path, port: int) -> None:
        super().__init__(home)
        self.at(port)
        (home / "run").mkdir(exist_ok=True)
        self.conf = home / "dovecot.conf"
        self.conf.write_text(dovecot_conf(home, self.certificate, self.key, imap=port))

    def more(self) -> dict[str, Any]:
        return {"config": str(self.conf)}


class TestDovecot(Contract):
    @pytest.fixture
    def server(self, home: Path, free_port: FreePort, start: Callable[..., Any]) -> DovecotSite:
        site = DovecotSite(home, free_port())
        start(["dovecot", "-F", "-c", str(site.conf)], site.endpoint.port)
        return site

    def test_a_session_that_is_open_goes_on(self, server: DovecotSite) -> None:
        context = ssl.create_default_context(cafile=server.roots)
        with IMAP4("127.0.0.1", server.endpoint.port, timeout=30) as session:
            session.host = server.name  # whom the certificate must name
            session.starttls(context)
            result = server.renew()
            assert result.status == "verified", result.detail
            assert session.noop()[0] == "OK"
