"""How a model's probabilities come about, from its log-odds up: what explanations are made along.

Every part of a model is a path: its probabilities when each feature has had a share `t` of its effect on the
log-odds, from 0 (nothing is known of the row) to 1 (its forecast). A new kind of model, or of layer over one,
is explained by giving its path: ``path_of.register``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.frozen import FrozenEstimator  # noqa: TID253 (what is dispatched on)

from certforecast.errors import ModelError
from certforecast.models.baselines import _Rule
from certforecast.models.classifier import SLIP_COLUMN, OutcomeClassifier
from certforecast.models.pool import OutcomePool
from certforecast.models.recalibration import Recalibrated
from certforecast.models.told import LEAST, TOLD, Told
from certforecast.models.treeshap import boosted_contributions

__all__ = ["Corrected", "Margins", "Mixture", "Path", "Rescaled", "RuledOut", "path_of"]

Floats = npt.NDArray[np.float64]

#: Takes the slopes of a number by the probabilities of a path, of shape (n_rows, n_classes), and gives its
#: slopes by the log-odds of each of its `leaves`.
Pull = Callable[[Floats], list[Floats]]


class Path(ABC):
    """Probabilities as the features come in together, each at the same pace."""

    #: Where log-odds come from.
    leaves: "list[Margins]"

    @abstractmethod
    def at(self, t: float) -> tuple[Floats, Pull]:
        """Give the probabilities when a share `t` of every contribution is in, and their slopes.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
        Pull
        """

    def end(self) -> Floats:
        """Give the forecast itself: all contributions are in, and what is past is ruled out."""
        return self.at(1.0)[0]


@dataclass
class Margins(Path):
    """Log-odds that are a sum over features, and their softmax.

    Attributes
    ----------
    base : ndarray of shape (n_classes,)
        When nothing is known of the row.
    parts : ndarray of shape (n_rows, n_classes, n_columns)
        What each column adds.
    columns : sequence of str
    """

    base: Floats
    parts: Floats
    columns: Sequence[str]

    def __post_init__(self) -> None:
        self.leaves = [self]
        self._total = self.parts.sum(axis=2)

    def scores(self, t: float) -> Floats:
        """Give the log-odds when a share `t` of every contribution is in; shape (n_rows, n_classes)."""
        return np.asarray(self.base + t * self._total)

    def at(self, t: float) -> tuple[Floats, Pull]:
        """Give the softmax of the log-odds."""
        p = _softmax(self.scores(t))
        return p, lambda slopes: [_through_softmax(p, slopes)]


class Rescaled(Path):
    """Log-probabilities scaled and shifted: the path of a `Recalibrated`.

    Parameters
    ----------
    inner : Path
    scale : float or ndarray of shape (n_classes,)
    shifts : ndarray of shape (n_classes,)
    least : float
        Floor of the inner probabilities.
    """

    def __init__(self, inner: Path, scale: float | Floats, shifts: Floats, least: float) -> None:
        self.inner, self.scale, self.shifts, self.least = inner, scale, shifts, least
        self.leaves = inner.leaves

    def at(self, t: float) -> tuple[Floats, Pull]:
        """Scale and shift the inner log-probabilities."""
        inner, pull = self.inner.at(t)
        floored, p = self._rescaled(inner)

        def back(slopes: Floats) -> list[Floats]:
            return pull(_through_softmax(p, slopes) * self.scale / floored * (inner > self.least))

        return p, back

    def end(self) -> Floats:
        """Scale and shift the inner forecast."""
        return self._rescaled(self.inner.end())[1]

    def _rescaled(self, inner: Floats) -> tuple[Floats, Floats]:
        floored = np.maximum(inner, self.least)
        return floored, _softmax(self.scale * np.log(floored) + self.shifts)


class RuledOut(Path):
    """Probabilities of which one is ruled out in some rows: ``on_time``, past the slip point.

    That is known at once, not by shares: it is left out along the path, and :meth:`end` conditions on it.

    Parameters
    ----------
    inner : Path
    past : ndarray of bool, shape (n_rows,)
        Where.
    place : int
        Of the class that is ruled out.
    """

    def __init__(self, inner: Path, past: npt.NDArray[np.bool_], place: int) -> None:
        self.inner, self.past, self.place = inner, past, place
        self.leaves = inner.leaves

    def at(self, t: float) -> tuple[Floats, Pull]:
        """Give the inner probabilities as they are."""
        return self.inner.at(t)

    def end(self) -> Floats:
        """Condition the inner forecast."""
        p = self.inner.end().copy()
        p[self.past, self.place] = 0.0
        return np.asarray(p / p.sum(axis=1, keepdims=True))


class Mixture(Path):
    """A weighted mean of probabilities, each floored and normalised: the path of an `OutcomePool`.

    Parameters
    ----------
    members : sequence of (float, Path, ndarray of int)
        Weight, path, and the places of its classes among those of the mixture.
    classes : int
        Of the mixture.
    least : float
        Floor of the members' probabilities.
    """

    def __init__(
        self, members: Sequence[tuple[float, Path, npt.NDArray[np.intp]]], classes: int, least: float
    ) -> None:
        self.members, self.classes, self.least = members, classes, least
        self.leaves = [leaf for _, path, _ in members for leaf in path.leaves]

    def at(self, t: float) -> tuple[Floats, Pull]:
        """Mix."""
        walked = [(weight, *self._member(path, places, t)) for weight, path, places in self.members]
        mixed: Floats = np.sum([weight * p for weight, p, _ in walked], axis=0)
        return mixed, lambda slopes: [part for weight, _, pull in walked for part in pull(weight * slopes)]

    def end(self) -> Floats:
        """Mix the inner forecasts."""
        mixed = np.zeros(())
        for weight, path, places in self.members:
            floored, total = self._floored(path.end(), places)
            mixed = mixed + weight * floored / total
        return mixed

    def _member(self, path: Path, places: npt.NDArray[np.intp], t: float) -> tuple[Floats, Pull]:
        inner, pull = path.at(t)
        floored, total = self._floored(inner, places)
        p = floored / total

        def back(slopes: Floats) -> list[Floats]:
            through = (slopes - (p * slopes).sum(axis=1, keepdims=True)) / total
            return pull(through[:, places] * (inner > self.least))

        return p, back

    def _floored(self, inner: Floats, places: npt.NDArray[np.intp]) -> tuple[Floats, Floats]:
        floored = np.full((len(inner), self.classes), self.least)
        floored[:, places] = np.maximum(inner, self.least)
        return floored, floored.sum(axis=1, keepdims=True)


class Corrected(Path):
    """Log-odds that are a sum over features and over another model's log-probabilities, and their softmax.

    This is the path of a regression that has what the prior says among its columns.

    Parameters
    ----------
    own : Margins
        What the features add by themselves.
    inner : Path
        Of the model that is corrected.
    slopes : ndarray of shape (n_classes, n_inner_classes)
        What its log-probabilities add.
    least : float
        Floor of its probabilities.
    """

    def __init__(self, own: Margins, inner: Path, slopes: Floats, least: float) -> None:
        self.own, self.inner, self.slopes, self.least = own, inner, slopes, least
        self.leaves = [own, *inner.leaves]

    def at(self, t: float) -> tuple[Floats, Pull]:
        """Add what both say."""
        inner, pull = self.inner.at(t)
        floored, p = self._corrected(inner, t)

        def back(slopes: Floats) -> list[Floats]:
            through = _through_softmax(p, slopes)
            return [through, *pull(through @ self.slopes / floored * (inner > self.least))]

        return p, back

    def end(self) -> Floats:
        """Correct the inner forecast."""
        return self._corrected(self.inner.end(), 1.0)[1]

    def _corrected(self, inner: Floats, t: float) -> tuple[Floats, Floats]:
        floored = np.maximum(inner, self.least)
        return floored, _softmax(self.own.scores(t) + np.log(floored) @ self.slopes.T)


@singledispatch
def path_of(model: Any, X: pd.DataFrame, told: Path | None = None) -> Path:  # noqa: ARG001 (others take them)
    """Give the path of a fitted model for rows.

    What is past (no longer on time) is left out along the way and comes in at its :meth:`Path.end`.

    Parameters
    ----------
    model : OutcomePool, OutcomeClassifier, Recalibrated or a rule
    X : DataFrame of shape (n_rows, n_features)
    told : Path, optional
        Of the model whose word is among the columns of `X`.

    Raises
    ------
    ModelError
        If it is unknown how such a model comes to its probabilities.
    """
    raise ModelError(
        f"a {type(model).__name__} cannot be explained: tell how it comes to its probabilities with "
        "certforecast.models.paths.path_of.register"
    )


@path_of.register
def _(model: OutcomePool, X: pd.DataFrame, told: Path | None = None) -> Path:
    frame = model._frame(X, reset=False)
    prior = None if model.prior_ is None else path_of(model.prior_, _inputs(model.prior_, frame), told)
    frame = model._informed(frame)
    classes = model.classes_

    def member_path(member: Any) -> Path:
        """Give the path of a member for the classes of the pool, what is past ruled out in each."""
        path = path_of(member, _inputs(member, frame), prior)
        places = np.searchsorted(classes, member.classes_)
        return _conditioned(Mixture([(1.0, path, places)], len(classes), LEAST), frame, classes)

    every = np.arange(len(classes))
    members = [(weight, member_path(model.models_[name]), every) for name, weight in model.weights_.items()]
    mixture = Mixture(members, len(classes), 0.0)
    if model.calibration_ is None:
        return mixture
    scaled = Rescaled(mixture, model.calibration_.scale_, model.calibration_.shifts_, LEAST)
    return _conditioned(scaled, frame, classes)


@path_of.register
def _(model: Recalibrated, X: pd.DataFrame, told: Path | None = None) -> Path:
    inner = path_of(model.estimator, _inputs(model, X), told)
    return Rescaled(inner, model.scaling_.scale_, model.scaling_.shifts_, LEAST)


@path_of.register
def _(model: Told, X: pd.DataFrame, told: Path | None = None) -> Path:  # noqa: ARG001 (its path is at hand)
    if told is None:
        raise ModelError("what a prior says cannot be explained without that prior: explain the whole pool")
    classes = len(model.classes_)
    return Mixture([(1.0, told, np.arange(classes))], classes, LEAST)


@path_of.register
def _(model: OutcomeClassifier, X: pd.DataFrame, told: Path | None = None) -> Path:
    frame = model._frame(X, reset=False)
    if told is not None and any(str(name).startswith(TOLD) for name in frame):
        (part,) = model.models_
        return _conditioned(_corrected(part, frame, told), frame, model.classes_)
    # The logarithmic pool of softmaxes is the softmax of their mean log-odds.
    parts = [_part(part, frame) for part in model.models_]
    if len(parts) == 1:
        return _conditioned(parts[0], frame, model.classes_)
    columns = [str(name) for name in frame]
    mixed = np.zeros((len(frame), len(model.classes_), len(columns)))
    for part in parts:
        mixed[:, :, [columns.index(name) for name in part.columns]] += part.parts / len(parts)
    margins = Margins(np.mean([part.base for part in parts], axis=0), mixed, columns)
    return _conditioned(margins, frame, model.classes_)


@path_of.register
def _(model: FrozenEstimator, X: pd.DataFrame, told: Path | None = None) -> Path:
    return path_of(model.estimator, X, told)


@path_of.register
def _(model: _Rule, X: pd.DataFrame, told: Path | None = None) -> Path:  # noqa: ARG001 (rules read one column)
    logs = np.log(np.maximum(model.predict_proba(X), 1e-15))
    if not model.column:
        return Margins(logs[0] if len(logs) else np.log(model.shares_), np.zeros((*logs.shape, 0)), [])
    base = np.log(np.maximum(model.shares_, 1e-15))
    return Margins(base, (logs - base)[:, :, None], [model.column])


def _inputs(model: Any, frame: pd.DataFrame) -> pd.DataFrame:
    names = getattr(model, "feature_names_in_", None)
    return frame if names is None else frame[list(names)]


def _conditioned(path: Path, frame: pd.DataFrame, classes: npt.NDArray[Any]) -> Path:
    """Rule out ``on_time`` past the slip point, as models do where they see the column and know the class."""
    if SLIP_COLUMN not in frame or "on_time" not in classes or len(classes) < 2:
        return path
    past = frame[SLIP_COLUMN].to_numpy(dtype=np.float64) < 0
    return RuledOut(path, past, int(np.flatnonzero(classes == "on_time")[0]))


def _part(part: Any, frame: pd.DataFrame) -> Margins:
    """Give the log-odds of one pipeline of an `OutcomeClassifier`."""
    (_, numbers_by, numbers), (_, texts_by, texts) = part["columns"].transformers_[:2]
    names, Z = [*numbers, *texts], part["columns"].transform(frame)
    if not hasattr(part["model"], "coef_"):
        return Margins(*boosted_contributions(part["model"], Z), names)
    coefficients, intercept = _by_class(part["model"].coef_), _by_class(part["model"].intercept_)
    # Numbers are centred. The penalised coefficients of a category sum to 0: 0 is the mean category.
    Z = Z.toarray() if hasattr(Z, "toarray") else np.asarray(Z)
    owner = [*range(len(numbers))]
    if len(numbers):
        owner += numbers_by["impute"].indicator_.features_.tolist()
    for place in range(len(texts)):
        owner += [len(numbers) + place] * _kinds(texts_by, place)
    parts = np.zeros((len(Z), len(coefficients), len(names)))
    for column, place in enumerate(owner):
        parts[:, :, place] += Z[:, column, None] * coefficients[:, column]
    return Margins(np.asarray(intercept), parts, names)


def _corrected(part: Any, frame: pd.DataFrame, told: Path) -> Corrected:
    """Give the path of a regression that corrects what another model says."""
    whole, scale = _part(part, frame), part["columns"].transformers_[0][1]["scale"]
    its = np.array([name.startswith(TOLD) for name in whole.columns])
    places = np.flatnonzero(its)
    slopes = _by_class(part["model"].coef_)[:, places] / scale.scale_[places]
    own = Margins(
        whole.base - slopes @ scale.mean_[places],
        whole.parts[:, :, ~its],
        [name for name, is_told in zip(whole.columns, its, strict=True) if not is_told],
    )
    return Corrected(own, told, slopes, LEAST)


def _by_class(learned: Floats) -> Floats:
    """Give each class its own: of two classes, scikit-learn keeps the difference."""
    return np.concatenate([-learned, learned]) / 2 if len(learned) == 1 else learned


def _kinds(encoder: Any, place: int) -> int:
    """Count the columns of a category; the rare ones share one."""
    rare = encoder.infrequent_categories_[place]
    return len(encoder.categories_[place]) - (len(rare) - 1 if rare is not None else 0)


def _softmax(scores: Floats) -> Floats:
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


def _through_softmax(p: Floats, slopes: Floats) -> Floats:
    return np.asarray(p * (slopes - (p * slopes).sum(axis=1, keepdims=True)))
