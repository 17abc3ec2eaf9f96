"""Train: learn from the store as it stands, log the run, put the model in use, or say why it is not.

Weekly, by cron:  0 3 * * 1  cd /srv/certforecast && .venv/bin/python pipelines/train.py certforecast.toml
"""

import json
import sys
from pathlib import Path

from certforecast import History, load_settings, train
from certforecast.clock import system_clock
from certforecast.evaluation import challenge


def main(config: Path | None) -> None:
    """Run with the settings in `config`."""
    settings, now = load_settings(config), system_clock()
    with History(settings.store_path) as history:
        trained = train(history, now, settings)
        in_use, reason = True, "there was no champion"
        if trained.path != settings.champion_path:
            done = challenge(history, now, settings)
            in_use, reason = done.promoted, done.reason
    print(json.dumps({**trained.summary(), "in_use": in_use, "reason": reason}, default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
