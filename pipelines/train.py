"""Train: learn from the store as it stands, save the model, log the run.

Weekly, by cron:  0 3 * * 1  cd /srv/certforecast && .venv/bin/python pipelines/train.py certforecast.toml
"""

import json
import sys
from pathlib import Path

from certforecast import History, load_settings, train
from certforecast.clock import system_clock


def main(config: Path | None) -> None:
    """Run with the settings in `config`."""
    settings = load_settings(config)
    with History(settings.store_path) as history:
        trained = train(history, system_clock(), settings)
    print(json.dumps(trained.summary(), default=str))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
