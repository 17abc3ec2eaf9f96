"""What an action did, as rows for the store.

All times are those the steps were checkpointed with, so that a record written twice is the same record.
"""

from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from certforecast.history.sources import Batch
from certforecast.history.x509 import certificate_row, fingerprint
from certforecast.planning.plan import Action, Plan

__all__ = ["held_out_rows", "rows"]

_SOURCE = "executor"

#: Which event a step gives when it is done, and when it failed.
_EVENTS = {
    "order": ("order_created", "order_failed"),
    "issue": ("issued", "order_failed"),
    "stage": ("staged", "install_failed"),
    "check": (None, "install_failed"),
    "install": ("installed", "install_failed"),
    "verify": ("verified", "verify_failed"),
    "rollback": ("rolled_back", "verify_failed"),
}


def rows(action: Action, done: dict[str, dict[str, Any]], actor: str) -> Batch:
    """Give the rows for what was done.

    Parameters
    ----------
    action : Action
        What was to be done.
    done : dict
        The results of its steps, by name.
    actor : str
        Who the events say did it. Events of this actor mark interventions: the renewal is no natural one.
    """
    batch = Batch()

    def event(
        at: str, kind: str, fingerprint: str | None, code: str | None = None, detail: str | None = None
    ) -> None:
        moment = datetime.fromisoformat(at)
        batch.events.append(
            {
                "at": moment,
                "lineage": action.name,
                "kind": kind,
                "host": action.host,
                "code": code,
                "detail": detail or fingerprint,  # where it stood before events had the column
                "fingerprint": fingerprint,
                "actor": actor,
                "source": _SOURCE,
                "known_at": moment,
            }
        )

    for step, result in done.items():
        if step not in _EVENTS:
            continue
        fine, failed = _EVENTS[step]
        error = result.get("error")
        at = result["at"]
        if error is not None:
            kind = "challenge_failed" if error.get("cause") == "challenge" else failed
            event(at, kind, action.fingerprint, error.get("code") or step, error["message"])
        elif fine is not None and not ("present" in done.get("order", {}) and step in ("order", "install")):
            event(at, fine, _fingerprint(step, action, done))
        if step == "install" and error is None:
            complaints = result["complaints"]
            event(
                at,
                "reload_failed" if complaints else "reloaded",
                action.fingerprint,
                "reload" if complaints else None,
                "; ".join(complaints) or None,
            )
        for look in result.get("looks", ()):
            moment = datetime.fromisoformat(look["observed_at"])
            batch.observations.append({**look, "observed_at": moment, "source": _SOURCE, "known_at": moment})
    if der := _issued(done):
        known_at = datetime.fromisoformat(done["issue"]["at"])
        batch.certificates.append(certificate_row(der, source=_SOURCE, known_at=known_at))
    return batch


def held_out_rows(plan: Plan, actor: str, at: datetime) -> Batch:
    """Give the rows that say what a plan left alone on purpose, and how likely that was.

    Parameters
    ----------
    plan : Plan
        Carried out.
    actor : str
        Who left it alone.
    at : datetime
        When the rest of the plan was carried out: from then on it is known.
    """
    batch = Batch()
    for left in plan.held_out:
        batch.events.append(
            {
                "at": plan.as_of,
                "lineage": left.name,
                "kind": "held_out",
                "host": left.host,
                "code": left.kind,
                "detail": repr(left.share),
                "fingerprint": left.fingerprint,
                "actor": actor,
                "source": _SOURCE,
                "known_at": at,
            }
        )
    return batch


def _issued(done: dict[str, dict[str, Any]]) -> bytes | None:
    """Give the certificate that was issued, if one was."""
    chain = done.get("issue", {}).get("chain")
    if not chain:
        return None
    return x509.load_pem_x509_certificates(chain.encode("ascii"))[0].public_bytes(Encoding.DER)


def _fingerprint(step: str, action: Action, done: dict[str, dict[str, Any]]) -> str | None:
    """Give the certificate that a step was about.

    Ordering and reloading name the certificate that is acted upon: that is how its renewal is known to
    be no natural one (:mod:`certforecast.renewals.outcomes`).
    """
    if step == "order":
        return action.fingerprint
    if step == "issue" and (der := _issued(done)):
        return fingerprint(der)
    if step == "rollback":
        back: str | None = done["rollback"]["looks"][0]["fingerprint"]
        return back
    new: str | None = done.get("stage", {}).get("fingerprint") or done["order"].get("present")
    return new
