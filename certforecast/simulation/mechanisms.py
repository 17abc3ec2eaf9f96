"""One day in the life of a fleet: the only place where anything happens.

:func:`step` plays the history and, from any day on, the many futures that give the true probabilities. All
chances are memoryless given the state, so the state at a moment holds all that can be known of the future.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from certforecast.policy import RenewalPolicy
from certforecast.simulation.calendars import LETS_ENCRYPT_DAYS, Calendar, limit_on
from certforecast.simulation.columns import Columns, Flags, Floats, Ints
from certforecast.simulation.population import HOSTS_PER_OWNER, ISSUERS, Automation, Population, Traits
from certforecast.simulation.rates import Rates
from certforecast.simulation.shocks import Shocks

__all__ = [
    "BACKDATE",
    "INSTALL",
    "OUTCOMES",
    "Block",
    "Chance",
    "Happenings",
    "Outcome",
    "State",
    "World",
    "begin",
    "conclude",
    "introduce",
    "lead",
    "obstacle",
    "step",
    "validity",
]

#: Let's Encrypt dates certificates back by an hour; here every issuer does.
BACKDATE: Final = 1 / 24
#: From issuance to service when a machine installs.
INSTALL: Final = 3 / 1440

_PUBLIC: Final = np.array([issuer.public for issuer in ISSUERS])

#: Dice: throws each row's chance.
Chance = Callable[[NDArray[np.floating[Any]] | float], Flags]


class Outcome(IntEnum):
    """How a renewal ended."""

    ON_TIME = 0
    SLIPPED = 1
    FAILED = 2
    RETIRED = 3


#: Names of the outcomes, by number.
OUTCOMES: Final = tuple(outcome.name.lower() for outcome in Outcome)


class Block(IntEnum):
    """What stopped an attempt, or breaks a lineage's challenge. Codes are those of ACME problems."""

    NONE = 0
    CONNECTION = 1
    DNS = 2
    UNAUTHORIZED = 3
    CAA = 4
    DEAD_NAME = 5
    OUTAGE = 6
    ACCOUNT = 7
    RATE_LIMITED = 8
    ZONE = 9
    DISK = 10
    TRANSIENT = 11
    PEOPLE = 12


@dataclass
class State(Columns):
    """What changes about a lineage, one row a lineage (or a lineage in a draw). Times are days since 1970."""

    draw: Ints
    born: Flags
    retired: Flags
    zombie: Flags  # retired, and its timer still renews
    automation: Ints
    issuer: Ints
    wish: Floats
    slot: Ints  # the owner's host slot it is served from
    number: Ints  # of the certificate in service
    not_after: Floats
    lifetime: Floats
    failed: Flags  # the certificate in service has expired in service
    pending: Flags  # a successor is issued and not in service
    pending_not_after: Floats
    pending_lifetime: Floats
    forgotten: Flags  # the person who issued it will not install it unprompted
    timer_ok: Flags
    hook_ok: Flags
    challenge: Ints  # a Block; NONE is well
    ticket: Flags  # a ticket is filed
    names: Ints


@dataclass
class World:
    """A fleet at the beginning of a day, in one draw or in many."""

    state: State
    traits: Traits
    shocks: Shocks
    calendar: Calendar
    rates: Rates
    policy: RenewalPolicy

    def copied(self, draws: int = 1, rows: Flags | None = None) -> "World":
        """Copy into `draws` independent worlds, with the lineages in `rows` only; draws vary slowest."""
        index = np.flatnonzero(rows) if rows is not None else np.arange(len(self.state))
        index = np.tile(index, draws)
        state = self.state.take(index)
        state.draw = np.repeat(np.arange(draws), len(index) // draws)
        shocks = self.shocks.repeated(draws)
        return World(state, self.traits.take(index), shocks, self.calendar, self.rates, self.policy)


@dataclass(slots=True)
class Happenings:
    """What a day brought, one row a lineage. Flags are aligned with the state's rows."""

    now: Floats
    number: Ints  # of the certificate in service before anything happened
    resolved: Flags
    outcome: Ints
    resolved_at: Floats
    retired: Flags
    moved: Flags
    migrated: Flags
    attempted: Flags
    blocked: Ints  # a Block
    issued: Flags
    not_before: Floats
    not_after: Floats
    grew: Flags
    shrank: Flags
    split: Flags
    installed: Flags
    served_at: Floats
    hook_failed: Flags
    mended: Flags  # somebody changed the configuration


def begin(population: Population) -> State:
    """Give the state before the first day, with nobody born."""
    size = len(population)

    def no() -> Flags:
        return np.zeros(size, bool)

    def none() -> Floats:
        return np.zeros(size)

    return State(
        draw=np.zeros(size, np.int64),
        born=no(),
        retired=no(),
        zombie=no(),
        automation=population.automation.copy(),
        issuer=population.issuer.copy(),
        wish=population.wish.copy(),
        slot=population.slot.copy(),
        number=np.zeros(size, np.int64),
        not_after=none(),
        lifetime=none(),
        failed=no(),
        pending=no(),
        pending_not_after=none(),
        pending_lifetime=none(),
        forgotten=no(),
        timer_ok=~no(),
        hook_ok=~no(),
        challenge=np.zeros(size, np.int64),
        ticket=no(),
        names=population.traits.names.copy(),
    )


def introduce(world: World, rows: Flags, age: Floats, day: int) -> Floats:
    """Let lineages enter with a certificate in service; give their ``not_before``.

    Parameters
    ----------
    rows : ndarray of bool, shape (lineages,)
    age : ndarray of float, shape (lineages,)
        Share of the certificate's lifetime already over.
    """
    state = world.state
    lifetime = validity(state, day)
    not_before = day + world.traits.hour - BACKDATE - np.floor(age * lifetime)
    state.born = state.born | rows
    state.lifetime = np.where(rows, lifetime, state.lifetime)
    state.not_after = np.where(rows, not_before + lifetime, state.not_after)
    return not_before


def step(world: World, day: int, rng: Generator) -> Happenings:
    """Let one day pass, from midnight to midnight UTC.

    Parameters
    ----------
    world : World
        Changed in place.
    day : int
        Days since 1970.
    rng : Generator
        The day's own stream, so that a day's chances do not depend on how long the fleet is played.
    """
    state, traits, shocks, rates = world.state, world.traits, world.shocks, world.rates

    def chance(p: NDArray[np.floating[Any]] | float) -> Flags:
        return rng.random(len(state), dtype=np.float32) < p

    shocks.step(rng)
    now = day + traits.hour
    number = state.number.copy()
    skill = shocks.skill[state.draw, traits.owner]
    retired = _retire(world, chance)
    in_use = state.born & ~state.retired
    migrated = in_use & (state.automation != Automation.TIMER) & chance(rates.migration * np.exp(0.5 * skill))
    _migrate(state, traits, migrated)
    moved = _break_things(world, in_use, np.exp(-0.6 * skill), chance)

    working = world.calendar.working(day, traits.country)
    at_work = working & ~(world.calendar.frozen(day) & traits.freezes)
    noticed = in_use & _notice(world, now, working, skill, chance)
    dead_name = noticed & (state.challenge == Block.DEAD_NAME)
    mended = noticed & ((state.challenge != Block.NONE) | ~state.timer_ok | ~state.hook_ok)
    state.timer_ok |= noticed
    state.hook_ok |= noticed
    state.challenge[noticed] = Block.NONE
    state.names -= dead_name

    wanted = _wanted(world, day, now, at_work, skill, chance) | (noticed & ~state.pending)
    blocked = np.where(wanted, obstacle(world, chance), Block.NONE)
    issued = wanted & (blocked == Block.NONE)
    by_timer = state.automation == Automation.TIMER
    disk_full = shocks.disk.on[state.draw, traits.owner * HOSTS_PER_OWNER + state.slot]
    hook_failed = issued & by_timer & in_use & (~state.hook_ok | disk_full | chance(rates.reload_transient))
    split = issued & in_use & (state.number == traits.splits_at) & (state.names > 1)
    shrank = issued & ~split & (state.names > 1) & (dead_name | chance(rates.name_shrinkage))
    grew = issued & in_use & ~split & ~shrank & chance(rates.name_growth)
    state.names = np.where(split, state.names - state.names // 2, state.names + grew - (shrank & ~dead_name))

    lifetime = validity(state, day)
    not_before = now - BACKDATE
    not_after = not_before + lifetime
    state.pending |= issued
    state.pending_lifetime = np.where(issued, lifetime, state.pending_lifetime)
    state.pending_not_after = np.where(issued, not_after, state.pending_not_after)
    state.forgotten = np.where(
        issued, ~by_timer & chance(rates.install_forgotten * np.exp(-0.6 * skill)), state.forgotten
    )
    state.ticket &= ~issued

    by_hand = ~by_timer & ~state.forgotten & at_work & chance(rates.install_by_hand * np.exp(0.3 * skill))
    pending_is_due = now >= state.pending_not_after - lead(state, traits, state.pending_lifetime)
    loaded = noticed | by_hand | chance(rates.reboot) | pending_is_due | (issued & by_timer & ~hook_failed)
    installed = in_use & state.pending & loaded
    served_at = now + INSTALL
    happenings = Happenings(
        now=now,
        number=number,
        resolved=retired,
        outcome=number,
        resolved_at=now,
        retired=retired,
        moved=moved,
        migrated=migrated,
        attempted=wanted,
        blocked=blocked,
        issued=issued,
        not_before=not_before,
        not_after=not_after,
        grew=grew,
        shrank=shrank,
        split=split,
        installed=installed,
        served_at=served_at,
        hook_failed=hook_failed & ~installed,
        mended=mended,
    )
    conclude(world, happenings, day, np.ones(len(state), bool))
    return happenings


def conclude(world: World, today: Happenings, day: int, rows: Flags) -> None:
    """Settle the renewals that end, and put what was installed in the old one's place; of `rows` only.

    Parameters
    ----------
    world : World
        Changed in place.
    today : Happenings
        What happened; its resolutions are filled in.
    day : int
        Days since 1970.
    rows : ndarray of bool, shape (lineages,)
    """
    state = world.state
    _resolve(world, today, day, rows)
    # Out of service nothing is installed: the newest certificate is simply the last one.
    replaced = rows & (today.installed | (state.pending & state.retired))
    state.number += replaced
    state.not_after = np.where(replaced, state.pending_not_after, state.not_after)
    state.lifetime = np.where(replaced, state.pending_lifetime, state.lifetime)
    state.failed &= ~replaced
    state.pending &= ~replaced


def _retire(world: World, chance: Chance) -> Flags:
    """Take services out of use; some leave a running timer behind (class 10)."""
    state, rates = world.state, world.rates
    retired = state.born & ~state.retired & chance(rates.retirement * world.traits.retire_factor)
    leaves_timer = chance(rates.zombie) & state.timer_ok & (state.automation == Automation.TIMER)
    state.retired |= retired
    state.zombie = (state.zombie & ~chance(rates.zombie_end)) | (retired & leaves_timer)
    return retired


def _migrate(state: State, traits: Traits, rows: Flags) -> None:
    """Give lineages kept by hand a timer: public ones at Let's Encrypt, private ones at the platform CA."""
    public = _PUBLIC[state.issuer]
    state.automation = np.where(rows, Automation.TIMER, state.automation)
    state.issuer = np.where(rows, np.where(public, 0, len(ISSUERS) - 1), state.issuer)
    state.wish = np.where(rows, 90.0, state.wish)
    traits.lead_days = np.where(rows, 0.0, traits.lead_days)
    state.ticket &= ~rows


def _break_things(world: World, in_use: Flags, care: Floats, chance: Chance) -> Flags:
    """Let timers die, challenges and hooks break, names go, and hosts move; give what moved."""
    state, traits, shocks, rates = world.state, world.traits, world.shocks, world.rates
    moved: Flags = in_use & shocks.moved[state.draw, traits.owner * HOSTS_PER_OWNER + state.slot]
    state.slot = np.where(moved, (state.slot + 1) % HOSTS_PER_OWNER, state.slot)
    by_timer = in_use & (state.automation == Automation.TIMER)

    dies = chance(rates.timer_death * care) | (moved & chance(rates.move_loses_timer))
    state.timer_ok &= ~(by_timer & dies)
    hook = chance(rates.hook_break * care) | (moved & chance(rates.move_breaks_hook))
    state.hook_ok &= ~(by_timer & hook)

    well = by_timer & (state.challenge == Block.NONE)
    breaks = chance(rates.challenge_break * care * traits.zone_care)
    cause = np.select(
        [chance(0.5), chance(0.5), chance(0.6)], [Block.CONNECTION, Block.DNS, Block.UNAUTHORIZED], Block.CAA
    )
    state.challenge = np.where(well & breaks, cause, state.challenge)
    state.challenge = np.where(
        well & moved & chance(rates.move_breaks_challenge), Block.CONNECTION, state.challenge
    )
    name_dies = well & (state.names > 1) & chance(rates.dead_name * (state.names - 1))
    state.challenge = np.where(name_dies, Block.DEAD_NAME, state.challenge)
    return moved


def _notice(world: World, now: Floats, working: Flags, skill: Floats, chance: Chance) -> Flags:
    """Tell where somebody sees that no successor gets into service; likelier as expiry nears and passes."""
    state, traits, rates = world.state, world.traits, world.rates
    left = state.not_after - now
    p = np.select(
        [left <= 0, left <= 7, left <= _slip(world)],
        [rates.notice_expired * (0.4 + traits.criticality), rates.notice_week, rates.notice_slip],
        rates.notice_early,
    )
    watched = np.where(traits.monitored, 1.5, 0.5)
    at_hand = np.where(working, 1.0, 0.3) * np.where(traits.orphan & (left > 0), 0.3, 1.0)
    overdue = left < lead(state, traits, state.lifetime) - 1.0
    return overdue & chance(p * watched * at_hand * np.exp(0.4 * skill))


def _wanted(world: World, day: int, now: Floats, at_work: Flags, skill: Floats, chance: Chance) -> Flags:
    """Tell which lineages try to renew today: running timers, tickets worked on, batches held."""
    state, traits, shocks, rates = world.state, world.traits, world.shocks, world.rates
    due = now >= state.not_after - lead(state, traits, state.lifetime)
    running = state.born & (~state.retired | state.zombie) & ~state.pending
    timer = (
        (state.automation == Automation.TIMER)
        & due
        & state.timer_ok
        & ~shocks.manager.on[state.draw, traits.manager]
    )

    tickets = (state.automation == Automation.TICKET) & due & at_work & ~state.retired
    filing = rates.file_ticket * np.exp(0.7 * skill) * np.where(traits.orphan, 0.06, 1.0)
    state.ticket |= tickets & chance(filing)
    ticket = tickets & state.ticket & chance(rates.work_ticket * np.exp(0.5 * skill))

    batch_day = (
        (state.automation == Automation.CALENDAR) & world.calendar.batch(day, traits.pattern) & at_work
    )
    before_next = state.not_after < world.calendar.next_batch(day, traits.pattern) + 35.0
    held = ~chance(rates.batch_missed * np.exp(-0.6 * skill) * np.where(traits.orphan, 4.0, 1.0))
    batch = batch_day & before_next & held & ~state.retired
    wanted: Flags = running & (timer | ticket | batch)
    return wanted


def obstacle(world: World, chance: Chance) -> Ints:
    """Give what would stop an attempt made now, the widest cause first."""
    state, traits, shocks, rates = world.state, world.traits, world.shocks, world.rates
    by_timer = state.automation == Automation.TIMER
    public = _PUBLIC[state.issuer]
    acme = by_timer & public
    host = traits.owner * HOSTS_PER_OWNER + state.slot
    hitch = chance(np.where(by_timer, rates.attempt_transient, rates.manual_attempt_failure))
    # A broken challenge stops timers only; people validate by mail or by hand.
    obstacles: list[tuple[Flags, Ints]] = [
        (shocks.issuer.on[state.draw, state.issuer], np.array(Block.OUTAGE)),
        (acme & shocks.account.on[state.draw, traits.account], np.array(Block.ACCOUNT)),
        (acme & shocks.limited.on[state.draw, traits.account], np.array(Block.RATE_LIMITED)),
        (public & shocks.zone.on[state.draw, traits.zone], np.array(Block.ZONE)),
        (by_timer & shocks.disk.on[state.draw, host], np.array(Block.DISK)),
        (by_timer & (state.challenge != Block.NONE), state.challenge),
        (hitch & by_timer, np.array(Block.TRANSIENT)),
        (hitch, np.array(Block.PEOPLE)),
    ]
    return np.select([stands for stands, _ in obstacles], [code for _, code in obstacles], int(Block.NONE))


def _resolve(world: World, today: Happenings, day: int, rows: Flags) -> None:
    """Settle the renewals of certificates in service, by the definitions of :class:`RenewalPolicy`."""
    state = world.state
    event = today.installed | today.retired
    event_at = np.where(today.installed, today.served_at, today.now)
    in_use = state.born & (~state.retired | today.retired)
    expires = rows & in_use & ~state.failed & (state.not_after < day + 1)
    failed = expires & ~(event & (event_at <= state.not_after))
    slipped = event_at > state.not_after - _slip(world)
    today.resolved = failed | (event & ~state.failed)
    today.outcome = np.select(
        [failed, today.retired, slipped], [Outcome.FAILED, Outcome.RETIRED, Outcome.SLIPPED], Outcome.ON_TIME
    )
    today.resolved_at = np.where(failed, state.not_after, event_at)
    state.failed |= failed


def lead(state: State, traits: Traits, lifetime: Floats) -> Floats:
    """Give the time before expiry from which a renewal is due; never over half the lifetime."""
    by_timer = state.automation == Automation.TIMER
    fixed = np.minimum(traits.lead_days, lifetime * np.where(by_timer, 0.5, 0.45))
    return np.where(by_timer & (traits.lead_days == 0.0), lifetime / 3.0, fixed)


def _slip(world: World) -> Floats:
    return np.minimum(world.state.lifetime * world.policy.slip_fraction, world.policy.slip_cap_days)


def validity(state: State, day: int) -> Floats:
    """Give the lifetime an issuer would give today: the wish, within the limit in force less a day."""
    limit = np.where(_PUBLIC[state.issuer], limit_on(day) - 1.0, np.inf)
    lets_encrypt = np.where(state.issuer == 0, float(limit_on(day, LETS_ENCRYPT_DAYS)), np.inf)
    second = 1 / 86400
    return np.minimum(state.wish, np.minimum(limit, lets_encrypt)) - second
