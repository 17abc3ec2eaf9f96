"""From a situation and a scenario to what is played: a table of rows to follow, and the rules that hold."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from certforecast.errors import InputError
from certforecast.forecasting.play import Limit, Rules
from certforecast.forecasting.scenario import Scenario
from certforecast.forecasting.situation import GROUPS, Situation
from certforecast.settings import EffortSettings
from certforecast.validity import Step, calendars, limit_on

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PLAIN", "TODAY", "World", "nearest", "set_out"]

Flags = npt.NDArray[np.bool_]

#: Nothing happens but what is published.
PLAIN: Final = Scenario(title="As published")
#: Nothing happens at all.
TODAY: Final = Scenario(title="As today", before="today")

_COLUMNS = (
    *("fingerprint", "lineage", "name_set_id", "domains", *GROUPS, "public"),
    *("begin", "end", "replaced", "overdue"),
)


@dataclass(frozen=True)
class World:
    """What is played.

    Attributes
    ----------
    table : DataFrame of shape (n_rows, n_columns)
        What is live, then newcomers, then what these follow once a scenario has changed them (``kind``).
    rules : Rules
    """

    table: "pd.DataFrame"
    rules: Rules


def set_out(situation: Situation, chosen: Scenario, effort: EffortSettings) -> World:
    """Lay out a table and its rules.

    Raises
    ------
    InputError
        If the scenario names an issuer or owner that the fleet does not have.
    """
    import pandas as pd

    parts = [situation.live.assign(kind="live"), situation.newcomers.assign(kind="newcomer")]
    table = pd.concat([part[[*_COLUMNS, "kind"]] for part in parts], ignore_index=True)
    table = table.assign(lifetime=table["end"] - table["begin"])
    if len(table):
        table[["public", "replaced"]] = table[["public", "replaced"]].astype(bool)
    rules = Rules(keep=chosen.delays_keep)
    table = _leaving(table, rules, chosen, situation.as_of)
    table = _automating(table, rules, chosen, situation.as_of, effort)
    for since, to in list(rules.switches):  # later changes added rows, which earlier ones leave alone
        whole = np.arange(len(table))
        whole[: len(to)] = to
        rules.switches[rules.switches.index((since, to))] = (since, whole)
    for number, (day, notice, rows) in enumerate(rules.replacements):
        rules.replacements[number] = (day, notice, np.append(rows, np.zeros(len(table) - len(rows), bool)))
    _limits(table, rules, chosen, situation.as_of)
    _freezes(table, rules, chosen, situation.as_of, effort)
    return World(table, rules)


def nearest(kind: str, name: str, known: "list[str]") -> str:
    """Say that there is no such issuer or owner, and which there are."""
    from difflib import get_close_matches

    by_fold = {one.casefold(): one for one in known}
    close = [by_fold[one] for one in get_close_matches(name.casefold(), by_fold, 3, 0.4)]
    text = f"no certificate to be renewed has the {kind} {name!r}"
    return (
        f"{text}; nearest: {', '.join(close)}"
        if close
        else f"{text}; known: {', '.join(known[:8]) or 'none'}"
    )


def _days(when: date | None, as_of: datetime) -> float:
    if when is None:
        return -np.inf
    return (datetime(when.year, when.month, when.day, tzinfo=UTC) - as_of).total_seconds() / 86_400


def _known(table: "pd.DataFrame", kind: str, name: str) -> Flags:
    rows = (table[kind] == name).to_numpy()
    if not rows.any():
        raise InputError(nearest(kind, name, sorted(set(table[kind]))))
    return np.asarray(rows, bool)


def _switched(
    table: "pd.DataFrame", rules: Rules, rows: Flags, since: float, changes: "dict[str, Any]"
) -> "pd.DataFrame":
    """Add what `rows` become, and let what they issue from a day on follow it."""
    import pandas as pd

    to = np.arange(len(table))
    to[rows] = len(table) + np.arange(rows.sum())
    rules.switches.append((since, to))
    changed = table[rows].assign(kind="variant", **changes)
    return pd.concat([table, changed], ignore_index=True)


def _leaving(table: "pd.DataFrame", rules: Rules, chosen: Scenario, as_of: datetime) -> "pd.DataFrame":
    for leaving in chosen.leaves:
        rows, day = _known(table, "issuer", leaving.issuer), _days(leaving.on, as_of)
        rules.replacements.append((day, leaving.notice_days, rows))
        table = _switched(table, rules, rows, day - leaving.notice_days, {"issuer": leaving.to})
    return table


def _automating(
    table: "pd.DataFrame", rules: Rules, chosen: Scenario, as_of: datetime, effort: EffortSettings
) -> "pd.DataFrame":
    for change in chosen.automate:
        rows = np.ones(len(table), bool)
        if change.owner is not None:
            rows = _known(table, "owner", change.owner)
        rows = rows & _by_hand(table, effort)
        changes: dict[str, Any] = {
            "automation": change.automation,
            "lineage": "",  # its own past tells nothing of how a timer renews it
            "lifetime": table.loc[rows, "lifetime"].clip(upper=change.days),
        }
        if change.to is not None:
            changes["issuer"] = change.to
        table = _switched(table, rules, rows, _days(change.since, as_of), changes)
    return table


def _by_hand(table: "pd.DataFrame", effort: EffortSettings) -> Flags:
    hours = [effort.for_renewal(None if kind == "unknown" else kind) for kind in table["automation"]]
    return np.array(hours, float) > 0


def _limits(table: "pd.DataFrame", rules: Rules, chosen: Scenario, as_of: datetime) -> None:
    public, issuer = table["public"].to_numpy(bool), table["issuer"].to_numpy()
    for calendar in calendars().values():
        if calendar.chosen:
            continue
        steps = calendar.steps
        if chosen.before == "today":
            steps = (Step(since=steps[0].since, days=limit_on(as_of.date(), steps)),)
        binds = np.isin(issuer, calendar.organisations) if calendar.organisations else public
        rules.limits.append(_limit(steps, calendar.spare_days, binds, as_of))
    for limit in chosen.validity:
        binds = np.ones(len(table), bool) if limit.authorities == "all" else public
        if limit.issuers:
            binds = np.isin(issuer, limit.issuers)
        if limit.calendar is not None:
            calendar = calendars()[limit.calendar]
            rules.limits.append(_limit(calendar.steps, calendar.spare_days, binds, as_of))
        elif limit.days is not None:
            since = np.array([_days(limit.since, as_of)])
            rules.limits.append(Limit(since, np.array([limit.days]), binds))


def _limit(steps: tuple[Step, ...], spare: float, binds: Flags, as_of: datetime) -> Limit:
    since = np.array([_days(step.since, as_of) for step in steps])
    return Limit(since, np.array([step.days - spare for step in steps]), binds)


def _freezes(
    table: "pd.DataFrame", rules: Rules, chosen: Scenario, as_of: datetime, effort: EffortSettings
) -> None:
    for freeze in chosen.freeze:
        rows = np.ones(len(table), bool) if freeze.timers else _by_hand(table, effort)
        if freeze.owner is not None:
            rows = rows & _known(table, "owner", freeze.owner)
        rules.freezes.append((_days(freeze.since, as_of), _days(freeze.until, as_of), rows))
