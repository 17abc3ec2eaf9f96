"""Weekly counts by statsforecast; a process of its own, since statsforecast 2.1 wants pandas before 3.

    PYTHON weekly_statsforecast.py < {"series": [[...], ...], "weeks": 26, "levels": [50, 80, 90]}

Prints for each method and series the mean and, for each level, ``[low, high]``.
"""

import json
import sys

import numpy as np
from statsforecast.models import AutoARIMA, AutoETS, SeasonalNaive

MODELS = {
    "seasonal_naive": lambda: SeasonalNaive(season_length=52),
    "ets": lambda: AutoETS(season_length=1),
    "arima": lambda: AutoARIMA(season_length=1),
}


def main() -> None:
    """Read from standard input, forecast, print."""
    asked = json.load(sys.stdin)
    answer = {}
    for name, make in MODELS.items():
        answer[name] = []
        for values in asked["series"]:
            made = make().forecast(y=np.array(values, np.float64), h=asked["weeks"], level=asked["levels"])
            bounds = {
                str(level): [made[f"lo-{level}"].tolist(), made[f"hi-{level}"].tolist()]
                for level in asked["levels"]
            }
            answer[name].append({"mean": made["mean"].tolist(), "bounds": bounds})
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
