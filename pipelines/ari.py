"""ARI: ask CAs when to renew. Gives 1 if one wants something replaced early: then plan and act at once.

Hourly, by cron:
0 * * * *  cd /srv/certforecast && .venv/bin/python pipelines/ari.py certforecast.toml
"""

import json
import sys
from pathlib import Path

from certforecast import History, load_settings
from certforecast.execution.asking import ask


def main(config: Path | None) -> int:
    """Run with the settings in `config`; give 1 if something is to be replaced early."""
    settings = load_settings(config)
    with History(settings.store_path) as history:
        told = ask(history, settings)
    early = [one.name for one in told if one.early]
    windows = sum(one.window is not None for one in told)
    print(json.dumps({"asked": sum(one.fresh for one in told), "windows": windows, "early": early}))
    return 1 if early else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
