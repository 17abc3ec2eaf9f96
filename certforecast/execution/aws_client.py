"""Clients of AWS that do not wait for long: boto3's own wait five times for a minute."""

from typing import Any, Final

__all__ = ["aws_client"]

_CONNECT_S: Final = 10.0
_READ_S: Final = 30.0
_TRIES: Final = 3


def aws_client(service: str, *, profile: str | None, region: str | None, endpoint_url: str | None) -> Any:
    """Give a client of a service.

    Parameters
    ----------
    service : str
        As boto3 calls it.
    profile, region : str or None
        Of the AWS configuration.
    endpoint_url : str or None
        Where the API is, if not where AWS has it.

    Raises
    ------
    ImportError
        If boto3 is not installed.
    botocore.exceptions.BotoCoreError, ValueError
        If there is no such profile or region.
    """
    import boto3
    from botocore.config import Config

    limits = Config(connect_timeout=_CONNECT_S, read_timeout=_READ_S, retries={"total_max_attempts": _TRIES})
    session = boto3.Session(profile_name=profile, region_name=region)
    return session.client(service, endpoint_url=endpoint_url, config=limits)  # type: ignore[call-overload]
