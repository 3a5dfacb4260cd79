"""Every reason against training, one function each, in the order in which they are told."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from fl_client.policy import hours, limits, phrases, resources
from fl_client.policy.facts import Facts
from fl_client.policy.pause import Pause
from fl_client.policy.presence import IN_USE, Presence
from fl_client.policy.reasons import Code, Reason
from fl_client.policy.rules import Rules

SHOWN_TEXT = 100


@dataclass(frozen=True)
class Moment:
    """All that a reason may depend on."""

    now: datetime
    facts: Facts
    rules: Rules
    presence: Presence
    running: bool  # the last decision allowed training, so the limits that stop it hold
    pause: Pause | None = None
    hours_change: datetime | None = None  # when the allowed hours begin or end next

    def limit(self, name: str, value: float) -> float:
        return limits.in_force(name, value, self.running)

    def bound(self, text: str) -> str:
        return f"the limit is {text}" if self.running else f"training waits for {text}"


def paused(at: Moment) -> Reason | None:
    if at.pause is None or not at.pause.holds(at.now):
        return None
    until = f" until {phrases.clock(at.pause.until, at.now)}" if at.pause.until else ""
    text = f": {at.pause.text[:SHOWN_TEXT]}" if at.pause.text else ""
    return Reason(Code.PAUSED, f"you paused it{until}{text}", at.pause.until)


def in_use(at: Moment) -> Reason | None:
    if at.rules.train_while_in_use is not False or not at.presence.in_use:
        return None
    quiet, needed = at.presence.quiet, at.presence.needed
    if quiet is None:
        return Reason(Code.IN_USE, "this machine cannot tell whether you are using it")
    if quiet < IN_USE:
        return Reason(Code.IN_USE, "you are using this machine")
    return Reason(
        Code.QUIET_TOO_SHORT,
        f"this machine was used {phrases.duration(quiet)} ago; training waits for "
        f"{phrases.duration(needed)} of quiet",
        (at.now.astimezone(UTC) + needed - quiet).astimezone(at.now.tzinfo),
    )


def program_running(at: Moment) -> Reason | None:
    forbidden = at.rules.exclusive_programs or ()
    running = [name for name in forbidden if name.lower() in at.facts.programs]
    if not running:
        return None
    shown = running if len(running) < 3 else [running[0], f"{len(running) - 1} other programs"]
    verb = "is" if len(running) == 1 else "are"
    return Reason(Code.PROGRAM_RUNNING, f"{phrases.joined(shown)} {verb} running")


def outside_hours(at: Moment) -> Reason | None:
    week = at.rules.hours
    if week is None or hours.is_open(week, at.now):
        return None
    if at.hours_change is None:
        return Reason(Code.OUTSIDE_HOURS, "no hour of the week is allowed")
    begin = phrases.clock(at.hours_change, at.now)
    return Reason(Code.OUTSIDE_HOURS, f"the allowed hours begin at {begin}", at.hours_change)


def hours_ending(at: Moment) -> Reason | None:
    minutes = at.rules.clear_minutes or 0
    end = _end_within(at, minutes)
    if end is None:
        return None
    return Reason(
        Code.HOURS_ENDING,
        f"the allowed hours end at {phrases.clock(end, at.now)}, and training is gone "
        f"{phrases.count(minutes, 'minute')} before",
        hours.next_change(at.rules.hours or {}, end),
    )


def no_new_work(at: Moment) -> Reason | None:
    minutes = at.rules.stop_starting_minutes or 0
    end = _end_within(at, minutes)
    if end is None or hours_ending(at) is not None:
        return None
    return Reason(
        Code.NO_NEW_WORK,
        f"the allowed hours end at {phrases.clock(end, at.now)}, and nothing new starts in the last "
        f"{phrases.count(minutes, 'minute')}",
    )


def on_battery(at: Moment) -> Reason | None:
    if at.facts.on_ac is False and at.rules.on_battery is False:
        return Reason(Code.ON_BATTERY, "it runs on battery")
    return None


def battery_low(at: Moment) -> Reason | None:
    charge, floor = at.facts.battery_percent, at.rules.battery_floor
    if at.facts.on_ac is not False or charge is None or floor is None:
        return None
    least = min(100.0, at.limit("battery_floor", floor))
    if charge >= least:
        return None
    bound = at.bound(f"{phrases.amount(least)} %")
    return Reason(Code.BATTERY_LOW, f"the battery is at {phrases.amount(charge)} %; {bound}")


def metered_network(at: Moment) -> Reason | None:
    if at.facts.network_metered and at.rules.metered_networks is False:
        return Reason(Code.METERED_NETWORK, "the network is metered")
    return None


def network_denied(at: Moment) -> Reason | None:
    name = at.facts.network_name
    denied = {each.casefold() for each in at.rules.networks_denied or ()}
    if name is None or name.casefold() not in denied:
        return None
    return Reason(Code.NETWORK_DENIED, f"it is on the network {name[:SHOWN_TEXT]}")


def too_hot(at: Moment) -> Reason | None:
    heat, limit = at.facts.temperature, at.rules.max_temperature
    if heat is None or limit is None or heat <= (most := at.limit("max_temperature", limit)):
        return None
    bound = at.bound(f"{phrases.amount(most)} °C")
    return Reason(Code.TOO_HOT, f"the processor is at {phrases.amount(heat)} °C; {bound}")


def memory_low(at: Moment) -> Reason | None:
    floor = at.rules.leave_ram_free_gb
    if floor is None or not at.facts.ram_total_bytes:
        return None
    free, least = at.facts.ram_available_bytes, at.limit("leave_ram_free_gb", floor) * phrases.GIGABYTE
    if free >= least:
        return None
    bound = at.bound(phrases.gigabytes(least))
    return Reason(Code.MEMORY_LOW, f"{phrases.gigabytes(free)} of memory are free; {bound}")


def memory_share(at: Moment) -> Reason | None:
    limit = resources.ram_limit(at.facts, at.rules, at.presence.in_use)
    if limit is None or at.facts.ram_by_us_bytes <= (most := at.limit("ram_share", limit)):
        return None
    taken, share = phrases.gigabytes(at.facts.ram_by_us_bytes), phrases.gigabytes(most)
    return Reason(Code.MEMORY_SHARE, f"training takes {taken} of memory; its share is {share}")


def cpu_busy(at: Moment) -> Reason | None:
    load = at.facts.cpu_by_others
    limit = limits.of_two(at.rules.other_cpu_in_use, at.rules.other_cpu_idle, at.presence.in_use)
    if load is None or limit is None or load <= (most := at.limit("other_cpu", limit)):
        return None
    bound = at.bound(f"{phrases.amount(most)} %")
    return Reason(Code.CPU_BUSY, f"other programs use {phrases.amount(load)} % of the processor; {bound}")


def _end_within(at: Moment, minutes: int) -> datetime | None:
    """The end of the allowed hours that the machine is in, if it comes so soon."""
    week, change = at.rules.hours, at.hours_change
    if week is None or change is None or not hours.is_open(week, at.now):
        return None
    left = change.astimezone(UTC) - at.now.astimezone(UTC)
    return change if left <= timedelta(minutes=minutes) else None


CHECKS: tuple[Callable[[Moment], Reason | None], ...] = (
    paused,
    in_use,
    program_running,
    outside_hours,
    hours_ending,
    on_battery,
    battery_low,
    metered_network,
    network_denied,
    too_hot,
    memory_low,
    memory_share,
    cpu_busy,
    no_new_work,
)
