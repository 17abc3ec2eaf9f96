"""The executor: a plan's actions, one after another, most worthwhile first."""

import re
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import ExecutionError, PlanError
from certforecast.execution.durable import Durable, durable
from certforecast.execution.preflight import preflight
from certforecast.execution.record import held_out_rows
from certforecast.execution.results import ActionResult, Status
from certforecast.execution.steps import Done, Steps
from certforecast.execution.workflow import carry_out, run_step
from certforecast.planning.options import FOR_EXECUTOR
from certforecast.planning.plan import Action, Plan
from certforecast.settings import Settings

if TYPE_CHECKING:
    from certforecast.history.store import History

__all__ = ["Executor", "OnStep"]

#: Called with the lineage's name and the step's when a step begins.
OnStep = Callable[[str, str], None]

_HARMLESS: Final = re.compile(r"[0-9A-Za-z_-]{1,64}")


class Executor:
    """Carries out plans: renews, installs, proves on the wire, and rolls back what cannot be proven.

    Every step is checkpointed in the executor's own database (``executor.sqlite`` in the home folder, or
    ``database_url``). Killed at any moment, the next run with ``execute=True`` first finishes what was begun.

    Parameters
    ----------
    settings : Settings
        Issuers, installers, limits, and where things live.
    history : History, optional
        The store in which what was done is recorded, as events of the actor ``executor.actor``.
    clock : callable
        Gives the present.
    """

    def __init__(
        self, settings: Settings, history: "History | None" = None, clock: Clock = system_clock
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._steps = Steps(settings, history, clock)

    def run(self, plan: Plan, *, execute: bool = False, on_step: OnStep | None = None) -> list[ActionResult]:
        """Carry out a plan, or say what would be done.

        One action runs at a time. After ``executor.max_failures`` failures in a row the line stops, and the
        rest is skipped. An action of this plan that was carried out before is reported, not repeated.

        Parameters
        ----------
        plan : Plan
            Its actions are taken by rank.
        execute : bool
            Without it nothing is changed: each action is only checked as far as that is possible.
        on_step : callable, optional
            Told when a step begins; from another thread than the caller's.

        Returns
        -------
        list of ActionResult
            One an action, by rank.

        Raises
        ------
        PlanError
            If the plan has expired, an action's id is not one that planning gives, or it acts on what it
            holds out.
        ExecutionError
            If another process is carrying out a plan with the same home folder.
        """
        actions = sorted(plan.actions, key=lambda action: action.rank)
        for action in actions:
            if not _HARMLESS.fullmatch(action.id):  # it names the staging folder
                raise PlanError(f"plan {plan.id}: {action.id!r} is no action's id; make the plan again")
        held_out = {left.fingerprint for left in plan.held_out}
        for action in actions:
            if action.fingerprint in held_out:
                raise PlanError(
                    f"plan {plan.id} both acts on {action.name} and holds it out; make the plan again"
                )
        if not execute:
            plan.check_fresh(self._clock())
            return [self._dry(action) for action in actions]
        with durable(self._settings, partial(self._carry_out, on_step)) as runs:
            runs.finish()
            plan.check_fresh(self._clock())
            self._record_held_out(plan)
            return self._line(plan, actions, runs)

    def _record_held_out(self, plan: Plan) -> None:
        """Log what is left alone before anything is done: a plan cut off half-way was begun all the same."""
        if self._steps.history is not None and plan.held_out:
            batch = held_out_rows(plan, self._settings.executor.actor, self._clock())
            self._steps.history.append(batch, source="executor")

    def _line(self, plan: Plan, actions: list[Action], runs: Durable) -> list[ActionResult]:
        results: list[ActionResult] = []
        failures, limit = 0, self._settings.executor.max_failures
        for action in actions:
            if (spared := self._not_ours(action)) is not None:
                results.append(spared)
            elif failures >= limit:
                results.append(
                    _result(action, "skipped", f"the line stopped after {failures} failures in a row")
                )
            else:
                try:
                    done = runs.run(f"{plan.id}-{action.id}", action.model_dump(mode="json"))
                    results.append(ActionResult.model_validate(done))
                except ExecutionError as error:
                    results.append(_result(action, "failed", str(error)))
                failures = 0 if results[-1].status == "verified" else failures + 1
        return results

    def _not_ours(self, action: Action) -> ActionResult | None:
        """Say what is not to be done here, or not yet."""
        if action.kind == "wait":
            return _result(action, "waiting", action.reasons[-1])
        if action.kind == "rehearse":
            return _result(action, "for_people", f"'certforecast rehearse --name {action.name}' does it")
        if action.kind not in FOR_EXECUTOR:
            return _result(action, "for_people", "; ".join(action.reasons))
        if action.start is not None and self._clock() < action.start:
            return _result(
                action, "waiting", f"it may begin at {action.start:%Y-%m-%d %H:%M} UTC: act again then"
            )
        return None

    def _carry_out(
        self, on_step: OnStep | None, document: dict[str, Any], checkpoint: Callable[..., dict[str, Any]]
    ) -> dict[str, Any]:
        action = Action.model_validate(document)

        def begin(name: str, done: Done) -> dict[str, Any]:
            if on_step is not None:
                on_step(action.name, name)
            return run_step(self._steps, name, action, done)

        result = carry_out(action, lambda name, done: checkpoint(name, begin, name, done))
        return result.model_dump(mode="json")

    def _dry(self, action: Action) -> ActionResult:
        if (spared := self._not_ours(action)) is not None:
            return spared
        try:
            ready = preflight(action, self._settings, self._clock)
        except ExecutionError as error:
            return _result(action, "failed", f"would not begin: {error}")
        served = [seen.fingerprint or "" for seen in ready.served]
        plans = [line for installer in ready.installers for line in installer.describe()]
        if ready.present:
            plans = [line for line in plans if not line.startswith("switch ")]
        else:
            plans.insert(0, f"order {', '.join(action.names)} from {action.issuer}")
        where = ", ".join(
            f"{endpoint} serves {digest[:12]}"
            for endpoint, digest in zip(action.endpoints, served, strict=True)
        )
        return _result(action, "dry", f"{'; '.join(plans)}; prove at {where} now", served[0])


def _result(action: Action, status: Status, detail: str, fingerprint: str | None = None) -> ActionResult:
    return ActionResult(
        action_id=action.id,
        name=action.name,
        kind=action.kind,
        status=status,
        fingerprint_before=fingerprint,
        fingerprint_after=fingerprint,
        detail=detail,
    )
