"""AWS Private CA."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

from pydantic import Field

from certforecast.clock import Clock
from certforecast.errors import IssuanceError
from certforecast.execution.aws_client import aws_client
from certforecast.execution.issuers import Issuer, Order
from certforecast.execution.issuers.kept import KeptIssuer, KeptSection, names_of

__all__ = ["AcmPcaIssuer", "AcmPcaIssuerSettings"]

#: Seconds until a certificate is there; AWS takes a few.
_PATIENCE_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 3.0


class AcmPcaIssuerSettings(KeptSection):
    """AWS Private CA."""

    kind: Literal["acmpca"]
    authority_arn: str = Field(description="of the private CA")
    validity_days: int = Field(90, ge=1)
    template_arn: str | None = Field(None, description="default: a leaf for servers and clients")
    signing_algorithm: str | None = Field(
        None, description="such as SHA256WITHECDSA; default what the CA is set to"
    )
    region: str | None = Field(None, description="default that of authority_arn")
    profile: str | None = Field(None, description="of the AWS configuration")
    endpoint_url: str | None = Field(None, description="where the API is, if not where AWS has it")

    def open(self, clock: Clock) -> Issuer:
        """Give the issuer of this section."""
        del clock
        return AcmPcaIssuer(self)


class AcmPcaIssuer(KeptIssuer):
    """A private CA of AWS.

    AWS gives the same certificate for the same idempotency token for five minutes. The order's id is the
    token, and the certificate's ARN is written down as soon as it is known: so an order gives a second one
    only if it was cut off between the two and goes on later than that.

    Parameters
    ----------
    settings : AcmPcaIssuerSettings
        Its section.
    """

    def __init__(self, settings: AcmPcaIssuerSettings) -> None:
        super().__init__(settings)
        self._settings = settings

    def order(self, csr: bytes) -> Order:
        """Name an order, once the CA is known to be active; nothing is issued yet.

        Raises
        ------
        IssuanceError
            If the request is not sound, the CA is not active, or AWS cannot be asked or refuses.
        """
        order = self._kept.order(csr)
        self._describe()
        return order

    def issue(self, order: Order, csr: bytes) -> bytes:
        """Have the certificate issued, or fetch it if it is.

        Raises
        ------
        IssuanceError
            If AWS cannot be asked, refuses, or has not issued it after a minute.
        """
        kept = self._kept.find(order, csr)
        if (chain := kept.chain) is not None:
            return chain
        arn = kept.note() or kept.note(self._issue(kept.id, kept.request))
        assert arn is not None  # noqa: S101 - it was noted a line above
        return kept.keep(self._fetch(arn))

    def _describe(self) -> dict[str, Any]:
        with self._explained() as client:
            told: dict[str, Any] = client.describe_certificate_authority(
                CertificateAuthorityArn=self._settings.authority_arn
            )["CertificateAuthority"]
        if told.get("Status") != "ACTIVE":
            raise IssuanceError(
                f"{self._settings.authority_arn} is {told.get('Status')}, not ACTIVE: activate it, or name "
                "another",
                code="config",
            )
        return told

    def _issue(self, order: str, csr: bytes) -> str:
        settings = self._settings
        names_of(csr)
        algorithm = settings.signing_algorithm
        if algorithm is None:
            algorithm = self._describe()["CertificateAuthorityConfiguration"]["SigningAlgorithm"]
        options = {} if settings.template_arn is None else {"TemplateArn": settings.template_arn}
        with self._explained() as client:
            return str(
                client.issue_certificate(
                    CertificateAuthorityArn=settings.authority_arn,
                    Csr=csr,
                    SigningAlgorithm=algorithm,
                    Validity={"Type": "DAYS", "Value": settings.validity_days},
                    IdempotencyToken=order,
                    **options,
                )["CertificateArn"]
            )

    def _fetch(self, arn: str) -> bytes:
        deadline, pause = time.monotonic() + _PATIENCE_S, _FIRST_PAUSE_S
        with self._explained() as client:
            while True:
                try:
                    told = client.get_certificate(
                        CertificateAuthorityArn=self._settings.authority_arn, CertificateArn=arn
                    )
                    break
                except client.exceptions.RequestInProgressException:
                    if time.monotonic() + pause > deadline:
                        raise IssuanceError(
                            f"{arn} is not issued after {_PATIENCE_S:g} s: act again later", code="timeout"
                        ) from None
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
        return f"{told['Certificate']}\n{told.get('CertificateChain', '')}\n".encode("ascii")

    @contextmanager
    def _explained(self) -> Iterator[Any]:
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError as error:
            raise IssuanceError(
                "AWS Private CA needs boto3: pip install 'certforecast[aws]'", code="config"
            ) from error
        settings = self._settings
        parts = settings.authority_arn.split(":")
        region = settings.region or (parts[3] if len(parts) > 5 else None)
        try:
            yield aws_client(
                "acm-pca", profile=settings.profile, region=region, endpoint_url=settings.endpoint_url
            )
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "")) or None
            raise IssuanceError(f"AWS Private CA refuses: {error}", code=code) from error
        except (BotoCoreError, ValueError) as error:
            raise IssuanceError(
                f"AWS Private CA cannot be asked: {error}; check region, profile and credentials",
                code="unreachable",
            ) from error
