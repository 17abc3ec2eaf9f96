"""The command line.

Exit codes: 0 done; 1 findings, where a flag asked for them (``--check``); 2 bad use: a wrong flag, file
or setting; 3 it could not be done, for example because the store is locked.
"""

import sys

from certforecast.errors import CertForecastError, InputError

__all__ = ["main"]


def main() -> None:
    """Run the command line; the console script ``certforecast``."""
    from certforecast.cli import (  # noqa: F401 (they register)
        act,
        ari,
        backtest,
        executor,
        features,
        forecasting,
        history,
        installers,
        issuers,
        models,
        plan,
        rehearse,
        simulation,
        sources,
    )
    from certforecast.cli.app import app

    try:
        app(prog_name="certforecast")
    except CertForecastError as error:
        print(f"certforecast: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 3)
    except KeyboardInterrupt:
        print("certforecast: interrupted; run the same command again to go on", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:  # a full disk, a folder without rights, a file where a folder should be
        place = f"{error.filename}: " if error.filename else ""
        print(f"certforecast: {place}{error.strerror or error}", file=sys.stderr)
        sys.exit(3)
