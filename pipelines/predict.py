"""Predict: forecast every open renewal and write the ranked plan.

Daily, by cron:  0 5 * * *  cd /srv/certforecast && .venv/bin/python pipelines/predict.py certforecast.toml
"""

import json
import sys
from pathlib import Path

from certforecast import History, forecast, load_model, load_settings, make_plan
from certforecast.clock import system_clock
from certforecast.execution.asking import ask


def main(config: Path | None) -> None:
    """Run with the settings in `config`."""
    settings = load_settings(config)
    with History(settings.store_path) as history:
        ask(history, settings)  # what CAs ask for; none is asked before it allows
        now = system_clock()
        model = load_model(settings.champion_path, key=settings.home)
        forecasts = forecast(history, model, now, settings.policy)
        name = settings.champion_path.name
        plan = make_plan(history, forecasts, now, settings, model=name, explainer=model)
    plan.signed(settings.home).write(settings.plan_path)
    done = {"renewals": len(forecasts), "actions": len(plan.actions), "plan": str(settings.plan_path)}
    print(json.dumps(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
