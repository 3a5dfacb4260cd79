"""When a device's use counts as high. Only admins say so."""

from typing import Any

from django.db import transaction

from fl_server import roles
from fl_server.exceptions import InvalidInput, NotAllowed
from fl_server.models import AlertRule, AuditEvent
from fl_server.services import audit

MOST_MINUTES = 240
FIELDS = ("metric", "threshold", "clear_below", "minutes", "enabled")
# Of what a platform starts with. A processor or a GPU that is busy is what training is for.
DEFAULTS: tuple[dict[str, Any], ...] = (
    {"metric": "memory", "threshold": 95.0, "clear_below": 90.0, "minutes": 10},
    {"metric": "disk", "threshold": 95.0, "clear_below": 90.0, "minutes": 10},
)


def make_defaults() -> None:
    """Make the first rules, once: whoever removes them is not overruled by the next start."""
    with transaction.atomic():
        if AuditEvent.objects.filter(action="alert-rules.defaults").exists() or AlertRule.objects.exists():
            return
        AlertRule.objects.bulk_create(AlertRule(**fields) for fields in DEFAULTS)
        audit.record(None, "alert-rules.defaults", "alert-rules", rules=len(DEFAULTS))


def create(by: Any, **given: Any) -> AlertRule:
    _check_admin(by)
    rule = AlertRule(**given)
    check(rule)
    with transaction.atomic():
        rule.save()
        audit.record(by, "alert-rule.create", f"alert-rule:{rule.pk}", **_facts(rule))
    return rule


def change(rule: AlertRule, by: Any, **given: Any) -> AlertRule:
    """An alert that is under way and no longer fits ends within a minute."""
    _check_admin(by)
    for name, value in given.items():
        setattr(rule, name, value)
    check(rule)
    with transaction.atomic():
        rule.save()
        audit.record(by, "alert-rule.change", f"alert-rule:{rule.pk}", **_facts(rule))
    return rule


def remove(rule: AlertRule, by: Any) -> None:
    """Its alerts go with it."""
    _check_admin(by)
    with transaction.atomic():
        audit.record(by, "alert-rule.remove", f"alert-rule:{rule.pk}", **_facts(rule))
        rule.delete()


def check(rule: AlertRule) -> None:
    if rule.metric not in AlertRule.Metric.values:
        allowed = ", ".join(AlertRule.Metric.values)
        raise InvalidInput(f"metric is {rule.metric!r}; allowed are {allowed}.", field="metric")
    if not 0 < rule.threshold <= 100:
        raise InvalidInput(
            f"threshold is {rule.threshold:g}; it must be above 0 and at most 100 per cent.",
            field="threshold",
        )
    if not 0 <= rule.clear_below < rule.threshold:
        raise InvalidInput(
            f"clear_below is {rule.clear_below:g}; it must be below the threshold, {rule.threshold:g}.",
            field="clear_below",
        )
    if not 1 <= rule.minutes <= MOST_MINUTES:
        raise InvalidInput(
            f"minutes is {rule.minutes}; it must be from 1 to {MOST_MINUTES}.", field="minutes"
        )


def _facts(rule: AlertRule) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in FIELDS}


def _check_admin(by: Any) -> None:
    if not roles.is_admin(by):
        raise NotAllowed("Only admins change the rules of alerts.")
