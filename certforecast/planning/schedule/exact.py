"""The best schedule, by a mixed-integer program."""

from typing import Final

import numpy as np

from certforecast.planning.schedule.problem import NEVER, Problem, Schedule

__all__ = ["best"]

#: Close enough to the best.
_GAP: Final = 1e-3


def best(problem: Problem, seconds: float) -> Schedule | None:
    """Solve by branch and bound (HiGHS), if that takes no longer than given.

    Parameters
    ----------
    problem : Problem
    seconds : float
        Give up after so long.

    Returns
    -------
    Schedule or None
        None if no schedule was found in time.

    References
    ----------
    Q. Huangfu and J. Hall (2018), Parallelizing the dual revised simplex method, Mathematical Programming
    Computation 10(1).
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import coo_array

    n, count = problem.shape
    who, when = np.nonzero(problem.values > 0)
    # Columns: the choices, then what stays in each bucket after each slot.
    buckets = [number for number, limit in enumerate(problem.binding) if limit.refill is not None]
    places = {number: len(who) + place * count for place, number in enumerate(buckets)}
    width = len(who) + count * len(buckets)
    rows, columns, data, upper = [who], [np.arange(len(who))], [np.ones(len(who))], [np.ones(n)]
    upper_kept = np.zeros(count * len(buckets))
    by_limit = problem.usage.tocsc()
    first_choice = np.searchsorted(who, np.arange(n + 1))
    height = n
    slots = np.arange(count)
    for number, limit in enumerate(problem.binding):
        members = by_limit.indices[by_limit.indptr[number] : by_limit.indptr[number + 1]]
        amounts = by_limit.data[by_limit.indptr[number] : by_limit.indptr[number + 1]]
        spans = [np.arange(first_choice[i], first_choice[i + 1]) for i in members]
        chosen = np.concatenate(spans) if spans else np.zeros(0, dtype=np.int64)
        used = np.repeat(amounts, [len(span) for span in spans])
        rows.append(height + when[chosen])
        columns.append(chosen)
        data.append(used)
        upper.append(limit.capacity)
        if limit.refill is not None:
            kept = places[number] + slots
            upper_kept[kept - len(who)] = limit.capacity
            # kept + used <= capacity, and kept + used <= kept before + refill
            rows += [height + slots, height + count + when[chosen], height + count + slots]
            columns += [kept, chosen, kept]
            data += [np.ones(count), used, np.ones(count)]
            rows.append(height + count + slots[1:])
            columns.append(kept[:-1])
            data.append(-np.ones(count - 1))
            inflow = limit.refill.copy()
            inflow[:1] += limit.level
            upper.append(inflow)
            height += count
        height += count
    matrix = coo_array(
        (np.concatenate(data), (np.concatenate(rows), np.concatenate(columns))), shape=(height, width)
    )
    objective = np.concatenate([-problem.values[who, when], np.zeros(count * len(buckets))])
    found = milp(
        objective,
        integrality=np.concatenate([np.ones(len(who)), np.zeros(count * len(buckets))]),
        bounds=Bounds(0.0, np.concatenate([np.ones(len(who)), upper_kept])),
        constraints=LinearConstraint(matrix.tocsr(), -np.inf, np.concatenate(upper)),
        options={"time_limit": seconds, "mip_rel_gap": _GAP},
    )
    if found.x is None:
        return None
    picked = found.x[: len(who)] > 0.5
    chosen_slots = np.full(n, NEVER)
    chosen_slots[who[picked]] = when[picked]
    value = problem.value(chosen_slots)
    bound = value if found.mip_dual_bound is None else max(-float(found.mip_dual_bound), value)
    return Schedule(chosen_slots, value, bound, "exact")
