"""How close to expiry each lineage has renewed before."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["past_margins"]


def past_margins(known: "pd.DataFrame") -> dict[str, list[float]]:
    """Give the margins of past renewals, by lineage.

    Renewals that an action of ours changed are left out.

    Parameters
    ----------
    known : DataFrame of shape (n_certificates, n_columns)
        As given by :func:`certforecast.renewals.renewals`.

    Returns
    -------
    dict of str to list of float
        In days, the latest last; negative is a gap.
    """
    frame = known[known["margin_days"].notna() & ~known["intervention"]].sort_values("not_before")
    return {str(name): rows.tolist() for name, rows in frame.groupby("lineage")["margin_days"]}
