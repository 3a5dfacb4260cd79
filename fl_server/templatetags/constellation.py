"""How statuses, numbers and times look on a page."""

from datetime import datetime
from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.timesince import timesince

from fl_server import reasons, roles
from fl_server.models import Device, TrainingJob
from fl_server.selectors import board, notifications

register = template.Library()

TONES = {
    "good": {"completed", "accepted", "idle", "approved", "open", "ready"},
    "bad": {"failed", "rejected", "lost", "revoked", "expired"},
    "busy": {"running", "training", "downloading", "uploading", "launched", "preparing"},
    "wait": {"queued", "pending", "stale", "late", "selected", "reserved", "paused"},
}
MOST_RULES_SHOWN = 4


@register.filter
def tone(status: str) -> str:
    return next((name for name, statuses in TONES.items() if str(status) in statuses), "calm")


@register.filter
def words(status: str) -> str:
    return str(status).replace("-", " ").replace("_", " ")


@register.simple_tag
def chip(status: str) -> str:
    return format_html('<span class="chip" data-tone="{}">{}</span>', tone(status), words(status))


@register.filter
def percent(value: Any) -> str:
    return f"{float(value) * 100:.1f} %" if isinstance(value, int | float) else "–"


@register.filter
def number(value: Any) -> str:
    return f"{float(value):.4f}" if isinstance(value, int | float) else "–"


@register.filter
def count(value: Any) -> str:
    """Thousands apart, so that a long number can be read."""
    return f"{value:,}" if isinstance(value, int) else "–"


@register.filter
def signed(value: Any) -> str:
    return f"{float(value):+.4f}" if isinstance(value, int | float) else "–"


@register.filter
def significant(value: Any) -> str:
    """Four digits, however small or large."""
    return f"{float(value):.4g}" if isinstance(value, int | float) else "–"


@register.filter
def get(mapping: Any, key: str) -> Any:
    return mapping.get(key) if isinstance(mapping, dict) else None


@register.filter
def seconds(value: Any) -> str:
    if not isinstance(value, int | float):
        return "–"
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


@register.filter
def hours(value: Any) -> str:
    """Device time, which sums up to much."""
    if not isinstance(value, int | float):
        return "–"
    return f"{value / 3600:.1f} h" if value >= 3600 else seconds(value)


@register.filter
def energy(watt_hours: Any) -> str:
    """Never a guess: a machine that cannot measure it is unknown."""
    if not isinstance(watt_hours, int | float):
        return "unknown"
    return f"{watt_hours / 1000:.2f} kWh" if watt_hours >= 1000 else f"{watt_hours:.1f} Wh"


@register.filter
def memory(size: int) -> str:
    """In the units of a specification: a GB is 10^9 bytes."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@register.filter
def multiple(speed: Any) -> str:
    """Of the usual speed."""
    return f"{speed:.2g} × the median" if isinstance(speed, int | float) else "not measured"


@register.filter
def rate(bytes_a_second: Any) -> str:
    if not isinstance(bytes_a_second, int | float):
        return "not measured"
    return f"{bytes_a_second / 1e6:.3g} MB/s"


@register.filter
def opacity(share: float) -> str:
    """Never quite nothing, so that an hour without anything can be seen to be one."""
    return f"{0.08 + 0.92 * share:.2f}"


@register.simple_tag
def ago(moment: datetime | None) -> str:
    """A time that the page's script keeps current."""
    if moment is None:
        return "never"
    since = timesince(moment, depth=1)
    return format_html(
        '<time datetime="{}" data-ago title="{}">{} ago</time>', moment.isoformat(), moment, since
    )


@register.filter
def milliseconds(moment: datetime | None) -> int:
    return int(moment.timestamp() * 1000) if moment else 0


@register.filter
def settings_of(choice: Any) -> str:
    """The options of a catalogue choice on one line."""
    options = choice.get("options") or {} if isinstance(choice, dict) else {}
    return ", ".join(f"{name} {value}" for name, value in list(options.items())[:MOST_RULES_SHOWN])


@register.filter
def sentence(job: TrainingJob) -> str:
    """Why the job is where it is, in words."""
    if job.status == TrainingJob.Status.QUEUED:
        waiting = job.waiting.get(
            "sentence", "Waits for its turn; the next look at the queue is seconds away."
        )
        return f"{job.reason} {waiting}" if job.reason else waiting
    if job.status == TrainingJob.Status.DRAFT:
        return "A draft: nothing happens until it is submitted."
    if job.pausing:
        return "Pauses once the round under way is finished."
    return job.reason


@register.simple_tag
def doing(user: Any, device: Device) -> str:
    """What the device does now, in words; why it does not train, in the words that are for this person."""
    presence = device.presence
    if presence == Device.Presence.TRAINING:
        return "Reserved"
    if presence == Device.Presence.IDLE and device.quarantined_at:
        return "In quarantine: it gets no jobs."
    return {
        Device.Presence.PENDING: "Waits for an admin’s approval.",
        Device.Presence.REVOKED: "May no longer take part.",
        Device.Presence.OFFLINE: "Not connected.",
        Device.Presence.STALE: "Connected, but silent.",
        Device.Presence.PAUSED: reasons.shown_to(user, device),
        Device.Presence.IDLE: reasons.shown_to(user, device) or "Free for work.",
    }[presence]


@register.simple_tag
def unread(user: Any) -> int:
    """How many notifications the person has not read."""
    return notifications.unread(user)


@register.simple_tag(takes_context=True)
def may_change(context: dict[str, Any], job: TrainingJob) -> bool:
    """Whether to offer the buttons of a job; the service decides again."""
    return board.may_change(job, context["request"].user)


@register.simple_tag
def may(user: Any) -> dict[str, bool]:
    """What the navigation offers this person."""
    held = roles.of(user)
    observes = bool(held & roles.OBSERVERS)
    return {
        "observe": observes,
        "submit": bool(held & {roles.ADMIN, roles.RESEARCHER}),
        "devices": observes or roles.OWNER in held,
        "enrol": bool(held & {roles.ADMIN, roles.OWNER}),
        "administer": roles.ADMIN in held and user.is_staff,
    }
