"""What a survival model learns from: how long a renewal was open, and what ended it."""

from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["AT_END", "CENSORED", "durations"]

#: The event of those that were still open when last heard of.
CENSORED: Final = "censored"

#: What ends within so many days of a deadline ends at it. A minute and a half: float32 tells no less.
AT_END: Final = 1e-3

#: Nothing ends at the very moment it is looked at, in days.
_LEAST: Final = 0.01


def durations(frame: "pd.DataFrame", until: datetime) -> "pd.DataFrame":
    """Say of landmark rows how long each renewal stayed open after the landmark, and why it did not.

    Parameters
    ----------
    frame : DataFrame
        As given by :func:`certforecast.features.training_frame`, with the outcomes as known at `until`.
    until : datetime
        That moment.

    Returns
    -------
    DataFrame of shape (n_rows, 2)
        ``event``: ``renewed`` (its successor came into service), ``failed`` (it expired in use), ``retired``,
        or ``censored`` (still open, or changed by an action of ours); ``duration``, in days from ``as_of``,
        over 0. Failures happen at the expiry, and nothing is open after it.
    """
    import numpy as np
    import pandas as pd

    def days(to: "pd.Series[pd.Timestamp]") -> "pd.Series[float]":
        return (to - frame["as_of"]).dt.total_seconds() / 86_400

    left = days(frame["not_after"])
    outcome = frame["outcome"].where(~frame["intervention"].fillna(False).astype(bool), "open")
    event = outcome.map(
        {"on_time": "renewed", "slipped": "renewed", "failed": "failed", "retired": "retired"}
    )
    ended = {
        "renewed": days(frame["in_service_at"]),
        "failed": left,
        "retired": days(frame["resolved_at"]),
    }
    # An action of ours ends what can be seen, at the latest when its certificate was in service.
    heard = days(frame["in_service_at"]).fillna(days(pd.Series(pd.Timestamp(until), index=frame.index)))
    if "intervened_at" in frame:
        heard = days(frame["intervened_at"]).fillna(heard)
    duration = np.select([event == name for name in ended], list(ended.values()), heard)
    return pd.DataFrame(
        {
            "event": event.fillna(CENSORED).astype("str"),
            "duration": np.clip(np.minimum(duration, left), _LEAST, None),
        },
        index=frame.index,
    )
