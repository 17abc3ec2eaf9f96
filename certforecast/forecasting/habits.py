"""How renewals usually go: past ones to draw from, of the lineage itself first, then of ever wider groups."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from certforecast.forecasting.situation import Situation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Habits", "learn"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A lineage's own renewals that count, the latest ones.
_OWN: Final = 6
#: Own renewals of lifetimes that differ by more than this factor tell of another way to renew.
_ALIKE: Final = 2.5
#: So many renewals of a group weigh as much as all wider groups together.
_STRENGTH: Final = 2.0
#: Lifetimes up to these days renew alike.
_CLASSES: Final = (10.0, 47.0, 100.0, 200.0)
#: Weight, in years of service, of the overall rate of retirement in a group's own.
_RETIREMENT_YEARS: Final = 20.0


@dataclass(frozen=True)
class Habits:
    """Past renewals, and for each row of a table the chances of drawing each.

    Attributes
    ----------
    margin, lifetime, habit, issue_gap : ndarray of shape (n_past,)
        Of past renewals, in days: left at the switch, validity, what the lineage usually has left, and from
        issue to service.
    outages : ndarray of shape (n_failed,)
        How long past failures lasted; at least one value.
    members : list of ndarray of int
        For each level, indices of past renewals, ordered by group.
    start, count : ndarray of shape (n_rows, n_levels)
        Where in `members` a row's group lies.
    chance : ndarray of shape (n_rows, n_levels)
        Cumulative, of drawing from each level.
    retirement : ndarray of shape (n_rows,)
        Rate a day.
    """

    margin: Floats
    lifetime: Floats
    habit: Floats
    issue_gap: Floats
    outages: Floats
    members: list[Ints]
    start: Ints
    count: Ints
    chance: Floats
    retirement: Floats

    def draw(self, rows: Ints, rng: np.random.Generator) -> Ints:
        """Draw a past renewal for each of some rows of the table; indices of shape (n,)."""
        level = (rng.random(len(rows))[:, None] > self.chance[rows]).sum(axis=1)
        level = np.minimum(level, len(self.members) - 1)
        place = self.start[rows, level] + np.floor(
            rng.random(len(rows)) * np.maximum(self.count[rows, level], 1)
        ).astype(np.int64)
        found = np.empty(len(rows), np.int64)
        for number, members in enumerate(self.members):
            here = level == number
            found[here] = members[place[here]]
        return found

    def margins(self, drawn: Ints, lifetime: Floats, keep: float) -> Floats:
        """Say how many days would be left at the switch if a past renewal came again with another lifetime.

        Who starts some days before expiry goes on to, but never before the last third of the lifetime, or the
        share of it that was usual. What came earlier than usual does so by the same share of the lifetime;
        a delay keeps its days entirely (`keep` 1), or shrinks with the lifetime (0), or lies between.
        """
        ratio = lifetime / self.lifetime[drawn]
        habit = self.habit[drawn]
        usual = np.where(
            ratio < 1.0, np.minimum(habit, np.maximum(habit * ratio, lifetime / 3)), habit * ratio
        )
        apart = self.margin[drawn] - habit
        delayed = apart * np.where(ratio < 1.0, ratio ** (1.0 - keep), ratio)
        moved = usual + np.where(apart > 0, apart * ratio, delayed)
        return np.where(np.abs(ratio - 1.0) < 0.02, self.margin[drawn] * ratio, moved)


def learn(table: "pd.DataFrame", situation: Situation) -> Habits:
    """Learn for each row of a table how its renewals go.

    Parameters
    ----------
    table : DataFrame of shape (n_rows, n_columns)
        ``lineage``, the columns of :data:`~certforecast.forecasting.situation.GROUPS`, and ``lifetime``.
        A lineage of its own name has no past.
    situation : Situation
        Its past is learned from.
    """
    import pandas as pd

    past = situation.past[situation.past["outcome"] != "retired"]
    past = (
        past[past["margin"].notna() & ~past["intervention"]]
        .sort_values("resolved", kind="stable")
        .reset_index(drop=True)
    )
    past = past.assign(lifetime=past["end"] - past["begin"])
    if past.empty:  # nothing known: on time, as the rules have it
        lifetime = table["lifetime"].to_numpy(np.float64)
        past = table.assign(margin=lifetime / 3, issue_gap=0.0, outcome="on_time", resolved=0.0)
    latest = past.groupby("lineage").cumcount(ascending=False) < _OWN
    usual = past[latest].groupby("lineage")["margin"].median()
    keys = [_keys(frame) for frame in (past, table)]
    members, start, count = [], [], []
    for level in range(len(keys[0])):
        use = latest.to_numpy() if level == 0 else np.ones(len(past), bool)
        codes, names = pd.factorize(pd.concat([keys[0][level], keys[1][level]], ignore_index=True))
        own = np.where(use, codes[: len(past)], -1)
        order = np.argsort(own, kind="stable")
        order = order[(own < 0).sum() :]
        members.append(order)
        numbers = np.bincount(own[own >= 0], minlength=len(names))
        begins = np.concatenate([[0], np.cumsum(numbers)[:-1]])
        start.append(begins[codes[len(past) :]])
        count.append(numbers[codes[len(past) :]])
    counts = np.column_stack(count).astype(np.int64)
    kept = counts / (counts + _STRENGTH)
    kept[:, -1] = 1.0
    passed = np.cumprod(np.column_stack([np.ones(len(table)), 1.0 - kept[:, :-1]]), axis=1)
    failures = -past.loc[past["margin"] < 0, "margin"].to_numpy(np.float64)
    return Habits(
        margin=past["margin"].to_numpy(np.float64),
        lifetime=past["lifetime"].to_numpy(np.float64),
        habit=past["lineage"].map(usual).to_numpy(np.float64),
        issue_gap=past["issue_gap"].fillna(0.0).to_numpy(np.float64),
        outages=failures if len(failures) else np.array([1.0]),
        members=members,
        start=np.column_stack(start).astype(np.int64),
        count=counts,
        chance=np.cumsum(passed * kept, axis=1),
        retirement=_retirement(table, situation),
    )


def _keys(frame: "pd.DataFrame") -> list["pd.Series[str]"]:
    """Give the groups of each row, from the narrowest to all."""
    size = np.digitize(frame["lifetime"], _CLASSES).astype(str)
    wide = np.round(np.log(np.maximum(frame["lifetime"], 0.1)) / np.log(_ALIKE)).astype(int).astype(str)
    text = {name: frame[name].astype(str) for name in ("lineage", "owner", "issuer", "automation")}
    return [
        text["lineage"] + "|" + wide,
        text["owner"] + "|" + text["issuer"] + "|" + text["automation"] + "|" + size,
        text["issuer"] + "|" + text["automation"] + "|" + size,
        text["automation"] + "|" + size,
        text["lineage"].str.slice(0, 0),
    ]


def _retirement(table: "pd.DataFrame", situation: Situation) -> Floats:
    """Give the rate a day at which services end, by lifetime and automation, leaning on that of all."""
    past = situation.past
    retired = (past["outcome"] == "retired").astype("float64")
    served = (past["end"] - past["begin"]).clip(lower=0.1)
    overall = float(retired.sum() / max(served.sum(), 1.0)) if len(past) else 0.0
    weight = _RETIREMENT_YEARS * 365.25

    def key(frame: "pd.DataFrame", days: "pd.Series[float]") -> "pd.Series[str]":
        group: pd.Series[str] = (
            frame["automation"].astype(str) + "|" + np.digitize(days, _CLASSES).astype(str)
        )
        return group

    own = key(past, served)
    rates = (retired.groupby(own).sum() + weight * overall) / (served.groupby(own).sum() + weight)
    return key(table, table["lifetime"]).map(rates).fillna(overall).to_numpy(np.float64)
