"""One real TLS endpoint on loopback, as a process of its own that imports next to nothing.

Started as ``python -m certforecast.simulation.endpoint``. It answers every request with one line. On SIGHUP
it reads certificate and key anew for the connections to come, and keeps the old ones if the new are bad.
"""

import argparse
import asyncio
import os
import signal
import ssl
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["main"]

_REQUEST_S = 5.0
_ORPHAN_CHECK_S = 0.5


def main() -> None:
    """Serve until SIGTERM or the end of the parent process."""
    parser = argparse.ArgumentParser(prog="certforecast.simulation.endpoint")
    parser.add_argument("--certificate", type=Path, required=True, help="PEM, leaf first")
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0, help="default: any that is free")
    parser.add_argument("--port-file", type=Path, help="written when the endpoint is ready")
    parser.add_argument("--pid-file", type=Path)
    parser.add_argument("--ignore-hup", action="store_true", help="a server whose reload is broken")
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments))


async def _serve(arguments: argparse.Namespace) -> None:
    parent = os.getppid()
    context = _context(arguments.certificate, arguments.key)
    front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)

    def choose(connection: ssl.SSLObject, _name: str | None, _front: ssl.SSLContext) -> None:
        connection.context = context

    def reload() -> None:
        nonlocal context
        if arguments.ignore_hup:
            return
        try:
            context = _context(arguments.certificate, arguments.key)
        except OSError as error:
            print(f"{arguments.certificate}: kept the old certificate: {error}", file=sys.stderr, flush=True)

    # The handshake's certificate is chosen by connection, so the listener never closes for a reload.
    front.sni_callback = choose
    server = await asyncio.start_server(_answer, "127.0.0.1", arguments.port, ssl=front, backlog=128)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload)
    loop.add_signal_handler(signal.SIGTERM, done.set)
    if arguments.pid_file is not None:
        _write(arguments.pid_file, os.getpid())
    if arguments.port_file is not None:
        _write(arguments.port_file, server.sockets[0].getsockname()[1])
    # Not prctl(2): that signals when the parent's thread ends, and only on Linux.
    while not done.is_set() and os.getppid() == parent:
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), _ORPHAN_CHECK_S)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_REQUEST_S):
            if await reader.readline():
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
                await writer.drain()
    except (OSError, TimeoutError, ValueError):
        pass
    finally:
        writer.close()


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _write(path: Path, number: int) -> None:
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(f"{number}\n", encoding="ascii")
    draft.replace(path)


if __name__ == "__main__":
    main()
