"""What others go by, as policies of a replay."""

from collections.abc import Iterator

import numpy as np

from certforecast.policy import RenewalPolicy
from certforecast.simulation.columns import Floats
from certforecast.simulation.sight import How, Services, Sight, Task

__all__ = ["RULES", "CertManager", "Certbot", "FewestDaysLeft", "LastDays", "Nobody", "ThirtyDays"]

#: After so many failures in a row a person is asked.
STUCK: int = 2


class Nobody:
    """Nobody steps in."""

    name = "nobody"

    def wants(self, sight: Sight) -> Iterator[Task]:
        """Want nothing."""
        del sight
        yield from ()


class Certbot:
    """certbot's rule: at 2/3 of the newest certificate's lifetime, 1/2 under ten days, two tries a day.

    As in certbot 5 (`_default_renewal_time`), which looks at the file, not at what is served. Those longest
    due come first.
    """

    name = "certbot"

    def wants(self, sight: Sight) -> Iterator[Task]:
        """Try what is due in the morning, and what is still due in the evening."""
        due = _due(sight)
        for hour in (0.5, 12.5):
            yield from (Task(lineage, How.MACHINE, hour) for lineage in due)


class CertManager:
    """cert-manager's rule: at 2/3 of the newest certificate's lifetime; then after 1, 2, 4, ... 32 hours.

    As in cert-manager 1.21: the wait after the n-th failure in a row is ``2 ** (n - 1)`` hours, at most 32.
    """

    name = "cert-manager"

    def wants(self, sight: Sight) -> Iterator[Task]:
        """Try what is due and has waited long enough."""
        due = _due(sight)
        hours = {lineage: _hours(sight, lineage) for lineage in due}
        for turn in range(max(map(len, hours.values()), default=0)):
            for lineage in due:
                if turn < len(hours[lineage]):
                    yield Task(lineage, How.MACHINE, hours[lineage][turn])


class ThirtyDays:
    """A ticket thirty days before expiry, worked on by people; the first to expire come first."""

    name = "30 days, by ticket"

    def wants(self, sight: Sight) -> Iterator[Task]:
        """Ask people to look at whatever expires within thirty days."""
        for lineage, left, _ in _by_days_left(sight):
            if left < 30.0:
                yield Task(lineage, How.PERSON, 10.0)


class FewestDaysLeft:
    """The first to expire come first; people look where the executor cannot, or could not twice.

    Nothing is renewed before 2/3 of its lifetime, and nobody looks more than thirty days before expiry.
    """

    name = "fewest days left"

    def wants(self, sight: Sight) -> Iterator[Task]:
        """Renew or look, by what is served."""
        past = dict(zip(sight.services.lineage.tolist(), _past_due(sight).tolist(), strict=True))
        for lineage, left, reachable in _by_days_left(sight):
            if reachable and not sight.record.stuck(lineage, STUCK):
                if past[lineage] >= 0.0:
                    yield Task(lineage, How.MACHINE)
            elif left < 30.0:
                yield Task(lineage, How.PERSON, 10.0)


class LastDays(FewestDaysLeft):
    """An alarm in the last days: as fewest days left, and nothing is done any earlier.

    Parameters
    ----------
    days : float
        Before expiry.
    """

    def __init__(self, days: float = 7.0) -> None:
        self.days = days
        self.name = f"last {days:g} days"

    def wants(self, sight: Sight) -> Iterator[Task]:
        """Renew or look, if the days left are few enough."""
        seen = sight.services
        soon = set(seen.lineage[seen.not_after - sight.day < self.days].tolist())
        yield from (task for task in super().wants(sight) if task.lineage in soon)


#: By name.
RULES = {rule.name: rule for rule in (Certbot, CertManager, ThirtyDays, FewestDaysLeft)}


def _due(sight: Sight) -> list[int]:
    """Give what is due by the newest certificate and can be reached, longest due first."""
    seen = sight.services
    since = sight.day - _due_at(seen.newest_not_after, seen.newest_lifetime)
    due = np.flatnonzero((since >= 0.0) & seen.reachable)
    order: list[int] = seen.lineage[due[np.argsort(-since[due], kind="stable")]].tolist()
    return order


def _past_due(sight: Sight) -> Floats:
    seen: Services = sight.services
    return sight.day - _due_at(seen.not_after, seen.lifetime)


def _due_at(not_after: Floats, lifetime: Floats) -> Floats:
    policy = RenewalPolicy()
    share = np.where(lifetime < policy.short_lifetime_days, policy.short_due_fraction, policy.due_fraction)
    return not_after - (1.0 - share) * lifetime


def _by_days_left(sight: Sight) -> Iterator[tuple[int, float, bool]]:
    seen = sight.services
    for place in np.argsort(seen.not_after, kind="stable").tolist():
        yield int(seen.lineage[place]), float(seen.not_after[place] - sight.day), bool(seen.reachable[place])


def _hours(sight: Sight, lineage: int) -> list[float]:
    """Give the hours of today's tries, if none of them succeeds."""
    failed, last = sight.record.failures.get(lineage, (0, 0.0))
    at = max(0.5, (last - sight.day) * 24.0 + _wait(failed)) if failed else 0.5
    hours = []
    while at < 24.0:
        hours.append(at)
        failed += 1
        at += _wait(failed)
    return hours


def _wait(failures: int) -> float:
    return float(min(2.0 ** (failures - 1), 32.0))
