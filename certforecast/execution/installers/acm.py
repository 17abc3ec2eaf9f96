"""AWS Certificate Manager: imported over the same ARN, so that all that uses it goes on with the new one."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field

from certforecast.errors import InstallationError
from certforecast.execution.aws_client import aws_client
from certforecast.execution.checks import check_pair, leaf_fingerprint
from certforecast.execution.installers import Found, Installer, InstallerSection
from certforecast.execution.installers.elsewhere import ElsewhereInstaller, shown
from certforecast.execution.installers.sealed_versions import SealedVersions
from certforecast.security.redaction import hush, redact

__all__ = ["AcmInstaller", "AcmInstallerSettings"]

#: Seconds until an import is seen by those who ask.
_PATIENCE_S: Final = 30.0
_PAUSE_S: Final = 0.5


class AcmInstallerSettings(InstallerSection):
    """AWS Certificate Manager, for load balancers, CloudFront and API gateways."""

    kind: Literal["acm"]
    arn: str = Field(description="of an imported certificate, which keeps it")
    region: str | None = Field(None, description="default that of the ARN")
    profile: str | None = Field(None, description="of the AWS configuration")
    endpoint_url: str | None = Field(None, description="where the API is, if not where AWS has it")
    directory: Path = Field(description="where what was imported is kept, sealed: ACM gives no key back")
    without_rollback: bool = Field(
        False, description="replace also what others imported, which could not be put back"
    )

    def open(self, name: str) -> Installer:
        """Give the installer of this section."""
        return AcmInstaller(self, name=name)

    @classmethod
    def discover_at(cls, place: str | None) -> list[Found]:
        """Find the imported certificates of a region; those that ACM issued, it renews itself.

        Parameters
        ----------
        place : str or None
            A region; None stands for the one that boto3 is configured for, as are the credentials.

        Raises
        ------
        InstallationError
            If ACM cannot be asked.
        """
        found = []
        with _connection(None, place, None, "to list its certificates") as client:
            # Without this filter, ACM lists RSA_2048 only.
            types = {"keyTypes": list(client.meta.service_model.shape_for("KeyAlgorithm").enum)}
            for page in client.get_paginator("list_certificates").paginate(Includes=types):
                for arn in (each["CertificateArn"] for each in page["CertificateSummaryList"]):
                    told = client.describe_certificate(CertificateArn=arn)["Certificate"]
                    if told.get("Type") != "IMPORTED":
                        continue
                    names, leaf = shown(client.get_certificate(CertificateArn=arn).get("Certificate"))
                    settings = {"kind": "acm", "arn": arn, "directory": "/var/lib/certforecast/acm"}
                    found.append(Found("acm", names, tuple(told.get("InUseBy", ())), leaf, settings))
        return found


class AcmInstaller(ElsewhereInstaller):
    """One imported certificate of ACM.

    Parameters
    ----------
    settings : AcmInstallerSettings
        Its texts without fields to fill in.
    name : str
        The lineage's name.
    """

    def __init__(self, settings: AcmInstallerSettings, *, name: str) -> None:
        self._settings = settings
        self._kept = SealedVersions(settings.directory, name)

    @property
    def server(self) -> str:
        """What one reload reloads, in words."""
        return f"ACM {self._settings.arn}"

    def current(self) -> str | None:
        """Give the fingerprint of the leaf that ACM has.

        Raises
        ------
        InstallationError
            If ACM cannot be asked.
        """
        with self._client() as client:
            told = client.get_certificate(CertificateArn=self._settings.arn)
        return leaf_fingerprint(str(told.get("Certificate", "")).encode())

    def check_files(self) -> None:
        """Refuse a certificate that ACM issued itself, and one that could not be put back.

        Raises
        ------
        InstallationError
            If so.
        """
        with self._client() as client:
            told = client.describe_certificate(CertificateArn=self._settings.arn)["Certificate"]
        if told.get("Type") != "IMPORTED":
            raise InstallationError(
                f"{self._settings.arn} is of type {told.get('Type')}: ACM renews it itself, only imported "
                "ones can be replaced",
                code="config",
            )
        current = self.current()
        if not self._settings.without_rollback and not self._kept.holds(current or ""):
            raise InstallationError(
                f"what {self._settings.arn} has was not imported from here, and ACM gives no key back, so it "
                "could not be put back: set without_rollback = true for the first time",
                code="config",
            )

    def folders(self) -> list[Path]:
        """Give the folder that versions are kept in, if it exists."""
        return [self._settings.directory] if self._settings.directory.is_dir() else []

    def swap(self, chain_pem: bytes, key_pem: bytes) -> None:
        """Import a new certificate over the one that is there, and see that ACM has it.

        Raises
        ------
        InstallationError
            If certificate and key do not belong together, which ACM need not notice, or ACM refuses.
        """
        check_pair(chain_pem, key_pem)
        self._kept.keep(chain_pem, key_pem)
        self._import(chain_pem, key_pem)

    def restore(self, fingerprint: str) -> None:
        """Import a version again that was there before.

        Raises
        ------
        InstallationError
            If it is not kept, or ACM refuses.
        """
        if self.current() != fingerprint:
            pair = self._kept.give(fingerprint)
            self._kept.keep(*pair)  # it is the newest again
            self._import(*pair)

    def describe(self) -> list[str]:
        """Say what would be replaced."""
        return [f"switch {self._settings.arn} by import"]

    def _import(self, chain_pem: bytes, key_pem: bytes) -> None:
        fingerprint = leaf_fingerprint(chain_pem)
        end = b"-----END CERTIFICATE-----"
        leaf, _, others = chain_pem.partition(end)
        chain = {"CertificateChain": others.strip() + b"\n"} if others.strip() else {}
        with self._client(key_pem) as client:
            client.import_certificate(
                CertificateArn=self._settings.arn,
                Certificate=leaf + end + b"\n",
                PrivateKey=key_pem,
                **chain,
            )
        deadline = time.monotonic() + _PATIENCE_S
        while (seen := self.current()) != fingerprint:
            if time.monotonic() > deadline:
                raise InstallationError(
                    f"{self._settings.arn} has {str(seen)[:12]} still, {_PATIENCE_S:g} s after the import"
                )
            time.sleep(_PAUSE_S)

    def _client(self, *secrets: bytes) -> AbstractContextManager[Any]:
        settings, parts = self._settings, self._settings.arn.split(":")
        region = settings.region or (parts[3] if len(parts) > 5 else None)
        return _connection(settings.profile, region, settings.endpoint_url, settings.arn, *secrets)


@contextmanager
def _connection(
    profile: str | None, region: str | None, endpoint_url: str | None, what: str, *secrets: bytes
) -> Iterator[Any]:
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise InstallationError("ACM needs boto3: pip install 'certforecast[aws]'", code="config") from error
    hush("botocore", "boto3")  # it would log requests, keys included
    try:
        yield aws_client("acm", profile=profile, region=region, endpoint_url=endpoint_url)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        denied = code in ("AccessDeniedException", "UnrecognizedClientException")
        raise InstallationError(
            f"ACM refuses {what}: {redact(str(error), *secrets)}",
            code="permission" if denied else code or None,
        ) from None
    except (BotoCoreError, ValueError) as error:
        raise InstallationError(
            f"ACM cannot be asked: {redact(str(error), *secrets)}; check region, profile and credentials",
            code="unreachable",
        ) from None
