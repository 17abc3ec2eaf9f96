"""What an MLflow server runs to score with a signed model: MLflow's "models from code", nothing pickled.

The server needs certforecast, and ``CERTFORECAST_HOME`` set to a folder with the ``signing.pub`` of the
machine that trained. MLflow copies this file beside the model and runs it by itself.
"""

from typing import Any

import pandas as pd
from mlflow.models import set_model  # noqa: TID253 (only MLflow imports this)
from mlflow.pyfunc import PythonModel  # type: ignore[attr-defined]  # noqa: TID253


class Scorer(PythonModel):
    """Gives the probabilities of the outcomes for rows of features."""

    def load_context(self, context: Any) -> None:
        """Load the model file, if the home folder's key signed it.

        Raises
        ------
        ModelError
            If it did not, or there is no key to tell by.
        """
        from certforecast.models import load_model

        self._model = load_model(context.artifacts["model"])

    # Without a context, which MLflow allows.
    def predict(self, model_input: pd.DataFrame) -> pd.DataFrame:  # type: ignore[override]
        """Score rows.

        Parameters
        ----------
        model_input : DataFrame of shape (n_rows, n_features)
            The columns of :data:`certforecast.features.FEATURES`, in any order.

        Returns
        -------
        DataFrame of shape (n_rows, 4)
            ``p_on_time``, ``p_slipped``, ``p_failed``, ``p_retired``.
        """
        from certforecast.models.forecasting import inputs_of

        return self._model.proba_frame(inputs_of(self._model, model_input))


set_model(Scorer())
