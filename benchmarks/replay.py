"""A year of simulated fleets in which somebody steps in: outages against effort, by who decides what is done.

    python benchmarks/replay.py [--quick] [--fleets N] [--lineages N] [--cache FOLDER] [--picture FILE]

Each fleet is played for two and a half years by itself. Then it is played on for a year, again and again from
the same day with the same chances, each time with somebody else deciding what an executor and a few people do
(docs/replay.md): certbot's rule, cert-manager's, a ticket thirty days before expiry, fewest days left, alarms
in the last week, certforecast, and an oracle that knows the true state and probabilities. Capacity, in
executor attempts a day and hours of people a week for every hundred services, is varied; at each it is the
same for all. certforecast is trained once, on what the tables tell on the first day, and makes a plan every
`--every` days.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from joblib import Parallel, delayed  # noqa: TID253 (a script of its own)
from replay_runs import ALARM, CAPACITIES, NOBODY, ORACLE, OURS, REFERENCE, play
from report import report

from certforecast.settings import CostSettings
from certforecast.simulation.rules import RULES

#: Those that certforecast is to be compared with; alarms in the last days are shown beside them.
RIVALS = tuple(RULES)
COUNTED = ("outages", "outage_days", "weighed_outage_days", "near_misses_slip", "near_misses_day", "orders",
           "people_hours", "own_hours", "effort")  # fmt: skip


def main() -> None:
    """Play, print the figures, and draw them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small fleet for a quarter, a plan a month")
    parser.add_argument("--fleets", type=int, default=4)
    parser.add_argument("--lineages", type=int, default=360)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument(
        "--every", type=int, default=7, help="days from one of certforecast's plans to the next"
    )
    planned = "at which of the five capacities certforecast is played: that takes minutes"
    parser.add_argument("--planned", type=int, nargs="*", default=[1, 2, 3], help=planned)
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--cache", type=Path, help="folder to keep what was played in")
    parser.add_argument("--picture", type=Path, help="file to draw outages against effort to")
    given = parser.parse_args()
    if given.quick:
        given.fleets, given.lineages, given.days, given.every, given.planned = 1, 60, 84, 28, [REFERENCE]
    with tempfile.TemporaryDirectory() as folder:
        kept = given.cache or Path(folder)
        kept.mkdir(parents=True, exist_ok=True)
        runs = [(number, *run) for number in range(given.fleets) for run in _runs(given.planned)]
        # The slow ones first.
        runs.sort(key=lambda run: (run[1] != OURS, run[1] != ORACLE))
        played = Parallel(n_jobs=given.jobs)(delayed(play)(*run, given, kept) for run in runs)
    results = pd.DataFrame(played)
    figures = figures_of(results)
    if given.picture:
        from replay_picture import draw

        draw(
            curves(results),
            given.picture,
            given.fleets * given.lineages / 100 * given.days / 365,
            CostSettings().escalate,
        )
    report(
        "replay",
        figures,
        ["certforecast", "scikit-learn", "numpy", "pandas"],
        {name: value for name, value in vars(given).items() if name not in ("cache", "picture", "jobs")}
        | {"capacities": CAPACITIES, "reference": REFERENCE},
    )


def _runs(planned: list[int]) -> Iterator[tuple[str, int]]:
    yield NOBODY, 0
    for place in range(len(CAPACITIES)):
        for name in (*RIVALS, ALARM.name, ORACLE):
            yield name, place
        if place in planned:
            yield OURS, place


def curves(results: pd.DataFrame) -> pd.DataFrame:
    """Give each policy's figures at each capacity, summed over the fleets where it was played in all."""
    grouped = results.groupby(["policy", "place"])
    whole = grouped["fleet"].nunique() == results["fleet"].nunique()
    summed = grouped[[*COUNTED, "renewals", "attempts"]].sum()
    return summed[whole].reset_index()


def figures_of(results: pd.DataFrame) -> dict[str, float]:
    """Give the figures by policy at the reference capacity, and the two ratios."""
    curve = curves(results)
    figures: dict[str, float] = {}
    fleets = results["fleet"].nunique()
    for _, row in curve.iterrows():
        if row["place"] == REFERENCE or row["policy"] == NOBODY:
            key = row["policy"].replace(" ", "_").replace(",", "").replace("-", "_")
            for name in COUNTED:
                figures[f"{name}_{key}"] = round(float(row[name]) / fleets, 2)
    for place in sorted(set(curve["place"])):
        tag = "" if place == REFERENCE else f"_at_{CAPACITIES[place][0]:g}".replace(".", "p")
        for name, prefix in ((OURS, ""), (ORACLE, "oracle_")):
            for ratio, value in _ratios(curve, name, place).items():
                figures[f"{prefix}{ratio}{tag}"] = round(value, 3)
    return figures


def _ratios(curve: pd.DataFrame, name: str, place: int) -> dict[str, float]:
    """Compare a policy at one capacity with the rule that has the fewest outages there."""
    here = curve[curve["place"] == place]
    own, rivals = here[here["policy"] == name], here[here["policy"].isin(RIVALS)]
    if own.empty or rivals.empty:
        return {}
    best = rivals.sort_values(["outages", "effort"]).iloc[0]
    ratios = {"outage_ratio_to_best_rule": float(own["outages"].iloc[0]) / max(float(best["outages"]), 1.0)}
    # The least effort, at whichever capacity, at which there were no more outages.
    enough = curve[(curve["policy"] == name) & (curve["outages"] <= best["outages"])]
    if len(enough) and best["effort"] > 0:
        ratios["effort_ratio_at_equal_outages"] = float(enough["effort"].min()) / float(best["effort"])
    return ratios


if __name__ == "__main__":
    main()
