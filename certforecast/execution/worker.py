"""A worker: carries out what another process's plan has begun, on the same PostgreSQL database."""

import threading
from collections.abc import Callable
from typing import Final

from certforecast.clock import Clock, system_clock
from certforecast.execution.durable import durable
from certforecast.execution.executor import Executor, OnStep
from certforecast.settings import Settings
from certforecast.signing import verifying_key

__all__ = ["work"]

_TAKE_OVER_EVERY_S: Final = 2.0


def work(
    settings: Settings,
    ended: threading.Event,
    *,
    on_ready: Callable[[], None] | None = None,
    on_step: OnStep | None = None,
    clock: Clock = system_clock,
) -> None:
    """Carry out actions until told to end; what is then in the middle of a change is still ended.

    A worker needs what its actions need: the settings, the servers' files or a way to them, and the key
    ``signing.pub`` of the machine that plans.

    Parameters
    ----------
    settings : Settings
        Its `database_url` names a PostgreSQL database.
    ended : threading.Event
        Set by whoever wants it to end.
    on_ready : callable, optional
        Told when it has begun to work.
    on_step : callable, optional
        Told when a step begins.
    clock : callable
        Gives the present.

    Raises
    ------
    SignatureError
        If the home folder has no key to check actions with.
    ExecutionError
        If the database is no PostgreSQL or does not answer, or did not take what was done.
    """
    verifying_key(settings.home)  # without it every action would be refused, one after another
    executor = Executor(settings, clock=clock)
    with durable(settings, executor.body(on_step), leads=False) as runs:
        if on_ready is not None:
            on_ready()
        while not ended.wait(_TAKE_OVER_EVERY_S):
            runs.check()  # who ends here is taken over by the others
            runs.take_over()
