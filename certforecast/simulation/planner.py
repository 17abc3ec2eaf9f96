"""Forecast, plan and act: certforecast as a policy of a replay; and the ceiling that knows the truth."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from certforecast.execution.installers.files import FilesInstallerSettings
from certforecast.execution.issuers.embedded import EmbeddedIssuerSettings
from certforecast.settings import ExecutorSettings, ModelSettings, Settings
from certforecast.simulation.calendars import day_of, moment_of
from certforecast.simulation.fleet import Fleet
from certforecast.simulation.mechanisms import Block, Outcome
from certforecast.simulation.naming import fingerprint
from certforecast.simulation.rules import STUCK
from certforecast.simulation.sight import How, Sight, Task
from certforecast.simulation.store import in_memory
from certforecast.simulation.truth import futures

if TYPE_CHECKING:
    from certforecast.models.classifier import OutcomeClassifier
    from certforecast.models.pool import OutcomePool
    from certforecast.planning import Action, Plan

__all__ = ["Oracle", "Planner", "able_settings", "trained_on"]

#: Kinds of action that the executor carries out, and how; all others but `wait` are people's.
_BY_MACHINE: Final = {
    "renew": How.MACHINE,
    "install": How.MACHINE,
    "reissue": How.MACHINE,
    "rehearse": How.REHEARSAL,
}


def able_settings(settings: Settings | None = None) -> Settings:
    """Give settings with an issuer and an installer, so that plans propose what the executor can do."""
    nowhere = Path("nowhere")
    return (settings or Settings()).model_copy(
        update={
            "issuers": {"ca": EmbeddedIssuerSettings(kind="embedded", directory=nowhere)},
            "installers": {"files": FilesInstallerSettings(kind="files", certificate="c", key="k")},
            "executor": ExecutorSettings(issuer="ca", installer="files"),
        }
    )


def trained_on(
    fleet: Fleet, settings: ModelSettings | None = None, every_days: float = 14.0
) -> "OutcomePool | OutcomeClassifier":
    """Train the default model on what is known of a fleet at its end, as `certforecast train` does.

    Parameters
    ----------
    fleet : Fleet
        Played.
    settings : ModelSettings, optional
        The method.
    every_days : float
        Distance of the landmarks.
    """
    from certforecast.features import training_frame
    from certforecast.models import landmarks
    from certforecast.models.training import fit_forecaster, new_model

    store = in_memory(fleet.tables())
    frame = training_frame(store, landmarks(store, fleet.end, every_days), fleet.end, fleet.policy)
    model: OutcomePool | OutcomeClassifier = fit_forecaster(
        frame, fleet.end, fleet.policy, new_model(settings or ModelSettings(), timed=True)
    )
    return model


class Planner:
    """certforecast: forecasts, a ranked plan, and its actions in that order.

    A plan is made every so many days from the tables as they are known then; in between its actions are
    carried out as capacity allows, each as long as the certificate it is about is still in service. What the
    executor cannot reach, or could not do twice in a row, is handed to people.

    Parameters
    ----------
    model : OutcomePool or OutcomeClassifier
        Trained before the replay begins, and not again.
    settings : Settings, optional
        Costs and effects; default those of :func:`able_settings`.
    every_days : int
        From one plan to the next. The product plans daily; here it would cost too much time.
    """

    name = "certforecast"

    def __init__(
        self,
        model: "OutcomePool | OutcomeClassifier",
        settings: Settings | None = None,
        every_days: int = 7,
    ) -> None:
        self._model = model
        self._settings = settings or able_settings()
        self._every = every_days
        self._planned = -10_000
        self._plan: Plan | None = None

    def wants(self, sight: Sight) -> Iterator[Task]:
        """Give the plan's actions that are still to be done, in the order of their rank."""
        if self._plan is None or sight.day - self._planned >= self._every:
            self._plan, self._planned = self._made(sight), sight.day
        places = {name: place for place, name in _fingerprints(sight).items()}
        seen = sight.services
        # What has waited long enough takes its place among the rest.
        worth = sorted(self._plan.actions, key=lambda one: (one.cost - one.expected_loss_averted, one.rank))
        for action in worth:
            place = places.get(action.fingerprint)
            kind = _kind(action, sight.day)
            if place is None or kind is None:
                continue
            lineage = int(seen.lineage[place])
            how = _BY_MACHINE.get(kind, How.PERSON)
            if how is How.REHEARSAL and not seen.reachable[place]:
                continue
            if how is not How.PERSON and (not seen.reachable[place] or sight.record.stuck(lineage, STUCK)):
                how = How.PERSON
            yield Task(lineage, how, 10.0 if how is How.PERSON else 0.5)

    def _made(self, sight: Sight) -> "Plan":
        from certforecast.models import forecast
        from certforecast.planning import make_plan

        as_of = moment_of(sight.day)
        store = sight.store()
        forecasts = forecast(store, self._model, as_of, self._settings.policy)
        return make_plan(store, forecasts, as_of, self._settings, explainer=self._model, clock=lambda: as_of)


def _kind(action: "Action", day: int) -> str | None:
    """Say what is to be done today; None if it is still to wait."""
    if action.kind != "wait":
        return action.kind
    begun = action.start is not None and day_of(action.start) <= day
    return action.then if begun else None


class Oracle:
    """A ceiling: knows every service's state and true probabilities, and leaves alone what will do.

    Nobody can have this: it sees dead timers, broken hooks and full disks, and plays the future many times.
    What is likely to fail if nobody steps in is mended in the order of expiry, and not before it must be.

    Parameters
    ----------
    seed : int
        Of the futures it plays.
    draws : int
        How many.
    every_days : int
        From one look at the future to the next.
    least : float
        True probability of failure from which it acts.
    within_days : float
        It acts no earlier than so many days before expiry.
    """

    name = "oracle"

    def __init__(
        self,
        seed: int = 0,
        draws: int = 40,
        every_days: int = 3,
        least: float = 0.1,
        within_days: float = 21.0,
    ) -> None:
        self._seed = seed
        self._draws = draws
        self._every = every_days
        self._least = least
        self._within = within_days
        self._looked = -10_000
        self._risky: set[tuple[int, int]] = set()

    def wants(self, sight: Sight) -> Iterator[Task]:
        """Give what is likely to fail, the first to expire first."""
        world = sight.hidden()
        state = world.state
        if sight.day - self._looked >= self._every:
            self._risky, self._looked = self._seen(sight), sight.day
        reachable = set(sight.services.lineage[sight.services.reachable].tolist())
        for lineage, number in sorted(self._risky, key=lambda one: (state.not_after[one[0]], one)):
            if state.number[lineage] != number or state.retired[lineage]:
                continue
            ill = state.challenge[lineage] != Block.NONE and not state.pending[lineage]
            if ill or lineage not in reachable:
                yield Task(lineage, How.PERSON, 10.0)
            else:
                yield Task(lineage, How.MACHINE)

    def _seen(self, sight: Sight) -> set[tuple[int, int]]:
        """Play the future of what expires soon; give the renewals likely to fail."""
        world = sight.hidden()
        state = world.state
        soon = state.born & ~state.retired & (state.not_after < sight.day + self._within)
        down = {(int(one), int(state.number[one])) for one in np.flatnonzero(soon & state.failed)}
        state.born &= soon
        if not (soon & ~state.failed).any():
            return down
        rng = np.random.default_rng([self._seed, sight.day])
        lineage, number, outcomes = futures(world, sight.day, self._draws, rng)
        likely = (outcomes == Outcome.FAILED).mean(axis=1) >= self._least
        served = number == state.number[lineage]
        pairs = zip(lineage[likely & served].tolist(), number[likely & served].tolist(), strict=True)
        return down | set(pairs)


def _fingerprints(sight: Sight) -> dict[int, str]:
    """Give the certificate of each service in sight, by its place."""
    seen = sight.services
    return {
        place: fingerprint(sight.seed, int(lineage), int(number))
        for place, (lineage, number) in enumerate(zip(seen.lineage, seen.number, strict=True))
    }
