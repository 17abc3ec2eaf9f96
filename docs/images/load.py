"""Makes the pictures of docs/load.md, from the sample.

python docs/images/load.py
"""

import tempfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from certforecast import History, Settings, train
from certforecast.forecasting import forecast_load, read_scenario, what_if
from certforecast.forecasting.plots import draw_load
from certforecast.history.sources.tables import TablesSource
from certforecast.simulation.sample import SAMPLE_END, sample_folder
from certforecast.validity import calendars

HERE = Path(__file__).parent


def main() -> None:
    """Train on the sample once, and make both pictures."""
    steps = calendars()["public"].steps
    marks = {
        datetime(
            new.since.year, new.since.month, new.since.day, tzinfo=UTC
        ): f"{old.days:.0f} to {new.days:.0f} days"
        for old, new in pairwise(steps)
    }
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home))
        with History(settings.store_path) as history:
            history.ingest(TablesSource(sample_folder()))
            model = train(history, SAMPLE_END, settings).model
            ahead = forecast_load(history, model, SAMPLE_END)
            made = what_if(history, model, SAMPLE_END, read_scenario("public-calendar"), "208w", draws=200)
    draw_load(ahead).savefig(HERE / "load.png", dpi=150)
    made.plot(marks=marks).savefig(HERE / "validity-200-100-47.png", dpi=150)


if __name__ == "__main__":
    main()
