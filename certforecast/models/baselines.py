"""The rules a model must beat, behind the model's own interface."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.isotonic import IsotonicRegression  # noqa: TID253
from sklearn.utils.multiclass import check_classification_targets  # noqa: TID253
from sklearn.utils.validation import (  # noqa: TID253
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from certforecast.models.classifier import outcome_frame
from certforecast.models.transforming import ProbabilityColumns

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = [
    "RULES",
    "DomainLateRate",
    "DomainRate",
    "FewestDaysLeft",
    "IssuerRate",
    "LineageLateRate",
    "LineageRate",
    "OwnerRate",
    "PastDue",
    "PreviousMargin",
    "PriorRate",
]

#: Weight, in rows, of the overall rate in an issuer's smoothed one. An assumption.
PRIOR_ROWS = 50.0

#: The outcomes that rules warn of.
_LATE = ("failed", "slipped")


class _Rule(ABC, ClassifierMixin, ProbabilityColumns, BaseEstimator):  # type: ignore[misc]
    """Ranks by one score, and learns from the past how often each score failed, and how often it slipped.

    Both rates are isotonic functions of the score; a thousandth of the score's rank keeps rows apart that
    they would tie, so that the rule's ranking is its score's for either. The other outcomes share the rest as
    they did overall.
    """

    #: What it reads of `X`, by name; "" for nothing.
    column: ClassVar[str] = ""

    @abstractmethod
    def risk(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Give the score by which the rule ranks, higher for worse; shape (n_rows,)."""

    def fit(self, X: pd.DataFrame, y: Any, sample_weight: Any = None) -> Self:
        """Learn the rates; `X` of shape (n_rows, n_features), `y` outcomes of shape (n_rows,).

        Raises
        ------
        ValueError
            If the rule's column is missing, or the inputs do not fit together.
        """
        X = self._frame(X, reset=True)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        check_consistent_length(X, y)
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        kept = weights > 0
        X, y, weights = X[kept], y[kept], weights[kept]
        if not len(y):
            raise ValueError("no row has a weight over 0: there is nothing to learn from")
        self.classes_ = np.unique(y)
        self.shares_ = np.array([weights[y == name].sum() for name in self.classes_]) / weights.sum()
        self._learn(X, y == "failed", weights)
        scores = self.risk(X)
        self.curves_ = {
            name: IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(
                scores, y == name, sample_weight=weights
            )
            for name in _LATE
            if name in self.classes_
        }
        self.scores_ = np.sort(scores)
        return self

    def _learn(
        self, X: pd.DataFrame, failed: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]
    ) -> None:
        """Learn what the score itself needs."""

    def predict_proba(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Give the probabilities of the outcomes; shape (n_rows, n_classes)."""
        check_is_fitted(self)
        X = self._frame(X, reset=False)
        scores = self.risk(X)
        rank = np.searchsorted(self.scores_, scores) / len(self.scores_)
        given = np.zeros((len(X), len(self.classes_)))
        for name, curve in self.curves_.items():
            given[:, self.classes_ == name] = (0.999 * curve.predict(scores) + 0.001 * rank)[:, None]
        rest = np.where(np.isin(self.classes_, list(self.curves_)), 0.0, self.shares_)
        if rest.any():
            given += np.maximum(1.0 - given.sum(axis=1, keepdims=True), 0.0) * rest / rest.sum()
        return cast("npt.NDArray[np.float64]", given / given.sum(axis=1, keepdims=True))

    def predict(self, X: pd.DataFrame) -> npt.NDArray[Any]:
        """Give the likeliest outcome; shape (n_rows,)."""
        probabilities = self.predict_proba(X)
        return cast("npt.NDArray[Any]", self.classes_[probabilities.argmax(axis=1)])

    def proba_frame(self, X: pd.DataFrame) -> pd.DataFrame:
        """Give ``p_on_time, p_slipped, p_failed, p_retired``; shape (n_rows, 4)."""
        return outcome_frame(self.predict_proba(X), self.classes_, X.index)

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = not self.column  # the columns of an array have no names
        tags.input_tags.allow_nan = True
        tags.classifier_tags.poor_score = True
        return tags

    def _frame(self, X: Any, *, reset: bool) -> pd.DataFrame:
        if not isinstance(X, pd.DataFrame) and not self.column:
            return pd.DataFrame(validate_data(self, X, reset=reset, ensure_all_finite="allow-nan"))
        if self.column and self.column not in getattr(X, "columns", ()):
            raise ValueError(f"{type(self).__name__} reads the column {self.column}, which X does not have")
        validate_data(self, X, reset=reset, skip_check_array=True)
        return cast("pd.DataFrame", X)


class _Number(_Rule):
    """What has most of a number is the most urgent, or least; where it is unknown, the middle is assumed."""

    #: 1.0 where more is worse, -1.0 where less is.
    worse: ClassVar[float] = 1.0

    def risk(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Give the number, negated where less is worse, or the median one for unknown; shape (n_rows,)."""
        score = self.worse * X[self.column].astype("float64")
        middle = getattr(self, "middle_", np.nan)  # who has learned nothing can rank what is known
        return cast("npt.NDArray[np.float64]", score.fillna(middle).to_numpy(dtype=np.float64))

    def _learn(
        self,
        X: pd.DataFrame,
        failed: npt.NDArray[np.bool_],  # noqa: ARG002 (the number says all)
        weights: npt.NDArray[np.float64],  # noqa: ARG002
    ) -> None:
        known = X[self.column].dropna()
        self.middle_ = self.worse * float(known.median()) if len(known) else 0.0


class FewestDaysLeft(_Number):
    """What expires first is the most urgent: the rule of nearly every monitor."""

    column = "days_left"
    worse = -1.0


class PastDue(_Number):
    """What is longest past due is the most urgent."""

    column = "days_past_due"


class IssuerRate(_Rule):
    """What comes from the issuer with the worst record is the most urgent."""

    column = "issuer_org"

    def risk(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Give the issuer's failure rate, smoothed toward the overall one; shape (n_rows,)."""
        known = X[self.column].map(self.rates_).astype("float64")
        return cast("npt.NDArray[np.float64]", known.fillna(self.overall_).to_numpy(dtype=np.float64))

    def _learn(
        self, X: pd.DataFrame, failed: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]
    ) -> None:
        rows = pd.DataFrame(
            {"issuer": X[self.column].to_numpy(), "trials": weights, "hits": weights * failed}
        )
        sums = rows.groupby("issuer")[["trials", "hits"]].sum()
        self.overall_ = float((weights * failed).sum() / weights.sum())
        rates = (sums["hits"] + PRIOR_ROWS * self.overall_) / (sums["trials"] + PRIOR_ROWS)
        self.rates_ = {str(name): float(rate) for name, rate in rates.items()}


class DomainRate(_Number):
    """The domain whose renewals failed most often is the most urgent."""

    column = "domain_failed_rate"


class DomainLateRate(_Number):
    """The domain whose renewals came late or failed most often is the most urgent."""

    column = "domain_late_rate"


class OwnerRate(_Number):
    """The owner whose renewals failed most often is the most urgent."""

    column = "owner_failed_rate"


class LineageRate(_Number):
    """The lineage that failed most often is the most urgent."""

    column = "lineage_failed_rate"


class LineageLateRate(_Number):
    """The lineage that came late or failed most often is the most urgent."""

    column = "lineage_late_rate"


class PreviousMargin(_Number):
    """The lineage that was renewed latest the last time is the most urgent."""

    column = "margin_last"
    worse = -1.0


class PriorRate(_Rule):
    """No skill: everything fails at the overall rate."""

    def risk(self, X: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Give zeros; shape (n_rows,)."""
        return np.zeros(len(X))


#: The rules by the name under which they are compared.
RULES = {
    "fewest days left": FewestDaysLeft,
    "past due": PastDue,
    "issuer's rate": IssuerRate,
    "domain's rate": DomainRate,
    "domain's late rate": DomainLateRate,
    "owner's rate": OwnerRate,
    "lineage's rate": LineageRate,
    "lineage's late rate": LineageLateRate,
    "previous margin": PreviousMargin,
}
