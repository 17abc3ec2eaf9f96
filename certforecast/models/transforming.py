"""Forecasts as columns, for pipelines and stacks."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import TransformerMixin  # noqa: TID253 (an estimator is one by inheritance)
from sklearn.utils.validation import check_is_fitted  # noqa: TID253

__all__ = ["ProbabilityColumns"]


class ProbabilityColumns(TransformerMixin):  # type: ignore[misc]
    """Makes a classifier a transformer into its probabilities, as scikit-learn's `VotingClassifier` is one.

    With ``set_output(transform="pandas")`` the columns have names.
    """

    def transform(self, X: Any) -> npt.NDArray[np.float64]:
        """Give the probabilities; shape (n_rows, n_classes), as :meth:`predict_proba`."""
        return self.predict_proba(X)  # type: ignore[no-any-return]

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:  # noqa: ARG002
        """Give ``p_`` and the class for each column of :meth:`transform`; shape (n_classes,).

        Parameters
        ----------
        input_features : object, optional
            Not used; scikit-learn passes it.
        """
        check_is_fitted(self, "classes_")
        return np.array([f"p_{name}" for name in self.classes_], dtype=object)
