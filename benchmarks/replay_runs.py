"""The runs of benchmarks/replay.py: one fleet, one policy, one capacity each."""

import argparse
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from certforecast.settings import CostSettings
from certforecast.simulation import Capacity, Fleet, Rates, Replay
from certforecast.simulation.planner import Oracle, Planner, trained_on
from certforecast.simulation.replay import Policy
from certforecast.simulation.rules import RULES, LastDays, Nobody

__all__ = ["ALARM", "CAPACITIES", "NOBODY", "ORACLE", "OURS", "REFERENCE", "play"]

SEED = 31
SPREAD = 0.6
YEARS = 2.5
#: Attempts a day and hours a week, for a hundred services; figures without a capacity are those of the third.
CAPACITIES = ((0.05, 0.1), (0.1, 0.25), (0.2, 0.5), (0.5, 1.0), (1.5, 3.0))
REFERENCE = 2
OURS, ORACLE, NOBODY = Planner.name, Oracle.name, Nobody.name
ALARM = LastDays(7.0)


def play(number: int, name: str, place: int, given: argparse.Namespace, kept: Path) -> dict[str, Any]:
    """Play one fleet under one policy at one capacity, or take it from the cache."""
    about = f"{number}-{given.lineages}-{given.days}-{name.replace(' ', '-').replace(',', '')}-{place}"
    path = kept / (f"{about}-{given.every}.json" if name == OURS else f"{about}.json")
    if not path.exists():
        fleet = _fleet(number, given.lineages)
        attempts, hours = (0.0, 0.0) if name == NOBODY else CAPACITIES[place]
        share = given.lineages / 100
        account = Replay(fleet, _policy(name, fleet, given), Capacity(attempts * share, hours * share)).run(
            given.days
        )
        path.write_text(json.dumps(asdict(account)))
    costs = CostSettings()
    found = json.loads(path.read_text())
    effort = found["orders"] * costs.renew + found["people_hours"] * costs.escalate
    return {"fleet": number, "policy": name, "place": place, **found, "effort": effort}


@cache
def _fleet(number: int, lineages: int) -> Fleet:
    return Fleet(1000 * SEED + number, lineages, YEARS, rates=Rates.varied(SEED + number, SPREAD))


def _policy(name: str, fleet: Fleet, given: argparse.Namespace) -> Policy:
    if name == OURS:
        return Planner(trained_on(fleet, every_days=42.0 if given.quick else 14.0), every_days=given.every)
    if name == ORACLE:
        return Oracle()
    others: list[Policy] = [Nobody(), *(rule() for rule in RULES.values()), ALARM]
    return {policy.name: policy for policy in others}[name]
