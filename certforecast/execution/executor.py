"""The executor: a plan's actions side by side, most worthwhile first, within limits."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from certforecast.clock import Clock, system_clock
from certforecast.errors import CertForecastError, ExecutionError, SignatureError
from certforecast.execution.breakers import Breakers
from certforecast.execution.durable import Durable, Ended, durable
from certforecast.execution.gate import Alone, Body, GatedStep
from certforecast.execution.harvest import Harvest
from certforecast.execution.line import Line
from certforecast.execution.parts import outcome_of, parts_of
from certforecast.execution.permission import check_allowed, check_approved, check_permitted
from certforecast.execution.preflight import preflight
from certforecast.execution.rates import rate_of
from certforecast.execution.record import held_out_rows
from certforecast.execution.results import ActionResult, Status
from certforecast.execution.steps import Done, Steps
from certforecast.execution.tickets import check_in_time, open_ticket, run_id, tickets
from certforecast.execution.workflow import carry_out, run_step, step_of
from certforecast.planning.approvals import Approval
from certforecast.planning.options import FOR_EXECUTOR
from certforecast.planning.plan import Action, Plan
from certforecast.settings import Settings

if TYPE_CHECKING:
    from certforecast.history.store import History

__all__ = ["Executor", "OnStep"]

#: Called with the lineage's name and the step's when a step begins.
OnStep = Callable[[str, str], None]

_LOOK_EVERY_S: Final = 0.1
_TAKE_OVER_EVERY_S: Final = 2.0
_RECORD_EVERY_S: Final = 10.0
#: Actions wait at hand for those who carry them out, so that nobody waits for the next look.
_AT_HAND: Final = 0.5


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
        self._history = history
        self._clock = clock
        self._steps = Steps(settings, clock)

    def run(
        self,
        plan: Plan,
        *,
        execute: bool = False,
        approvals: Sequence[Approval] = (),
        on_step: OnStep | None = None,
        on_end: Callable[[ActionResult], None] | None = None,
    ) -> list[ActionResult]:
        """Carry out a plan, or say what would be done.

        Actions run side by side: ``executor.workers`` in this process, and as many in every process that
        helps (``certforecast worker``), but never more than ``executor.max_per_failure_domain`` in one
        failure domain. The first action at an installer or in a failure domain goes alone, and the others
        wait until it is proven. After ``executor.max_failures`` failures in a row an issuer, installer or
        domain rests, and what needs it is skipped. An action of this plan that was carried out before is
        reported, not repeated.

        Parameters
        ----------
        plan : Plan
            Signed with the key of the home folder; its actions are taken by rank.
        execute : bool
            Without it nothing is changed: each action is only checked as far as that is possible.
        approvals : sequence of Approval
            People's signatures on the plan, where ``[approvals]`` wants them.
        on_step : callable, optional
            Told when a step begins in this process; from another thread than the caller's.
        on_end : callable, optional
            Told when an action has ended.

        Returns
        -------
        list of ActionResult
            One an action, by rank.

        Raises
        ------
        SignatureError
            If the plan is not signed with that key, was changed, or an approval does not hold.
        PlanError
            If the plan has expired, lacks approvals, names what it may not use, or is contradictory.
        ExecutionError
            If another process leads, everything is stopped, or the database does not answer.
        """
        check_permitted(plan, self._settings)
        actions = sorted(plan.actions, key=lambda action: action.rank)
        if not execute:
            plan.check_fresh(self._clock())
            return [self._dry(action) for action in actions]
        with durable(self._settings, self.body(on_step)) as runs:
            harvest = Harvest(runs, self._history, self._settings)
            self._finish(runs)
            harvest.complaint()  # what it says now it says at the end, too
            if (stop := runs.gate.stop) is not None:
                raise ExecutionError(f"{stop}: 'certforecast resume' lets it go on", code="stopped")
            check_approved(plan, approvals, self._settings, self._clock())
            self._record_held_out(plan)
            results = self._carry_through(plan, actions, runs, harvest, on_end or (lambda _: None))
            if (complaint := harvest.complaint()) is not None:
                results = [_unrecorded(result, complaint) for result in results]
        return results

    def body(self, on_step: OnStep | None = None) -> Body:
        """Give what carries out a ticket, for :func:`certforecast.execution.durable.durable`."""
        return partial(self._carry_out, on_step)

    def _record_held_out(self, plan: Plan) -> None:
        """Log what is left alone before anything is done: a plan cut off half-way was begun all the same."""
        if self._history is not None and plan.held_out:
            batch = held_out_rows(plan, self._settings.executor.actor, self._clock())
            self._history.append(batch, source="executor")

    def _finish(self, runs: Durable) -> None:
        """Wait until what earlier processes left unfinished is done.

        While everything is stopped, until what they left half-way on a server is proven or put back.
        """
        while runs.unfinished() if runs.gate.stop is None else runs.moving():
            runs.check()
            runs.take_over()
            time.sleep(_LOOK_EVERY_S)

    def _carry_through(
        self,
        plan: Plan,
        actions: list[Action],
        runs: Durable,
        harvest: Harvest,
        on_end: Callable[[ActionResult], None],
    ) -> list[ActionResult]:
        results: dict[str, ActionResult] = {}

        def note(result: ActionResult) -> None:
            results[result.action_id] = result
            on_end(result)

        ours = []
        for action in actions:
            if (spared := self._not_ours(action)) is not None:
                note(spared)
            else:
                ours.append(action)
        by_run = {run_id(plan, action.id): action for action in ours}
        for run in runs.ended(by_run):  # when this plan was carried out before
            note(_result_of(by_run.pop(run.run_id), run))
        line = self._line(list(by_run.values()), runs)
        for known in runs.known(by_run):
            line.resume(by_run[known].id)
        made, next_look, next_record = tickets(plan), 0.0, time.monotonic() + _RECORD_EVERY_S
        while not line.over and runs.gate.stop is None:
            runs.check()
            for action, why in line.stopped(self._clock()):
                note(_result(action, "skipped", why))
            for action in line.begin():
                runs.enqueue(
                    run_id(plan, action.id),
                    made[action.id],
                    rate_of(action.issuer, self._settings),
                    priority=action.rank,
                    workers=self._settings.executor.workers,
                )
            for run in runs.ended([run_id(plan, each) for each in line.running]):
                action = by_run[run.run_id]
                result = _result_of(action, run)
                line.ended(action.id, outcome_of(action, result, self._settings))
                note(result)
            if time.monotonic() > next_look:
                runs.take_over()
                for left in runs.left.keys() & {run_id(plan, each) for each in line.running}:
                    line.ended(by_run[left].id, None)  # it tells nothing about what takes part in it
                    note(_result(by_run[left], "failed", runs.left[left]))
                line.room = self._room(runs)
                next_look = time.monotonic() + _TAKE_OVER_EVERY_S
            if time.monotonic() > next_record:
                harvest.complaint()  # what it says now it says at the end, too
                next_record = time.monotonic() + _RECORD_EVERY_S
            if not line.over:
                time.sleep(_LOOK_EVERY_S)
        for action in ours:
            if action.id not in results:
                note(_result(action, "stopped", f"{runs.gate.stop}: after 'certforecast resume' act again"))
        return [results[action.id] for action in actions]

    def _line(self, actions: list[Action], runs: Durable) -> Line:
        limits = self._settings.executor
        rest = timedelta(minutes=limits.rest_minutes)
        breakers = Breakers(limits.max_failures, limits.max_failures_in_all, rest)
        for run in runs.ended_since(self._clock() - rest):
            with suppress(
                CertForecastError, ValueError
            ):  # of a version that is not understood here, or forged
                action = open_ticket(run.ticket, self._settings)
                outcome = outcome_of(action, _result_of(action, run), self._settings)
                if outcome is not None:
                    breakers.note(outcome, proves=False)  # every run has its own canaries
        return Line(
            actions,
            partial(parts_of, settings=self._settings),
            breakers,
            room=self._room(runs),
            per_domain=limits.max_per_failure_domain,
        )

    def _room(self, runs: Durable) -> int:
        return round(self._settings.executor.workers * (runs.processes() + _AT_HAND))

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
        self, on_step: OnStep | None, ticket: dict[str, Any], checkpoint: GatedStep, alone: Alone
    ) -> dict[str, Any]:
        from dbos import DBOS

        action = open_ticket(ticket, self._settings)
        if DBOS.workflow_id != f"{ticket['plan']}-{action.id}":
            raise SignatureError(f"action {action.id} stands in the executor's database under another name")

        def begin(name: str, done: Done) -> dict[str, Any]:
            if on_step is not None:
                with suppress(Exception):  # whoever watches must not end what is watched
                    on_step(action.name, name)
            check = {
                "order": partial(self._check_order, ticket, action),
                "install": partial(self._check_install, action, done),
            }.get(step_of(name)[0])
            return run_step(self._steps, name, action, done, alone=alone(action.name, name), check=check)

        def step(name: str, done: Done) -> dict[str, Any]:
            half_way = None
            if step_of(name)[0] == "install":
                half_way = partial(self._steps.half_way, action, done)
            return checkpoint(name, begin, name, done, half_way=half_way)

        result = carry_out(action, step)
        return result.model_dump(mode="json")

    def _check_order(self, ticket: dict[str, Any], action: Action) -> None:
        check_in_time(ticket, self._clock())
        check_allowed(action, self._settings, self._clock())

    def _check_install(self, action: Action, done: Done) -> None:
        """Refuse an installation that is not allowed any more; what is half-way is ended all the same."""
        try:
            check_allowed(action, self._settings, self._clock())
        except ExecutionError:
            try:
                half_way = self._steps.half_way(action, done)
            except ExecutionError:  # as if a server that cannot be asked might have it
                half_way = True
            if not half_way:
                raise

    def _dry(self, action: Action) -> ActionResult:
        if (spared := self._not_ours(action)) is not None:
            return spared
        try:
            check_allowed(action, self._settings, self._clock())
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


def _result_of(action: Action, run: Ended) -> ActionResult:
    if run.result is not None:
        return ActionResult.model_validate(run.result)
    told = f"run {run.run_id} came to no end ({run.error}): look at its server, then make a new plan"
    return _result(action, "failed", told).model_copy(update={"cause": "unexpected", "ended_at": run.at})


def _unrecorded(result: ActionResult, complaint: str) -> ActionResult:
    if result.ended_at is None:
        return result
    told = f"{result.detail}; not recorded in the store yet: {complaint}"
    return result.model_copy(update={"detail": told})


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
