"""What rehearsals found, as rows for the store.

An event ``rehearsed`` has the code of what was found, or none where all went well. It is no intervention:
what is rehearsed comes out as it would have (:mod:`certforecast.renewals.outcomes`).
"""

from collections import defaultdict
from typing import Final

from certforecast.execution.rehearsal.findings import Rehearsal
from certforecast.history.sources import Batch

__all__ = ["SOURCE", "rows"]

SOURCE: Final = "rehearsal"


def rows(rehearsal: Rehearsal, actor: str) -> Batch:
    """Give the events of a rehearsal: one for each code and name, or one that it passed.

    Parameters
    ----------
    rehearsal : Rehearsal
        Done.
    actor : str
        Who the events say did it.
    """
    found = defaultdict[tuple[str | None, str], list[str]](list)
    for check, finding in rehearsal.findings:
        found[finding.code, finding.host or rehearsal.host].append(f"{check}: {finding.message}")
    if not found:
        left = [result.check for result in rehearsal.checks if result.status == "left_out"]
        passed = len(rehearsal.checks) - len(left)
        without = f", without {', '.join(left)}" if left else ""
        found[None, rehearsal.host].append(f"{passed} checks passed{without}")
    batch = Batch()
    for (code, host), details in found.items():
        batch.events.append(
            {
                "at": rehearsal.at,
                "lineage": rehearsal.name,
                "kind": "rehearsed",
                "host": host,
                "code": code,
                "detail": "; ".join(details),
                "fingerprint": rehearsal.fingerprint,
                "actor": actor,
                "source": SOURCE,
                "known_at": rehearsal.at,
            }
        )
    return batch
