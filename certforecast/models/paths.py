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
from certforecast.models.classifier import OutcomeClassifier
from certforecast.models.pool import _LEAST as POOL_LEAST
from certforecast.models.pool import OutcomePool
from certforecast.models.recalibration import _LEAST as RECALIBRATED_LEAST
from certforecast.models.recalibration import Recalibrated
from certforecast.models.treeshap import boosted_contributions

__all__ = ["Margins", "Mixture", "Path", "Rescaled", "path_of"]

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

    def at(self, t: float) -> tuple[Floats, Pull]:
        """Give the softmax of the log-odds."""
        p = _softmax(self.base + t * self._total)
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
        floored = np.maximum(inner, self.least)
        p = _softmax(self.scale * np.log(floored) + self.shifts)

        def back(slopes: Floats) -> list[Floats]:
            return pull(_through_softmax(p, slopes) * self.scale / floored * (inner > self.least))

        return p, back


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

    def _member(self, path: Path, places: npt.NDArray[np.intp], t: float) -> tuple[Floats, Pull]:
        inner, pull = path.at(t)
        floored = np.full((len(inner), self.classes), self.least)
        floored[:, places] = np.maximum(inner, self.least)
        total = floored.sum(axis=1, keepdims=True)
        p = floored / total

        def back(slopes: Floats) -> list[Floats]:
            through = (slopes - (p * slopes).sum(axis=1, keepdims=True)) / total
            return pull(through[:, places] * (inner > self.least))

        return p, back


@singledispatch
def path_of(model: Any, X: pd.DataFrame) -> Path:  # noqa: ARG001 (those registered take the rows)
    """Give the path of a fitted model for rows.

    Conditioning on what is past (no longer on time) is left out.

    Parameters
    ----------
    model : OutcomePool, OutcomeClassifier, Recalibrated or a rule
    X : DataFrame of shape (n_rows, n_features)

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
def _(model: OutcomePool, X: pd.DataFrame) -> Path:
    frame = model._frame(X, reset=False)
    members = [
        (weight, path_of(member, _inputs(member, frame)), np.searchsorted(model.classes_, member.classes_))
        for name, weight in model.weights_.items()
        for member in [model.models_[name]]
    ]
    return Mixture(members, len(model.classes_), POOL_LEAST)


@path_of.register
def _(model: Recalibrated, X: pd.DataFrame) -> Path:
    inner = path_of(model.estimator, _inputs(model, X))
    return Rescaled(inner, model.scale_, model.shifts_, RECALIBRATED_LEAST)


@path_of.register
def _(model: OutcomeClassifier, X: pd.DataFrame) -> Path:
    frame = model._frame(X, reset=False)
    # The logarithmic pool of softmaxes is the softmax of their mean log-odds.
    parts = [_part(part, frame) for part in model.models_]
    if len(parts) == 1:
        return parts[0]
    columns = [str(name) for name in frame]
    mixed = np.zeros((len(frame), len(model.classes_), len(columns)))
    for part in parts:
        mixed[:, :, [columns.index(name) for name in part.columns]] += part.parts / len(parts)
    return Margins(np.mean([part.base for part in parts], axis=0), mixed, columns)


@path_of.register
def _(model: FrozenEstimator, X: pd.DataFrame) -> Path:
    return path_of(model.estimator, X)


@path_of.register
def _(model: _Rule, X: pd.DataFrame) -> Path:
    logs = np.log(np.maximum(model.predict_proba(X), 1e-15))
    column = getattr(model, "column", None)
    if column is None:
        return Margins(logs[0] if len(logs) else np.log(model.shares_), np.zeros((*logs.shape, 0)), [])
    base = np.log(np.maximum(model.shares_, 1e-15))
    return Margins(base, (logs - base)[:, :, None], [column])


def _inputs(model: Any, frame: pd.DataFrame) -> pd.DataFrame:
    names = getattr(model, "feature_names_in_", None)
    return frame if names is None else frame[list(names)]


def _part(part: Any, frame: pd.DataFrame) -> Margins:
    """Give the log-odds of one pipeline of an `OutcomeClassifier`."""
    (_, numbers_by, numbers), (_, texts_by, texts) = part["columns"].transformers_[:2]
    names, Z = [*numbers, *texts], part["columns"].transform(frame)
    if not hasattr(part["model"], "coef_"):
        return Margins(*boosted_contributions(part["model"], Z), names)
    coefficients, intercept = part["model"].coef_, part["model"].intercept_
    if len(coefficients) == 1:  # two classes
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
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


def _kinds(encoder: Any, place: int) -> int:
    """Count the columns of a category; the rare ones share one."""
    rare = encoder.infrequent_categories_[place]
    return len(encoder.categories_[place]) - (len(rare) - 1 if rare is not None else 0)


def _softmax(scores: Floats) -> Floats:
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=-1, keepdims=True))


def _through_softmax(p: Floats, slopes: Floats) -> Floats:
    return np.asarray(p * (slopes - (p * slopes).sum(axis=1, keepdims=True)))
