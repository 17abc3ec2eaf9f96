"""How close to expiry each lineage has renewed before."""

from datetime import datetime

from certforecast.policy import RenewalPolicy
from certforecast.renewals import HasTables, renewals

__all__ = ["past_margins"]


def past_margins(
    history: HasTables, as_of: datetime, policy: RenewalPolicy | None = None
) -> dict[str, list[float]]:
    """Give the margins of past renewals, by lineage.

    Renewals that an action of ours changed are left out.

    Parameters
    ----------
    history : History
        The store.
    as_of : datetime
        Nothing known later is used.
    policy : RenewalPolicy, optional
        Thresholds.

    Returns
    -------
    dict of str to list of float
        In days, the latest last; negative is a gap.
    """
    frame = renewals(history, as_of, policy)
    frame = frame[frame["margin_days"].notna() & ~frame["intervention"]].sort_values("not_before")
    return {str(name): rows.tolist() for name, rows in frame.groupby("lineage")["margin_days"]}
