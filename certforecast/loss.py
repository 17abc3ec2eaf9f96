"""Expected loss of a renewal left alone: what planning ranks by, and what backtests count in."""

from typing import TYPE_CHECKING, TypeVar

from certforecast.settings import CostSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["expected_loss"]

Amount = TypeVar("Amount", float, "pd.Series[float]")


def expected_loss(
    p_slipped: Amount, p_failed: Amount, criticality: Amount | None, costs: CostSettings
) -> Amount:
    """Weigh what may happen by what it costs.

    Parameters
    ----------
    p_slipped, p_failed : float or Series
        Probabilities of the outcomes, 0 to 1.
    criticality : float, Series or None
        Of the host, 0 to 1; None counts as ``costs.default_criticality``.
    costs : CostSettings
        In one currency.

    Returns
    -------
    float or Series
        In the currency of `costs`.
    """
    weight = costs.default_criticality if criticality is None else criticality
    outage = costs.outage_per_day * costs.outage_days * weight
    return p_failed * outage + p_slipped * costs.slip
