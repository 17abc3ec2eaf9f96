"""The plan: ranked actions as a file that a person can read and the executor takes."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from certforecast.atomic import write_file
from certforecast.errors import PlanError, SignatureError
from certforecast.history.names import host_of
from certforecast.signing import check_seal, seal, signing_key

__all__ = [
    "ACTION_PURPOSE",
    "SCHEMA_VERSION",
    "Action",
    "ActionKind",
    "Endpoint",
    "HeldOut",
    "Plan",
    "Probabilities",
    "Timetable",
    "action_id",
    "plan_id",
    "ticket_bytes",
]

#: Version of the plan's schema; a plan of a newer version is refused.
SCHEMA_VERSION = 4

#: For the executor: ``renew`` orders and installs a new certificate, ``install`` serves one that is issued
#: already, ``reissue`` renews at another authority. For people: ``fix`` mends the cause in `Action.check`,
#: ``rehearse`` tries what a renewal would meet, ``escalate`` asks the owner to look, ``retire`` confirms that
#: a certificate is no longer used. ``wait``: nothing yet; `Action.then` comes at `Action.start`.
ActionKind = Literal["renew", "install", "reissue", "fix", "rehearse", "escalate", "retire", "wait"]


_AGAIN: Final = "make it again with 'certforecast plan'"
_PURPOSE: Final = "plan"
#: What an action's own signature is for.
ACTION_PURPOSE: Final = "action"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Endpoint(_Model):
    """Where a certificate is served; `server_name` is what a client asks for (SNI)."""

    host: str
    port: int = Field(ge=1, le=65535)
    server_name: str
    installer: str | None = Field(
        None, description="a name under [installers], where it is not that of the action"
    )
    starttls: str | None = Field(
        None, description="what is spoken until TLS begins; null: as the installer says, else by port"
    )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Probabilities(_Model):
    """What will become of the renewal if nothing is done."""

    on_time: float = Field(ge=0, le=1)
    slipped: float = Field(ge=0, le=1)
    failed: float = Field(ge=0, le=1)
    retired: float = Field(ge=0, le=1)


class Action(_Model):
    """One thing to do about one renewal."""

    id: str
    rank: int = Field(ge=1, description="1 is the most worthwhile")
    kind: ActionKind
    lineage: str = Field(description="fingerprint of the lineage's first certificate")
    name: str = Field(description="what people call the lineage")
    fingerprint: str = Field(description="the certificate now in place")
    successor: str | None = Field(None, description="the certificate that is issued but not in service")
    names: tuple[str, ...] = Field(description="what the new certificate must cover")
    endpoints: tuple[Endpoint, ...] = Field(description="where it must be proven")
    not_after: AwareDatetime
    probabilities: Probabilities
    expected_loss: float = Field(description="if nothing is done")
    expected_loss_averted: float
    cost: float
    hours: float = Field(0.0, ge=0, description="of a person")
    owner: str | None = None
    environment: str | None = Field(None, description="as the inventory says")
    urgent: bool = Field(False, description="the CA asks before it would be due: at any time is good")
    check: str | None = Field(None, description="for fix: the check or attempt that failed, and how")
    deadline: AwareDatetime | None = Field(None, description="when the loss begins: the expiry, or now")
    latest_start: AwareDatetime | None = Field(
        None, description="the last moment that is in time for certain"
    )
    start: AwareDatetime | None = Field(
        None, description="when to begin; null: there is no room within the horizon"
    )
    then: ActionKind | None = Field(None, description="for wait: what is to be done once waiting ends")
    criticality: float | None = None
    issuer: str | None = Field(None, description="a name under [issuers] in the settings")
    installer: str | None = Field(None, description="a name under [installers] in the settings")
    reasons: tuple[str, ...]
    seal: str | None = Field(None, description="signature of this action alone")

    @property
    def host(self) -> str:
        """The first of its names that is one host's; of one without names, what people call it."""
        return host_of(self.names) if self.names else self.name


class HeldOut(_Model):
    """One renewal that is left alone on purpose, by lot: what becomes of it can be learned from."""

    kind: ActionKind = Field(description="what would have been done")
    lineage: str = Field(description="fingerprint of the lineage's first certificate")
    name: str = Field(description="what people call the lineage")
    fingerprint: str = Field(description="the certificate now in place")
    host: str = Field(description="the first of its names that is one host's")
    not_after: AwareDatetime
    probabilities: Probabilities
    expected_loss_averted: float = Field(description="what leaving it alone is expected to cost")
    criticality: float | None = None
    share: float = Field(gt=0, le=1, description="with which probability such a renewal is left alone")
    why: str


class Timetable(_Model):
    """How the actions were scheduled."""

    horizon_ends: AwareDatetime
    value: float = Field(description="expected loss averted less costs, of all that has a start")
    bound: float = Field(description="no schedule within the limits is worth more")
    gap: float = Field(ge=0, le=1, description="what may be missing to the best, as a share of the bound")
    method: Literal["exact", "heuristic"]


class Plan(_Model):
    """Actions, most worthwhile first, with the time until which they may be carried out."""

    schema_version: int = SCHEMA_VERSION
    id: str
    created_at: AwareDatetime
    as_of: AwareDatetime
    expires_at: AwareDatetime
    model: str | None = None
    actions: tuple[Action, ...]
    timetable: Timetable | None = None
    held_out: tuple[HeldOut, ...] = Field((), description="left alone on purpose; never touched")

    seal: str | None = Field(None, description="signature of all the rest")

    def signed(self, home: Path) -> Self:
        """Give this plan with the signature of a home folder's key, without which nothing carries it out.

        Raises
        ------
        SignatureError
            If the key cannot be used.
        """
        key = signing_key(home)
        actions = tuple(
            action.model_copy(
                update={"seal": seal(ticket_bytes(self.ticket(action)), ACTION_PURPOSE, key).decode()}
            )
            for action in self.actions
        )
        whole = self.model_copy(update={"actions": actions})
        return whole.model_copy(update={"seal": seal(whole.signed_bytes(), _PURPOSE, key).decode()})

    def ticket(self, action: Action) -> dict[str, Any]:
        """Give what of an action is signed by itself, so that it may be carried out without the rest."""
        return {
            "plan": self.id,
            "expires_at": self.expires_at.isoformat(),
            "action": action.model_dump(mode="json", exclude={"seal"}),
        }

    def signed_bytes(self) -> bytes:
        """Give what a signature is over: the document without its seal."""
        return self.model_dump_json(indent=2, exclude={"seal"}).encode()

    def check_signed(self, key: Ed25519PublicKey) -> None:
        """Make sure that the plan is what the owner of a key signed.

        Raises
        ------
        SignatureError
            If it is not signed, was changed, or is signed by another key.
        """
        try:
            check_seal(self.signed_bytes(), (self.seal or "").encode(), _PURPOSE, key)
        except SignatureError as error:
            raise SignatureError(f"plan {self.id} {error}; {_AGAIN}") from error

    def write(self, path: Path | str) -> None:
        """Write the plan as JSON, all of it or nothing."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_file(target, self._document())

    def _document(self) -> bytes:
        return self.model_dump_json(indent=2).encode() + b"\n"

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read a plan.

        Raises
        ------
        PlanError
            If the file is missing, not JSON, of a newer version, or does not fit the schema.
        SignatureError
            If it has a signature, and any byte of it is not as it was written.
        """
        source = Path(path)
        try:
            written = source.read_bytes()
            document = from_json(written)
        except FileNotFoundError as error:
            raise PlanError(f"there is no plan at {source}: make one with 'certforecast plan'") from error
        except OSError as error:
            raise PlanError(f"plan {source} cannot be read: {error.strerror}; name a plan file") from error
        except ValueError as error:
            raise PlanError(f"plan {source} is not JSON: {error}; {_AGAIN}") from error
        version = document.get("schema_version") if isinstance(document, dict) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise PlanError(
                f"plan {source} has schema version {version}, this certforecast reads up to "
                f"{SCHEMA_VERSION}: upgrade certforecast, or make the plan again"
            )
        try:
            plan = cls.model_validate(document)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the document"
            more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
            raise PlanError(
                f"plan {source} does not fit the schema: {where}: {first['msg']}{more}; {_AGAIN}"
            ) from error
        if plan.seal is not None and version != SCHEMA_VERSION:
            raise PlanError(f"plan {source} has schema version {version}, an older one: {_AGAIN}")
        if plan.seal is not None and written != plan._document():
            raise SignatureError(f"plan {source} was changed after it was signed; {_AGAIN}")
        return plan

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """Give the JSON Schema of a plan file."""
        return cls.model_json_schema()

    def check_fresh(self, now: datetime) -> None:
        """Refuse to go on with an expired plan.

        Raises
        ------
        PlanError
            If `now` is later than `expires_at`.
        """
        if now > self.expires_at:
            raise PlanError(
                f"plan {self.id} expired at {self.expires_at:%Y-%m-%d %H:%M} UTC: the world has moved on, "
                "make a new one with 'certforecast plan'"
            )


def action_id(kind: str, fingerprint: str, as_of: datetime) -> str:
    """Derive an action's id: the same action of the same plan always has the same."""
    return _digest([kind, fingerprint, as_of.isoformat()])


def plan_id(as_of: datetime, actions: Iterable[Action]) -> str:
    """Derive a plan's id from what it says is to be done, to what and by what, whatever the reasons."""
    said = (action.model_dump_json(exclude={"seal", "reasons"}) for action in actions)
    return _digest([as_of.isoformat(), *said])


def ticket_bytes(ticket: dict[str, Any]) -> bytes:
    """Give the bytes of a ticket that its signature is over."""
    return json.dumps(ticket, sort_keys=True, separators=(",", ":")).encode()


def _digest(parts: list[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
