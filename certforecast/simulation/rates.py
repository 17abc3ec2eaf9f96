"""The simulator's numbers. Every one is an assumption: no public base rates of renewal failures exist."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from certforecast.errors import InputError

__all__ = ["Rates"]


@dataclass(frozen=True, slots=True)
class Rates:
    """How often things happen in a simulated fleet.

    Hazards are probabilities a day for an owner or zone of ordinary quality; good and bad ones differ from it
    by the factors in :mod:`certforecast.simulation.mechanisms`. The comments name the failure classes that
    docs/simulator.md lists.

    Raises
    ------
    InputError
        If a rate lies outside 0 to 1.
    """

    # What the fleet is made of (shares of lineages).
    ticket_share: float = 0.26
    calendar_share: float = 0.10
    public_share: float = 0.74
    orphan_share: float = 0.06
    monitored_share: float = 0.60
    unobserved_share: float = 0.15
    present_at_start: float = 0.75
    split_share: float = 0.06
    parallel_share: float = 0.05  # of timers: two certificates of the same names, RSA and ECDSA
    multi_tenant_share: float = 0.03  # of timers: tenants' names come and go with every renewal
    wildcard_share: float = 0.03  # of lineages with several names: a wildcard takes over at some renewal
    merge_share: float = 0.15  # of retirements: the names move into another certificate of the zone

    # What breaks in one lineage.
    timer_death: float = 0.00028  # class 2
    challenge_break: float = 0.00045  # classes 3, 4, 6
    dead_name: float = 0.00006  # class 7, for each name beyond the first
    hook_break: float = 0.00032  # class 1
    reload_transient: float = 0.008  # class 1, for each installation
    attempt_transient: float = 0.06  # for each attempt by a timer
    manual_attempt_failure: float = 0.12  # for each attempt by a person
    install_forgotten: float = 0.05  # class 1, for each renewal by a person
    batch_missed: float = 0.06  # class 22, for each batch

    # What breaks for many at once, and how fast it is put right.
    issuer_outage: float = 0.006  # class 14
    issuer_recovery: float = 0.5
    account_loss: float = 0.00025  # class 13
    account_recovery: float = 0.06
    rate_limit: float = 0.0012  # class 9
    rate_limit_end: float = 0.25
    zone_break: float = 0.0005  # class 5
    zone_recovery: float = 0.06
    manager_stall: float = 0.0007  # class 11
    manager_recovery: float = 0.05
    disk_full: float = 0.0003  # class 12
    disk_freed: float = 0.05

    # People (chances on a working day).
    file_ticket: float = 0.3  # class 22
    work_ticket: float = 0.22
    install_by_hand: float = 0.35
    reboot: float = 0.02  # a restart for another reason also loads what lies on the disk

    # How a looming or past expiry is noticed (chances a day).
    notice_early: float = 0.003
    notice_slip: float = 0.05
    notice_week: float = 0.14
    notice_expired: float = 0.35

    # How the fleet changes.
    host_move: float = 0.0006
    move_breaks_challenge: float = 0.10  # class 3
    move_loses_timer: float = 0.05  # class 2
    move_breaks_hook: float = 0.05  # class 1
    retirement: float = 0.00022
    zombie: float = 0.55  # class 10: a timer left running on a retired service
    zombie_end: float = 0.008
    migration: float = 0.0004  # a lineage kept by hand gets a timer
    name_growth: float = 0.03  # for each renewal
    name_shrinkage: float = 0.015  # for each renewal
    skill_drift: float = 0.035  # standard deviation a day of the pull on an owner's skill

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value <= 1.0:
                raise InputError(f"rates.{field.name} is {value}; it must lie between 0 and 1")

    @classmethod
    def varied(cls, seed: int, spread: float = 0.6) -> Self:
        """Draw the rates of a fleet of another character: each of the defaults times a factor.

        Parameters
        ----------
        seed : int
            The same seed gives the same rates.
        spread : float
            Standard deviation of the factors' logarithm. Chances become no larger than 0.9.
        """
        rng = np.random.default_rng(seed)
        rates = {field.name: getattr(cls(), field.name) for field in fields(cls)}
        factors = np.exp(rng.normal(0.0, spread, len(rates)))
        return cls(
            **{
                name: min(rate * float(factor), 0.9)
                for (name, rate), factor in zip(rates.items(), factors, strict=True)
            }
        )
