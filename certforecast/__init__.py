"""certforecast: forecasts certificate renewals, ranks what to do, renews, and proves it on the wire."""
