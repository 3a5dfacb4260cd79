"""What people and groups may hold at once, and what they hold now."""

from collections.abc import Collection

from django.contrib.auth.models import User
from django.db.models import Count

from fl_server.models import Quota, Reservation, Run
from fl_server.placement.quotas import Book, Limit


def book(owners: Collection[int]) -> Book:
    """The limits that concern these people. Without any, nobody is counted."""
    limits = tuple(_limits(set(owners)))
    if not limits:
        return Book()
    running = Run.objects.filter(status__in=Run.ACTIVE).order_by().values("job__owner")
    lent = Reservation.objects.filter(released_at__isnull=True).order_by().values("run__job__owner")
    return Book(
        limits,
        dict(running.annotate(n=Count("pk")).values_list("job__owner", "n")),
        dict(lent.annotate(n=Count("pk")).values_list("run__job__owner", "n")),
    )


def _limits(owners: set[int]) -> list[Limit]:
    found = []
    quotas = list(Quota.objects.select_related("user", "group"))
    groups = [quota.group_id for quota in quotas if quota.group_id]
    members: dict[int, set[int]] = {}
    for group, user in User.groups.through.objects.filter(group__in=groups).values_list(
        "group_id", "user_id"
    ):
        members.setdefault(group, set()).add(user)
    for quota in quotas:
        whose, people = (
            (f"the quota of {quota.user}", {quota.user_id})
            if quota.user_id
            else (f"the quota of the group {quota.group}", members.get(quota.group_id, set()))
        )
        if people & owners:
            found.append(Limit(whose, frozenset(people), quota.max_running_jobs, quota.max_devices))
    return found
