"""Answers of Prometheus to range queries: series of samples, checked."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from certforecast.errors import InputError
from certforecast.history.sources import Rejected

__all__ = ["Series", "moment", "parse_answer", "parse_duration", "parse_matcher"]

_UNITS_S: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|[smhdw])?")
_MATCHER: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(=~|!~|!=|=)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels without the name, and its samples in order of time.

    Attributes
    ----------
    metric : str
        Its name.
    labels : dict of str
        Empty labels are left out: they are the same as none.
    times : list of int
        Milliseconds since 1970.
    values : list of float
        Numbers only. Prometheus writes NaN where there is nothing to say.
    position : str
        Where it stood.
    """

    metric: str
    labels: dict[str, str]
    times: list[int]
    values: list[float]
    position: str


def moment(time_ms: int) -> datetime:
    """Give the moment of a sample."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def parse_answer(answer: Any, position: str, now: datetime) -> Iterator[Series | Rejected]:
    """Read one answer of ``/api/v1/query_range``, or of ``/api/v1/query`` with a range of time.

    Format: Prometheus's documentation, "HTTP API", "Range vectors". A series with samples that are no
    samples, or are of the future, is rejected once; its other samples are given.

    Raises
    ------
    InputError
        If it is no such answer, or one that tells of an error.
    """
    if not isinstance(answer, dict) or "status" not in answer:
        raise InputError("not an answer of Prometheus: it has no status")
    if answer["status"] != "success":
        raise InputError(f"Prometheus answered with an error: {str(answer.get('error'))[:200]}")
    data = answer.get("data")
    if not isinstance(data, dict) or data.get("resultType") != "matrix":
        raise InputError(
            "not an answer to a range query: its resultType is not matrix; query_range gives one"
        )
    found = data.get("result")
    if not isinstance(found, list):
        raise InputError("not an answer of Prometheus: result is no list")
    latest = int(now.timestamp() * 1000)
    for index, item in enumerate(found):
        yield from _series(item, f"{position}[{index}]", latest)


def _series(item: Any, position: str, latest: int) -> Iterator[Series | Rejected]:
    labels = item.get("metric") if isinstance(item, dict) else None
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        yield Rejected(position, "series has no labels")
        return
    samples = item.get("values", [])  # none where they are native histograms
    if not isinstance(samples, list):
        yield Rejected(position, "values of the series are no list")
        return
    good = dict[int, float]()
    bad = 0
    for sample in samples:
        try:
            time_s, text = sample
            if isinstance(time_s, bool) or not isinstance(time_s, int | float) or not isinstance(text, str):
                raise TypeError
            time_ms, value = round(time_s * 1000), float(text)
            if not 0 <= time_ms <= latest:
                raise ValueError
        except (TypeError, ValueError, OverflowError):
            bad += 1
        else:
            if math.isfinite(value):
                good[time_ms] = value
    if bad:
        yield Rejected(position, f"{bad} samples are no [time, value], or are of the future")
    times = sorted(good)
    kept = {name: value for name, value in labels.items() if value and name != "__name__"}
    yield Series(labels.get("__name__", ""), kept, times, [good[time] for time in times], position)


def parse_duration(text: str) -> int:
    """Read a duration as Prometheus writes it (``30s``, ``5m``, ``1h``, or seconds), in milliseconds.

    Raises
    ------
    InputError
        If it is none, or is not positive.
    """
    match = _DURATION.fullmatch(text.strip())
    duration = round(float(match[1]) * 1000 * _UNITS_S[match[2] or "s"]) if match else 0
    if duration <= 0:
        raise InputError(f"{text!r} is no duration such as 30s, 5m or 1h")
    return duration


def parse_matcher(text: str) -> str:
    """Read a condition on a label, such as ``job=blackbox`` or ``env=~"prod|stage"``, into PromQL.

    Raises
    ------
    InputError
        If it is none.
    """
    match = _MATCHER.fullmatch(text.strip())
    if match is None:
        raise InputError(f'{text!r} is no condition on a label such as job="blackbox" or env=~"prod|stage"')
    name, operator, value = match.groups()
    if len(value) > 1 and value[0] == value[-1] == '"':
        return f"{name}{operator}{value}"
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}{operator}"{quoted}"'
