"""The challenger against the champion: which of them forecasts from now on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from certforecast.errors import ModelError
from certforecast.evaluation.backtesting import backtest, default_cutoffs
from certforecast.evaluation.result import Difference
from certforecast.evaluation.standard import history_frame
from certforecast.models.saved import load_model
from certforecast.models.tracking import fetch_model, promote
from certforecast.renewals import HasTables
from certforecast.settings import Settings

__all__ = ["Challenge", "challenge"]


@dataclass(frozen=True, slots=True)
class Challenge:
    """How a challenge went.

    Attributes
    ----------
    promoted : bool
        Whether the challenger is the champion now.
    reason : str
        Why, for people.
    difference : Difference or None
        Of the AUPRC of the two; None where nothing was compared.
    """

    promoted: bool
    reason: str
    difference: Difference | None

    def summary(self) -> dict[str, Any]:
        """Give it ready for JSON."""
        compared = self.difference._asdict() if self.difference else None
        return {"promoted": self.promoted, "reason": self.reason, "difference": compared}


class _Verdict(NamedTuple):
    wins: bool
    reason: str
    difference: Difference | None = None


def challenge(
    history: HasTables,
    as_of: datetime,
    settings: Settings,
    *,
    outcome: str = "failed",
    cutoffs: int = 5,
    progress: Callable[[float], None] | None = None,
) -> Challenge:
    """Promote the challenger if it deserves it.

    What is compared is how the two are made, each trained anew at every cutoff of a backtest: of two finished
    models the newer one would be scored on what it was trained on. A challenger that is made as the champion
    is, from newer data, is promoted without; there is nothing to compare.

    Parameters
    ----------
    history : History
        The store.
    as_of : datetime
        Outcomes are taken as they were known then.
    settings : Settings
        Where models are kept, and ``[model]`` and ``[policy]``.
    outcome : str
        The outcome that counts.
    cutoffs : int
        How many times to train and look ahead.
    progress : callable, optional
        Called with the number of cutoffs done so far.

    Raises
    ------
    ModelError
        If there is no challenger, it cannot be trusted, or there is too little history.
    """
    with TemporaryDirectory() as folder:
        challenger = load_model(fetch_model(settings, "challenger", Path(folder)), key=settings.home)
    try:
        champion = load_model(settings.champion_path, key=settings.home)
    except ModelError as error:
        verdict = _Verdict(True, f"there is no champion that could be used: {error}")
    else:
        if _recipe(champion) == _recipe(challenger):
            verdict = _Verdict(True, "it is made as the champion is, from other data")
        else:
            frame = history_frame(history, as_of, settings)
            verdict = _compare(frame, champion, challenger, settings, outcome, cutoffs, progress)
    if verdict.wins:
        promote(settings)
    return Challenge(*verdict)


def _compare(
    frame: Any,
    champion: Any,
    challenger: Any,
    settings: Settings,
    outcome: str,
    cutoffs: int,
    progress: Callable[[float], None] | None,
) -> _Verdict:
    from sklearn.base import clone

    models = {"challenger": lambda: clone(challenger), "champion": lambda: clone(champion)}
    chosen = default_cutoffs(frame, cutoffs, settings.policy)
    result = backtest(frame, models, chosen, policy=settings.policy, progress=progress)
    gain = result.difference("challenger", "champion", outcome)
    said = f"AUPRC for {outcome} {gain.mean:+.3f} (90 % interval {gain.low:+.3f} to {gain.high:+.3f})"
    if gain.wins:
        return _Verdict(True, f"it beats the champion: {said}", gain)
    return _Verdict(False, f"it does not beat the champion beyond noise: {said}", gain)


def _recipe(model: Any) -> tuple[str, dict[str, str]]:
    """Say how a model is made; by their texts, as parameters may be models themselves."""
    return type(model).__name__, {name: repr(value) for name, value in model.get_params().items()}
