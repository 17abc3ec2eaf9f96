"""AWS Certificate Manager: the certificates of one account in one region."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from certforecast.clock import Clock, parse_moment, system_clock
from certforecast.errors import InputError, SourceError
from certforecast.history.sources import NO_MARKS, Batch, Mark, Marks, Rejected, Source, Whole
from certforecast.history.sources.acm_descriptions import events, first_known, host
from certforecast.history.sources.batching import Found, Skipped, batches
from certforecast.history.x509 import fingerprint, split_pem

__all__ = ["AcmSource"]

#: Certificates in one question; ACM allows up to 1000.
_PAGE: Final = 100
#: Nothing happens to these any more, unless they get another status.
_SETTLED: Final = frozenset({"EXPIRED", "FAILED", "REVOKED", "VALIDATION_TIMED_OUT"})
#: No certificate was issued, or not yet.
_WITHOUT: Final = frozenset({"FAILED", "PENDING_VALIDATION", "VALIDATION_TIMED_OUT"})
#: Errors that concern one certificate; the others can be read.
_OF_ONE: Final = frozenset(
    {
        "AccessDeniedException",
        "InvalidArnException",
        "RequestInProgressException",
        "ResourceNotFoundException",
        "ValidationException",
    }
)

Finds = Iterator[Found | Whole | Rejected | Mark | Skipped]


class AcmSource(Source):
    """Certificates of AWS Certificate Manager (ACM), imported and issued, with what became of their renewals.

    Read are the certificates of all key types and in any status, asked from the API of one region with the
    credentials that boto3 finds (environment, profile, role). CloudFront's are in ``us-east-1``.

    ACM keeps only the present version of a certificate, and tells only the last of what happened to it. A
    version is known from the time that ACM gives for it (``IssuedAt``, ``ImportedAt``, a successful renewal's
    ``UpdatedAt``), if that time can be this version's; else from the import on. The lineage is the id in the
    certificate's ARN, which stays when ACM renews it or a new version is imported over it. What a certificate
    is used by is known from the import on.

    Deleted certificates and versions replaced between two imports are not seen: import often.

    Parameters
    ----------
    place : str
        An AWS region such as ``eu-west-1``, or ``default`` for the region that boto3 is configured for.
    profile : str, optional
        Of the AWS configuration.
    endpoint_url : str, optional
        Where the API is, if not where AWS has it.
    clock : callable
        Gives the present.
    """

    name = "acm"
    extra = "aws"
    needs = ("boto3",)

    def __init__(
        self,
        place: str,
        *,
        profile: str | None = None,
        endpoint_url: str | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self.place = place
        self.profile = profile
        self.endpoint_url = endpoint_url
        self.clock = clock

    def read(self, marks: Marks = NO_MARKS) -> Iterator[Batch]:
        """Yield batches of certificates, events and hosts.

        Raises
        ------
        SourceError
            If there are no credentials or no such region, or the API cannot be reached or refuses.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._client()
        try:
            for page in self._pages(client):
                # A batch a page: where the API stops answering, what it gave so far is kept.
                yield from batches(self._page(client, page, marks))
        except (BotoCoreError, ClientError) as error:
            raise self._unreadable(error) from error

    def _client(self) -> Any:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        region = None if self.place == "default" else self.place
        # ACM allows some ten questions a second: the adaptive mode slows down to what is allowed.
        patient = Config(retries={"mode": "adaptive", "total_max_attempts": 8})
        try:
            session = boto3.Session(profile_name=self.profile, region_name=region)
            return session.client("acm", endpoint_url=self.endpoint_url, config=patient)
        except (BotoCoreError, ValueError) as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> SourceError:
        return SourceError(
            f"ACM in region {self.place} cannot be read: {error}; check region, profile and credentials,"
            " which need acm:ListCertificates, acm:DescribeCertificate and acm:GetCertificate"
        )

    def _pages(self, client: Any) -> Iterator[list[Any]]:
        # Without this filter, ACM lists RSA_2048 only.
        types = {"keyTypes": list(client.meta.service_model.shape_for("KeyAlgorithm").enum)}
        pages = client.get_paginator("list_certificates").paginate(
            Includes=types, PaginationConfig={"PageSize": _PAGE}
        )
        for page in pages:
            yield page.get("CertificateSummaryList", [])

    def _page(self, client: Any, page: list[Any], marks: Marks) -> Finds:
        from botocore.exceptions import ClientError

        for number, summary in enumerate(page):
            arn = summary.get("CertificateArn")
            if not arn:
                yield Rejected(f"{self.place}#{number}", "certificate has no ARN; ask ACM again")
                continue
            try:
                yield from self._certificate(client, arn, summary.get("Status"), _Seen.read(marks.get(arn)))
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") not in _OF_ONE:
                    raise
                yield Rejected(arn, f"certificate cannot be read: {error}")

    def _certificate(self, client: Any, arn: str, status: str | None, seen: "_Seen") -> Finds:
        if status in _SETTLED and status == seen.status:
            yield Skipped(arn)
            return
        told = client.describe_certificate(CertificateArn=arn).get("Certificate") or {}
        now = self.clock()
        new = _Seen.of(told, now)
        if new.digest == seen.digest:
            yield Skipped(arn)
            return
        version = None
        if told.get("Status") not in _WITHOUT and (not new.serial or new.serial != seen.serial):
            pem = client.get_certificate(CertificateArn=arn).get("Certificate", "")
            _, der = next(split_pem(pem.encode()), (0, InputError("ACM gave no certificate; ask again")))
            if isinstance(der, InputError):
                yield Rejected(arn, str(der))
                return
            yield Whole(der, first_known(told, seen.looked, now), arn)
            version = fingerprint(der)
        for event in events(told, arn, self.name, now, version, seen.looked):
            yield Found("events", event, arn)
        if place := host(told, now):
            yield Found("hosts", place, arn)
        yield Mark(arn, new.state)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look at a certificate has shown, as its mark keeps it."""

    status: str | None = None
    serial: str | None = None
    digest: str | None = None
    looked: datetime | None = None

    @classmethod
    def of(cls, told: dict[str, Any], now: datetime) -> Self:
        digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:32]
        return cls(told.get("Status"), told.get("Serial"), digest, now)

    @classmethod
    def read(cls, state: str | None) -> Self:
        try:
            status, serial, digest, looked = json.loads(state or "")
            return cls(status, serial, digest, parse_moment(looked))
        except (TypeError, ValueError):
            return cls()

    @property
    def state(self) -> str:
        return json.dumps([self.status, self.serial, self.digest, self.looked], default=str)
