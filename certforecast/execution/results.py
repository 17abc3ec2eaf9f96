"""What became of an action."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from certforecast.planning.plan import ActionKind

__all__ = ["ActionResult", "Cause", "Status", "StepTime"]

#: ``dry``: nothing was changed, nothing would stand in the way. ``verified``: proven on the wire.
#: ``rolled_back``: not proven; what was there before is back, and that is proven. ``failed``: not done, the
#: detail says why. ``for_people``: not the executor's to do. ``waiting``: not before its start. ``skipped``:
#: what it needs had failed too often. ``stopped``: everything was stopped before it ended.
Status = Literal["dry", "verified", "rolled_back", "failed", "for_people", "waiting", "skipped", "stopped"]

#: What an action failed by: the issuer, a name that could not be validated, the installer, or the wire, which
#: did not show what was installed.
Cause = Literal["issuer", "challenge", "installer", "wire", "unexpected"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StepTime(_Model):
    """How long a step took when it was last carried out."""

    name: str
    seconds: float


class ActionResult(_Model):
    """What became of one action."""

    action_id: str
    name: str
    kind: ActionKind
    status: Status
    fingerprint_before: str | None = None
    fingerprint_after: str | None = None
    detail: str = ""
    cause: Cause | None = Field(None, description="what it failed by")
    ended_at: AwareDatetime | None = None
    steps: tuple[StepTime, ...] = ()
