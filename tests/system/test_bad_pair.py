"""Many sites of one real nginx, of which it refuses some: the others are renewed all the same."""

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from certforecast.execution import Executor
from certforecast.planning.plan import Action, Endpoint
from tests.system.site import Prober, Site, nginx_section

pytestmark = pytest.mark.system

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
COUNT = 8


class Nginx:
    """An nginx with many sites, whose test refuses any new certificate of some."""

    def __init__(self, home: Path, start: Callable[[list[str], int], Any], port: int, bad: set[int]) -> None:
        self.home, self.bad = home, bad
        self.sites = [Site(home, f"www.site{number}.test") for number in range(COUNT)]
        servers = "\n".join(
            f"server {{ listen 127.0.0.1:{port} ssl; server_name {site.name}; location / {{ return 200; }}"
            f" ssl_certificate {site.certificate}; ssl_certificate_key {site.key}; }}"
            for site in self.sites
        )
        temporary = " ".join(
            f"{kind}_temp_path {home}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.conf = home / "nginx.conf"
        self.conf.write_text(
            f"{'user root;' if os.geteuid() == 0 else ''} daemon off; pid {home}/nginx.pid; events {{}}\n"
            f"error_log {home}/error.log; worker_processes 1;\n"
            f"http {{ access_log off; {temporary} {servers} }}"
        )
        # Stands for whatever nginx alone knows to be wrong with a certificate.
        checks = "\n".join(
            f"grep -q {site.certificate.read_text().splitlines()[3]} {site.certificate} ||"
            f" {{ echo refused {site.name}; exit 1; }}"
            for number, site in enumerate(self.sites)
            if number in bad
        )
        self.binary = home / "picky-nginx"
        self.binary.write_text(
            f'#!/bin/sh\ncase " $* " in *" -t "*|*" -T "*)\n:\n{checks}\n;; esac\nexec {NGINX} "$@"\n'
        )
        self.binary.chmod(0o755)
        self.process = start([NGINX, "-p", str(home), "-c", str(self.conf), "-e", f"{home}/error.log"], port)
        for site in self.sites:
            site.endpoint = Endpoint(host="127.0.0.1", port=port, server_name=site.name)

    def settings(self) -> Any:
        section = nginx_section(self.home, str(self.binary))
        # All that is under way meets in one reload; nothing rests for what fails.
        limits = {"max_failures": 99, "max_failures_in_all": 99, "reload_every_s": 1.0, "workers": COUNT}
        return self.sites[0].settings(
            installers={"nginx": section}, executor={**limits, "max_per_failure_domain": COUNT}
        )

    def actions(self) -> list[Action]:
        return [site.action(id=f"action{n}", installer="nginx") for n, site in enumerate(self.sites)]


@pytest.mark.parametrize("bad", [{3}, {2, 5, 6}])
def test_what_nginx_refuses_fails_alone(
    tmp_path: Path, start: Any, free_port: Callable[[], int], bad: set[int]
) -> None:
    nginx = Nginx(tmp_path, start, free_port(), bad)
    before = [(site.certificate.read_bytes(), site.key.read_bytes()) for site in nginx.sites]
    with ExitStack() as stack:
        probers = [stack.enter_context(Prober(site.endpoint, site.roots)) for site in nginx.sites[::3]]
        plan = nginx.sites[0].plan(*nginx.actions())
        results = Executor(nginx.settings()).run(plan, execute=True)
    told = [f"{result.status}: {result.detail}" for result in results]
    assert {n for n, result in enumerate(results) if result.status == "rolled_back"} == bad, told
    assert {n for n, result in enumerate(results) if result.status == "verified"} == set(range(COUNT)) - bad
    for number, site in enumerate(nginx.sites):
        if number in bad:
            assert f"refused {site.name}" in results[number].detail
            assert (site.certificate.read_bytes(), site.key.read_bytes()) == before[number]
            assert site.look().fingerprint == site.before
        else:
            assert site.look().fingerprint == results[number].fingerprint_after == site.in_place()
    assert [prober.refused for prober in probers] == [[]] * len(probers)
