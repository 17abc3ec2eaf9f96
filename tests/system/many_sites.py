"""Many sites behind one TLS server, which reads a site's files at every handshake, by the name asked for.

Called as ``python -m tests.system.many_sites FOLDER PORT_FILE`` it is the server. No common server does so
without a reload; here that spares a thousand reloads.
"""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from certforecast.atomic import write_file
from certforecast.execution.issuers.embedded import EmbeddedIssuer
from certforecast.execution.verification import handshake
from certforecast.planning.plan import Action, Plan, action_id
from tests.system.site import Site, plan_of, wait_for

__all__ = ["ManySites"]


class ManySites:
    """Sites whose certificates have a day left."""

    def __init__(self, home: Path, count: int) -> None:
        self.home = home
        self.sites = [Site(home, f"www.site{number:04}.test") for number in range(count)]
        self.issuer = EmbeddedIssuer(home / "ca")
        self.before = self.issued()

    def issued(self) -> int:
        """Count the certificates that the issuer ever signed."""
        return len(list((self.home / "ca" / "issued").glob("[!.]*.pem")))

    def toml(self, **executor: Any) -> Path:
        """Write the settings, for commands."""
        path = self.home / "certforecast.toml"
        lines = [
            f'home = "{self.home}/home"',
            *(f'{key} = "{executor.pop(key)}"' for key in ("database_url",)),
        ]
        lines += ["[issuers.ca]", 'kind = "embedded"', f'directory = "{self.home}/ca"', "[installers.files]"]
        lines += ['kind = "files"', f'certificate = "{self.home}/tls/{{name}}/fullchain.pem"']
        lines += [f'key = "{self.home}/tls/{{name}}/privkey.pem"', "[executor]"]
        lines += [f"{key} = {value}" for key, value in executor.items()]
        path.write_text("\n".join(lines) + "\n")
        return path

    def plan(self) -> Plan:
        """Give a signed plan that renews all."""
        now = datetime.now(UTC)
        actions: list[Action] = []
        for site in self.sites:
            actions.append(site.action(id=action_id("renew", site.before, now)))
        made = plan_of(*actions)
        later = now + timedelta(hours=6)
        return made.model_copy(update={"expires_at": later}).signed(self.home / "home")

    @contextmanager
    def served(self) -> Iterator["ManySites"]:
        """Run the server for the time of the block."""
        port_file = self.home / "port"
        command = [sys.executable, "-m", "tests.system.many_sites", str(self.home / "tls"), str(port_file)]
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
        try:
            wait_for(port_file.exists, process)
            for site in self.sites:
                site.endpoint = site.endpoint.model_copy(update={"port": int(port_file.read_text())})
            yield self
        finally:
            process.terminate()
            process.wait(10)

    def fresh(self) -> int:
        """Count the sites that serve a new certificate."""
        looks = ((site, handshake(site.endpoint, roots=self.issuer.roots)) for site in self.sites)
        return sum(seen.chain_ok and seen.fingerprint != site.before for site, seen in looks)


async def main(folder: Path, port_file: Path) -> None:
    """Serve until terminated."""

    def choose(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> int | None:
        files = [folder / str(name) / f"{kind}.pem" for kind in ("fullchain", "privkey")]
        chosen = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for _attempt in range(50):  # a swap may come between the two files, as it may for any server
            try:
                chosen.load_cert_chain(*files)
                break
            except (ssl.SSLError, OSError):
                continue
        else:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = chosen
        return None

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(100)
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            writer.close()
        except OSError:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = choose  # type: ignore[assignment]
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    write_file(port_file, str(server.sockets[0].getsockname()[1]).encode())
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*map(Path, sys.argv[1:3])))
