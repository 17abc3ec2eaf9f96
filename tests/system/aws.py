"""moto's server, which plays AWS, on a free port of loopback."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pytest

__all__ = ["REGION", "client", "moto_server"]

REGION = "eu-west-1"


@contextmanager
def moto_server() -> Iterator[str]:
    """Run it for the time of the block, and give its address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        running.stop()


def client(service: str, server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a client of a service, with credentials that moto takes; whoever follows finds them, too."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return boto3.client(service, region_name=REGION, endpoint_url=server)  # type: ignore[call-overload]
