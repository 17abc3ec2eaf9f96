"""The hold-out: a few renewals of little importance that are left alone, so that learning stays possible.

Whoever acts on every renewal that looks bad never learns again what would have become of it. By lot, with a
probability that is known, some are spared the action (docs/learning.md).
"""

import hashlib
from datetime import datetime

from certforecast.planning.plan import Action, HeldOut
from certforecast.settings import CostSettings, PlanningSettings

__all__ = ["drawn", "hold_out"]

#: Only what the executor does is on record; what people do after a look is not.
_HELD = ("renew", "install")


def hold_out(
    actions: list[Action], as_of: datetime, planning: PlanningSettings, costs: CostSettings
) -> tuple[list[Action], list[HeldOut]]:
    """Split what would be done into what is to be done and what is left alone.

    Held out are renewals and installations only, of hosts whose criticality is at most
    ``holdout_max_criticality`` (unknown counts as ``costs.default_criticality``), and of certificates that
    have not expired: once they have, it is known what became of them, and they are mended like any other.

    Parameters
    ----------
    actions : list of Action
        Everything worth its cost.
    as_of : datetime
        The plan's moment.
    planning : PlanningSettings
        Share, limit and seed.
    costs : CostSettings
        Gives the criticality that unknown counts as.

    Returns
    -------
    list of Action, list of HeldOut
        In the order given.
    """
    todo, left = [], []
    for action in actions:
        criticality = costs.default_criticality if action.criticality is None else action.criticality
        eligible = (
            action.kind in _HELD
            and criticality <= planning.holdout_max_criticality
            and action.not_after > as_of
        )
        if not eligible or drawn(action.fingerprint, planning.holdout_seed) >= planning.holdout_share:
            todo.append(action)
            continue
        why = (
            f"left alone to learn from: its criticality {criticality:g} is at most "
            f"{planning.holdout_max_criticality:g}, and the lot fell on it ({planning.holdout_share:.0%}); "
            "it is mended once it has expired"
        )
        left.append(
            HeldOut(
                kind=action.kind,
                lineage=action.lineage,
                name=action.name,
                fingerprint=action.fingerprint,
                host=action.host,
                not_after=action.not_after,
                probabilities=action.probabilities,
                expected_loss_averted=action.expected_loss_averted,
                criticality=action.criticality,
                share=planning.holdout_share,
                why=why,
            )
        )
    return todo, left


def drawn(fingerprint: str, seed: int) -> float:
    """Draw a renewal's lot, from 0 to 1: always the same, and no forecast has a say in it.

    Parameters
    ----------
    fingerprint : str
        Of the certificate now in place.
    seed : int
        The key of the hash.
    """
    digest = hashlib.blake2b(fingerprint.encode(), key=str(seed).encode(), digest_size=7).digest()
    return int.from_bytes(digest) / 2.0**56
