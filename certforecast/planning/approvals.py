"""Approvals: people's signatures on a plan, kept beside it."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from certforecast.atomic import write_file
from certforecast.errors import PlanError, SignatureError
from certforecast.planning.plan import Plan
from certforecast.signing import check_seal, key_id, read_verifying_key, seal, signing_key

__all__ = ["Approval", "approve", "approvers_of", "read_approvals", "write_approval"]

_PURPOSE: Final = "approval"


class Approval(BaseModel):
    """One person's signature on a plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str
    at: AwareDatetime
    seal: str


def approve(plan: Plan, by: str, home: Path, at: datetime) -> Approval:
    """Sign a plan with the key of a person's own home folder.

    Raises
    ------
    SignatureError
        If the key cannot be used.
    """
    return Approval(by=by, at=at, seal=seal(_signed(plan, by, at), _PURPOSE, signing_key(home)).decode())


def approvers_of(plan: Plan, approvals: Sequence[Approval], keys: dict[str, Path]) -> list[str]:
    """Give the people who approved a plan. Whoever has several names, but one key, counts once.

    Parameters
    ----------
    plan : Plan
        As it is to be carried out; an approval of anything else does not hold.
    approvals : sequence of Approval
        As they were found.
    keys : dict of str to Path
        Who may approve: by name the file of a public key.

    Raises
    ------
    SignatureError
        If a key cannot be read, or an approval is by nobody in `keys` or does not hold.
    """
    found: dict[str, str] = {}
    for approval in approvals:
        if approval.by not in keys:
            raise SignatureError(
                f"plan {plan.id} is approved by {approval.by}, who is not among approvals.approvers of the "
                "settings"
            )
        key: Ed25519PublicKey = read_verifying_key(keys[approval.by])
        try:
            check_seal(_signed(plan, approval.by, approval.at), approval.seal.encode(), _PURPOSE, key)
        except SignatureError as error:
            raise SignatureError(
                f"the approval of plan {plan.id} by {approval.by} {error}: have it approved again"
            ) from error
        found.setdefault(key_id(key), approval.by)
    return sorted(found.values())


def read_approvals(plan_path: Path) -> list[Approval]:
    """Read the approvals beside a plan file; none if there is no such file.

    Raises
    ------
    PlanError
        If the file cannot be read or holds something else.
    """
    path = _beside(plan_path)
    try:
        rows = json.loads(path.read_bytes())
        return [Approval.model_validate(row) for row in rows]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, ValidationError) as error:
        raise PlanError(
            f"{path} holds no approvals ({error}): delete it and have the plan approved again"
        ) from error


def write_approval(plan_path: Path, approval: Approval) -> Path:
    """Put an approval beside a plan file, in the place of an earlier one by the same person."""
    kept = [each for each in read_approvals(plan_path) if each.by != approval.by]
    path = _beside(plan_path)
    rows = [each.model_dump(mode="json") for each in (*kept, approval)]
    write_file(path, json.dumps(rows, indent=2).encode() + b"\n")
    return path


def _beside(plan_path: Path) -> Path:
    return plan_path.with_name(f"{plan_path.name}.approvals")


def _signed(plan: Plan, by: str, at: datetime) -> bytes:
    return f"{by}\n{at.isoformat()}\n".encode() + plan.signed_bytes()
