"""People are told what concerns them: in the page, by mail and by webhook, as each of them chose.

The same fact is told once, however often it is found. Paths are written out: a ServerApp, which ends jobs,
loads no pages that they could be looked up in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from fl_server import events, kick, roles
from fl_server.exceptions import InvalidInput, NotAllowed
from fl_server.models import Delivery, Notification, NotificationChoice, TrainingJob, Webhook
from fl_server.selectors import notifications as selectors
from fl_server.selectors.notifications import DEFAULTS, Kind, Ways
from fl_server.services import audit

Key = tuple[int, str]  # a person's id and a fact

NO_WAY = Ways(page=False)
LONGEST_TITLE, LONGEST_TEXT = 160, 2000
AT_ONCE = 500
WAYS = ("page", "email", "webhook")


@dataclass(frozen=True)
class News:
    """Something for one person. Two with the same `fact` are the same."""

    user_id: int
    kind: str
    title: str
    fact: str
    text: str = ""
    path: str = ""


def tell(user: Any, kind: str, title: str, text: str = "", path: str = "", *, fact: str) -> bool:
    """Tell one person. False when the person knew it already, or is no longer here."""
    return tell_all([News(user.pk, kind, title, fact, text, path)]) == 1


def tell_all(news: Sequence[News]) -> int:
    """Tell many people in a fixed number of queries for each few hundred; returns how much was new."""
    return sum(_tell(news[start : start + AT_ONCE]) for start in range(0, len(news), AT_ONCE))


def _tell(news: Sequence[News]) -> int:
    with transaction.atomic():
        fresh = _fresh(news)
        if not fresh:
            return 0
        users = {one.user_id for one in fresh.values()}
        chosen = selectors.ways_of(users)
        ways = {
            key: chosen.get((one.user_id, one.kind), DEFAULTS[Kind(one.kind)]) for key, one in fresh.items()
        }
        rows = [_row(one, ways[key]) for key, one in fresh.items()]
        Notification.objects.bulk_create(rows, ignore_conflicts=True)
        _send_on(fresh, ways, users)
        for user_id, unread in selectors.unread_of(users).items():
            events.notified(user_id, unread)
    return len(fresh)


def _fresh(news: Sequence[News]) -> dict[Key, News]:
    """What people who are still here do not know yet, by person and fact."""
    users, facts = {one.user_id for one in news}, {one.fact for one in news}
    told = Notification.objects.filter(user_id__in=users, fact__in=facts)
    known = set(told.values_list("user_id", "fact"))
    here = set(roles.people().filter(pk__in=users).values_list("pk", flat=True))
    keys = {(one.user_id, one.fact): one for one in news if one.user_id in here}
    return {key: one for key, one in keys.items() if key not in known}


def _row(one: News, ways: Ways) -> Notification:
    return Notification(
        user_id=one.user_id,
        kind=one.kind,
        # One line: it becomes the subject of a mail.
        title=" ".join(one.title.split())[:LONGEST_TITLE],
        text=one.text[:LONGEST_TEXT],
        path=one.path,
        fact=one.fact,
        read_at=None if ways.page else timezone.now(),
    )


def _send_on(fresh: dict[Key, News], ways: dict[Key, Ways], users: set[int]) -> None:
    """Put on their way what goes out by mail or webhook."""
    people = get_user_model().objects.filter(pk__in=users).exclude(email="")
    with_mail = set(people.values_list("pk", flat=True))
    with_webhook = set(Webhook.objects.filter(user_id__in=users).values_list("user_id", flat=True))
    stored = Notification.objects.filter(user_id__in=users, fact__in={one.fact for one in fresh.values()})
    now, out = timezone.now(), []
    for pk, *pair in stored.order_by().values_list("pk", "user_id", "fact"):
        wanted = ways.get((pair[0], pair[1]), NO_WAY)
        if wanted.email and pair[0] in with_mail:
            out.append(Delivery(notification_id=pk, way=Delivery.Way.EMAIL, due_at=now))
        if wanted.webhook and pair[0] in with_webhook:
            out.append(Delivery(notification_id=pk, way=Delivery.Way.WEBHOOK, due_at=now))
    if out:
        Delivery.objects.bulk_create(out, ignore_conflicts=True)
        kick.deliver()


def job_moved(job: TrainingJob) -> None:
    """Tell the job's owner when it has ended by itself."""
    if job.status == TrainingJob.Status.COMPLETED:
        kind, title = Kind.JOB_FINISHED, f"“{job.name}” is done"
    elif job.status == TrainingJob.Status.FAILED:
        kind, title = Kind.JOB_FAILED, f"“{job.name}” failed"
    else:
        return
    news = News(job.owner_id, kind, title, f"job:{job.pk}:{job.status}", job.reason, f"/jobs/{job.pk}/")
    tell_all([news])


def mark_read(user: Any, ids: Iterable[int] | None = None) -> int:
    """Note that the person has read these of the own notifications, or all; returns how many were unread."""
    rows = selectors.of(user).filter(read_at__isnull=True)
    with transaction.atomic():
        changed: int = (rows if ids is None else rows.filter(pk__in=list(ids))).update(read_at=timezone.now())
        if changed:
            events.notified(user.pk, selectors.unread(user))
    return changed


def choose(user: Any, chosen: dict[str, dict[str, bool]]) -> dict[str, Ways]:
    """Change by which ways the person hears of some kinds; ways that are left out stay as they are."""
    check_has_role(user)
    now = selectors.choices(user)
    for kind, ways in chosen.items():
        if kind not in now:
            raise InvalidInput(f"kind is {kind!r}; allowed are {', '.join(now)}.", field=kind)
        for way in set(ways) - set(WAYS):
            raise InvalidInput(f"{kind} has no way {way!r}; allowed are {', '.join(WAYS)}.", field=kind)
    with transaction.atomic():
        for kind, ways in chosen.items():
            values = {way: bool(ways.get(way, getattr(now[kind], way))) for way in WAYS}
            NotificationChoice.objects.update_or_create(user=user, kind=kind, defaults=values)
        audit.record(user, "notifications.choose", f"user:{user.pk}", **chosen)
    return selectors.choices(user)


def forget(now: datetime | None = None) -> int:
    """Drop what was told long ago; returns how many rows went."""
    before = (now or timezone.now()) - timedelta(days=settings.NOTIFICATION_DAYS)
    old = Notification.objects.filter(at__lt=before).order_by().values_list("pk", flat=True)
    gone = 0
    while keys := list(old[:AT_ONCE]):
        Notification.objects.filter(pk__in=keys).delete()
        gone += len(keys)
    return gone


def check_has_role(user: Any) -> None:
    if not roles.of(user):
        raise NotAllowed("Only people with a role are told anything.")
