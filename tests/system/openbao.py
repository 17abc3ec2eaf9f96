"""A real OpenBao in development mode (Vault's API), which keeps everything in memory."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hvac
import requests

TOKEN = "root-of-the-test"


@contextmanager
def openbao(folder: Path) -> Iterator[str]:
    """Run OpenBao for the time of the block, and give its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    bao = Path(sys.executable).with_name("bao")
    command = [str(bao), "server", "-dev", f"-dev-listen-address=127.0.0.1:{port}"]
    command += [f"-dev-root-token-id={TOKEN}", "-dev-no-store-token"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "HOME": str(folder)}, cwd=folder
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 30
        while not _ready(address):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(address: str) -> bool:
    try:
        return requests.get(f"{address}/v1/sys/health", timeout=2).ok
    except requests.RequestException:
        return False


def client(address: str) -> Any:
    return hvac.Client(address, TOKEN)


def token_for(address: str, policy: str) -> str:
    """Give a token that may do what a policy says and no more."""
    bao = client(address)
    bao.sys.create_or_update_policy("of-the-test", policy)
    return str(bao.auth.token.create(policies=["of-the-test"])["auth"]["client_token"])
