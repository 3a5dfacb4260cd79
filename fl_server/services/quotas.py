"""How many jobs and devices one person, or the members of a group together, may hold at once."""

from typing import Any

from django.db import transaction

from fl_server import kick, roles
from fl_server.exceptions import InvalidInput, NotAllowed
from fl_server.models import Quota
from fl_server.services import audit

MOST = 100_000
LIMITS = ("max_running_jobs", "max_devices")


def set_for(
    by: Any,
    *,
    user: Any = None,
    group: Any = None,
    max_running_jobs: int | None = None,
    max_devices: int | None = None,
) -> Quota:
    """Replace the quota of a person or of a group. Runs that are under way stay as they are."""
    _check_may(by)
    if (user is None) == (group is None):
        raise InvalidInput("A quota is of a user or of a group, and not of both.", field="user")
    limits = {"max_running_jobs": max_running_jobs, "max_devices": max_devices}
    for name, value in limits.items():
        if value is not None and not 0 <= value <= MOST:
            raise InvalidInput(f"{name} is {value}; allowed are 0 to {MOST}, or nothing.", field=name)
    with transaction.atomic():
        quota, _ = Quota.objects.update_or_create(user=user, group=group, defaults=limits)
        audit.record(by, "quota.set", _target(quota), **limits)
        kick.tick()
    return quota


def remove(by: Any, quota: Quota) -> None:
    """From then on nothing bounds the person or the group."""
    _check_may(by)
    with transaction.atomic():
        audit.record(by, "quota.remove", _target(quota), **{name: getattr(quota, name) for name in LIMITS})
        quota.delete()
        kick.tick()


def _target(quota: Quota) -> str:
    return f"user:{quota.user}" if quota.user_id else f"group:{quota.group}"


def _check_may(by: Any) -> None:
    if not roles.is_admin(by):
        raise NotAllowed("Only an admin changes quotas.")
