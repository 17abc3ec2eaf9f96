"""What a rehearsal found."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from certforecast.errors import CertForecastError

__all__ = ["CheckResult", "Finding", "LeftOut", "Rehearsal"]


class LeftOut(CertForecastError):  # noqa: N818 (nothing went wrong)
    """A check does not apply here; the message says why."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Finding(_Model):
    """One thing that would make the renewal fail.

    Attributes
    ----------
    code : str
        The ACME problem type where there is one (RFC 8555, section 6.7), such as ``caa`` or ``connection``;
        else ``permission``, ``disk``, ``config``, ``reload``, ``clock``, ``timeout`` and the like.
    message : str
        What is wrong, where, and what to do about it.
    host : str or None
        The name of the certificate that it is about; None where it is about all of them.
    """

    code: str
    message: str
    host: str | None = None


class CheckResult(_Model):
    """What became of one check.

    Attributes
    ----------
    status : str
        ``passed``, ``found`` or ``left_out``.
    detail : str
        Why it was left out.
    """

    check: str
    status: Literal["passed", "found", "left_out"]
    detail: str = ""
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0


class Rehearsal(_Model):
    """One rehearsed renewal."""

    name: str
    lineage: str
    fingerprint: str
    host: str
    at: AwareDatetime
    checks: tuple[CheckResult, ...]

    @property
    def findings(self) -> tuple[tuple[str, Finding], ...]:
        """Every finding, with the name of its check."""
        return tuple((result.check, finding) for result in self.checks for finding in result.findings)
