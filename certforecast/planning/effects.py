"""How much actions avert: assumptions, which the record of what the executor did replaces by and by."""

from datetime import datetime
from typing import Final

from certforecast.renewals import HasTables
from certforecast.settings import EffectSettings

__all__ = ["learned"]

_DONE: Final = "verified"
_NOT_DONE: Final = ("order_failed", "challenge_failed", "install_failed", "verify_failed", "rolled_back")
_ORDERED: Final = ("order_created", "order_failed", "challenge_failed")


def learned(history: HasTables, as_of: datetime, effects: EffectSettings, actor: str) -> EffectSettings:
    """Mix the assumed success of the executor's actions with how they went.

    The posterior mean of a success probability whose prior is a beta distribution with the assumption as its
    mean and the weight of ``trusted_after`` actions [1]_. What a renewal averts in full when it succeeds is
    what its forecast says; so the share averted is the share that succeeds.

    Parameters
    ----------
    history : History
    as_of : datetime
        Nothing known later is used.
    effects : EffectSettings
        The assumptions.
    actor : str
        Who the executor is in the events.

    Returns
    -------
    EffectSettings
        With ``renew`` and ``install`` learned; the rest as given, as nobody records how it went.

    References
    ----------
    .. [1] A. Gelman et al. (2013), Bayesian Data Analysis, third edition, section 2.4.
    """
    events = history.tables().at([as_of]).events
    ours = events.filter((events.actor == actor) & events.kind.isin([_DONE, *_NOT_DONE, "order_created"]))
    # One action is one certificate acted upon in one day: what failed twice in a run is one failure.
    day = ours["at"].truncate("D")
    runs = ours.group_by(lineage=ours.lineage, day=day).aggregate(
        done=(ours.kind == _DONE).any(),
        failed=ours.kind.isin(_NOT_DONE).any(),
        ordered=ours.kind.isin(_ORDERED).any(),
    )
    counts = runs.group_by("ordered").aggregate(
        done=(runs.done & ~runs.failed).sum(), failed=runs.failed.sum()
    )
    found = {bool(row["ordered"]): row for row in counts.to_pandas().to_dict("records")}

    def mixed(assumed: float, ordered: bool) -> float:
        row = found.get(ordered, {"done": 0, "failed": 0})
        done, tried = float(row["done"]), float(row["done"] + row["failed"])
        weight = effects.trusted_after
        return (assumed * weight + done) / (weight + tried) if weight + tried > 0 else assumed

    return effects.model_copy(
        update={"renew": mixed(effects.renew, True), "install": mixed(effects.install, False)}
    )
