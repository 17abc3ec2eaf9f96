"""How much each look at a renewal counts: by what was known then, not by what became of it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

__all__ = ["landmark_weights", "learning_weights"]


def landmark_weights(frame: "pd.DataFrame") -> "pd.Series[float]":
    """Weigh landmark rows by one over the lifetime of their certificate, with mean 1.

    So a certificate of 398 days, looked at eight times as often as one of 47, does not count for eight. One
    over the number of a renewal's rows would do that, too, and be wrong, as that number is informative [1]_:
    what is renewed early is looked at seldom, what slips or fails until the end, so among the rows of one
    moment the early ones would weigh more, and lateness be underestimated. The lifetime is known from the
    start, and weights that hang on what is known leave the probabilities given it as they are.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        ``validity_days``, if there is such a column; what is unknown counts as the middle of what is known.

    Returns
    -------
    Series of float, shape (n_rows,)

    References
    ----------
    .. [1] J. Williamson, S. Datta, G. Satten (2003), Marginal analyses of clustered data when cluster size is
       informative, Biometrics 59(1).
    """
    import pandas as pd

    if "validity_days" not in frame:
        return pd.Series(1.0, index=frame.index)
    days = frame["validity_days"].astype("float64")
    weights = 1.0 / days.fillna(days.median()).fillna(1.0).clip(lower=1.0)
    return weights / weights.mean()


def learning_weights(landmarks: "pd.DataFrame") -> "npt.NDArray[np.float64]":
    """Scale :func:`landmark_weights` so that they sum to the number of renewals: as many were seen, not rows.

    Parameters
    ----------
    landmarks : DataFrame
        With ``fingerprint``, and ``validity_days`` if known; with ``weight``, a renewal counts for so many.

    Returns
    -------
    ndarray of float, shape (n_rows,)
    """
    import numpy as np

    rows = max(len(landmarks), 1)
    even: Any = landmark_weights(landmarks).to_numpy() * landmarks["fingerprint"].nunique() / rows
    return np.asarray(even * landmarks["weight"].to_numpy() if "weight" in landmarks else even)
