"""The challenger against the champion: which of them forecasts from now on."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from certforecast.clock import parse_moment
from certforecast.errors import ModelError
from certforecast.evaluation.backtesting import backtest, default_cutoffs
from certforecast.evaluation.result import Difference
from certforecast.evaluation.standard import history_frame
from certforecast.models.origin import missing_renewals
from certforecast.models.saved import load_model, model_metadata
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


#: A challenger has to know so many of the renewals that the champion knew: of one history, few ever change.
_KEPT: Final = 0.9

#: What a model file says of its data.
_DATA: Final = ("as_of", "renewals", "some_renewals")

#: What a model file says of its recipe, and how that is called.
_SAID: Final = {
    "policy": "[policy]",
    "landmark_every_days": "[model] landmark_every_days",
    "prior": "shipped prior",
}

_LOOK: Final = "see with 'certforecast status' what the store lost, ingest that and train again"
_FORCE: Final = "'certforecast promote --force' puts it in use all the same"


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
    cutoffs: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Challenge:
    """Promote the challenger if it deserves it.

    What is compared is how the two are made, each trained anew at every cutoff of a backtest: of two finished
    models the newer one would be scored on what it was trained on. A backtest sees neither the data that a
    model learned from nor what both are trained with alike, so two things come first:

    - A challenger from older data, from markedly fewer renewals, or from another history is refused.
    - One that is made just as the champion is (parameters, policy, landmarks, versions, shipped prior), from
      newer data of the same history, is a refresh. There is nothing to compare, and it is promoted.

    What its file does not say is taken to be otherwise.

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
    cutoffs : int, optional
        How many times to train and look ahead; see :func:`~certforecast.evaluation.default_cutoffs`.
    progress : callable, optional
        Called with the share that is done so far, 1 at the end.

    Raises
    ------
    ModelError
        If there is no challenger, or it cannot be trusted.
    """
    with TemporaryDirectory() as folder:
        challenger = _contender(fetch_model(settings, "challenger", Path(folder)), settings)
    try:
        champion = _contender(settings.champion_path, settings)
    except ModelError as error:
        verdict = _Verdict(True, f"there is no champion that could be used: {error}")
    else:
        verdict = _without_backtest(champion, challenger) or _compare(
            history, as_of, champion, challenger, settings, outcome, cutoffs, progress
        )
    if verdict.wins:
        promote(settings)
    return Challenge(*verdict)


class _Contender(NamedTuple):
    model: Any
    about: dict[str, Any]


def _contender(path: Path, settings: Settings) -> _Contender:
    return _Contender(load_model(path, key=settings.home), model_metadata(path, key=settings.home))


def _without_backtest(champion: _Contender, challenger: _Contender) -> _Verdict | None:
    """Decide what needs no backtest, or what none could decide."""
    if fault := _fault(champion.about, challenger.about):
        return _Verdict(False, f"{fault}; {_LOOK}, or {_FORCE}")
    before, now = _recipe(champion), _recipe(challenger)
    apart = [name for name in before if before[name] != now[name]]
    unknown = [name for name in (*_DATA, *_SAID) for one in (champion, challenger) if name not in one.about]
    if unknown or {"parameters", "shipped prior"} & set(apart):
        return None
    if apart:
        return _Verdict(
            False,
            f"it differs from the champion in: {', '.join(apart)}. A backtest trains both alike in that, and "
            f"cannot tell which is better; look at 'certforecast backtest', and if that is well, {_FORCE}",
        )
    if _moment(challenger.about) == _moment(champion.about):
        return _Verdict(
            False,
            f"it is made as the champion is, as of the same moment ({challenger.about['as_of']}): there is "
            f"nothing new in it; train again when more is known, or {_FORCE}",
        )
    return _Verdict(True, "it is made as the champion is, from newer data of the same history")


def _fault(champion: dict[str, Any], challenger: dict[str, Any]) -> str:
    """Say why the challenger's data are not to be trusted beside the champion's; "" if they are."""
    before, now = _moment(champion), _moment(challenger)
    if before is not None and now is not None and now < before:
        return f"it was trained as of {now:%Y-%m-%d %H:%M}, before the champion ({before:%Y-%m-%d %H:%M} UTC)"
    had, has = champion.get("renewals"), challenger.get("renewals")
    if had is not None and has is not None and has < min(_KEPT * had, had - 1):
        return f"it learned from {has:,} renewals, the champion from {had:,}"
    if "some_renewals" in champion and "some_renewals" in challenger:
        missing, sought = missing_renewals(champion["some_renewals"], challenger["some_renewals"])
        if missing > max(1.0, (1 - _KEPT) * sought):
            return (
                f"it learned from another history: of {sought} renewals that the champion knew, it does not "
                f"know {missing}"
            )
    return ""


def _moment(about: dict[str, Any]) -> datetime | None:
    return parse_moment(about["as_of"]) if "as_of" in about else None


def _compare(
    history: HasTables,
    as_of: datetime,
    champion: _Contender,
    challenger: _Contender,
    settings: Settings,
    outcome: str,
    cutoffs: int | None,
    progress: Callable[[float], None] | None,
) -> _Verdict:
    models = {
        "challenger": lambda: _unfitted(challenger.model),
        "champion": lambda: _unfitted(champion.model),
    }
    try:
        frame = history_frame(history, as_of, settings)
        chosen = default_cutoffs(frame, cutoffs, settings.policy)
    except ModelError as error:
        return _Verdict(False, f"it cannot be compared with the champion: {error}; or {_FORCE}")
    result = backtest(frame, models, chosen, policy=settings.policy, progress=progress)
    gain = result.difference("challenger", "champion", outcome)
    said = f"AUPRC for {outcome} {gain.mean:+.3f} (90 % interval {gain.low:+.3f} to {gain.high:+.3f})"
    if gain.mean != gain.mean:
        return _Verdict(
            False,
            f"it cannot be compared with the champion: no renewal of the backtest came out as {outcome}; "
            f"compare by another --outcome, or {_FORCE}",
            gain,
        )
    if gain.wins:
        return _Verdict(True, f"it beats the champion: {said}", gain)
    return _Verdict(
        False, f"it does not beat the champion beyond noise: {said}; wait for more history, or {_FORCE}", gain
    )


def _unfitted(model: Any) -> Any:
    """Give a model as it was before it was fitted, with the very prior it leans on, be it an older one."""
    from sklearn.base import clone
    from sklearn.frozen import FrozenEstimator

    made, prior = clone(model), getattr(model, "prior_", None)
    return made if prior is None else made.set_params(prior=FrozenEstimator(prior))


def _recipe(contender: _Contender) -> dict[str, Any]:
    """Say how a model is made; parameters by their texts, as they may be models themselves."""
    model, about = contender
    parameters = {name: repr(value) for name, value in model.get_params().items()}
    versions = {
        f"version of {name}": about["versions"].get(name) for name in ("certforecast", "scikit-learn")
    }
    return {
        "parameters": (type(model).__name__, parameters),
        **{words: about.get(name) for name, words in _SAID.items()},
        **versions,
    }
