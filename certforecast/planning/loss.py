"""Expected loss of a renewal left alone, and what an action would avert."""

from certforecast.settings import CostSettings

__all__ = ["expected_loss"]


def expected_loss(p_slipped: float, p_failed: float, criticality: float | None, costs: CostSettings) -> float:
    """Weigh what may happen by what it costs.

    Parameters
    ----------
    p_slipped, p_failed : float
        Probabilities of the outcomes, 0 to 1.
    criticality : float or None
        Of the host, 0 to 1; unknown counts as ``costs.default_criticality``.
    costs : CostSettings
        In one currency.

    Returns
    -------
    float
        In the currency of `costs`.
    """
    weight = costs.default_criticality if criticality is None else criticality
    outage = costs.outage_per_day * costs.outage_days * weight
    return p_failed * outage + p_slipped * costs.slip
