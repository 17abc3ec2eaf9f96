"""Act: carry out the plan. Dry unless ``--execute`` is given; goes on where a killed run was.

Daily, by cron:
0 6 * * *  cd /srv/certforecast && .venv/bin/python pipelines/act.py certforecast.toml --execute
"""

import json
import sys
from collections import Counter
from pathlib import Path

from certforecast import Executor, History, Plan, load_settings
from certforecast.planning import read_approvals


def main(config: Path | None, *, execute: bool) -> int:
    """Run with the settings in `config`; give 1 if an action was not proven."""
    settings = load_settings(config)
    with History(settings.store_path) as history:
        plan, approvals = Plan.read(settings.plan_path), read_approvals(settings.plan_path)
        results = Executor(settings, history=history).run(plan, execute=execute, approvals=approvals)
    counts = Counter(result.status for result in results)
    print(json.dumps(counts))
    return 1 if counts.keys() & {"failed", "rolled_back", "skipped", "stopped"} else 0


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--execute"]
    sys.exit(main(Path(arguments[0]) if arguments else None, execute="--execute" in sys.argv))
