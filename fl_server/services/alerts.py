"""High use of a device's processor, memory, GPU or disk that lasts.

An alert begins when every minute of the rule's time was at or above its threshold, and ends when a minute is
below the lower mark, or when the device is no longer heard of. Between the two marks nothing changes.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from math import ceil
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from fl_server import events, roles
from fl_server.models import Alert, AlertRule
from fl_server.selectors import usage
from fl_server.selectors.notifications import Kind
from fl_server.selectors.usage import Minute
from fl_server.services import notifications
from fl_server.services.notifications import News

MINUTE = timedelta(minutes=1)
# Some minutes may be missing: a process that restarts loses the one under way.
MUST_BE_KNOWN = 0.8
# More at the same time reach an admin as one notification.
MOST_SINGLE_NEWS = 5
ROWS_AT_ONCE = 500


def evaluate(now: datetime | None = None) -> tuple[int, int]:
    """Begin and end alerts by the last minutes; returns how many of each."""
    now = now or timezone.now()
    rules = {rule.pk: rule for rule in AlertRule.objects.filter(enabled=True)}
    open_ = list(Alert.objects.filter(cleared_at__isnull=True).select_related("rule", "device"))
    if not rules and not open_:
        return 0, 0
    latest = usage.newest(now)
    ended = [alert for alert in open_ if _has_ended(alert, rules, latest)]
    begun = _begun(rules.values(), {(alert.rule_id, alert.device_id) for alert in open_}, latest, now)
    with transaction.atomic():
        over = {alert.pk for alert in ended}
        _raise_values([alert for alert in open_ if alert.pk not in over], latest)
        Alert.objects.bulk_create([alert for alert, _ in begun], ROWS_AT_ONCE, ignore_conflicts=True)
        for start in range(0, len(ended), ROWS_AT_ONCE):
            keys = [alert.pk for alert in ended[start : start + ROWS_AT_ONCE]]
            Alert.objects.filter(pk__in=keys, cleared_at__isnull=True).update(cleared_at=now)
        _tell([_beginning(alert, minute) for alert, minute in begun], "begun", now)
        _tell([_ending(alert, latest) for alert in ended], "over", now)
        changed = {(minute.device_id, minute.owner_id) for _, minute in begun}
        changed |= {(alert.device_id, alert.device.owner_id) for alert in ended}
        events.devices_spoke([(device_id, owner_id, {"alerts": True}) for device_id, owner_id in changed])
    return len(begun), len(ended)


def _has_ended(alert: Alert, rules: dict[int, AlertRule], latest: dict[UUID, Minute]) -> bool:
    minute = latest.get(alert.device_id)
    use = minute.percent(alert.rule.metric) if minute else None
    return alert.rule_id not in rules or use is None or use < alert.rule.clear_below


def _begun(
    rules: Iterable[AlertRule], known: set[tuple[int, UUID]], latest: dict[UUID, Minute], now: datetime
) -> list[tuple[Alert, Minute]]:
    """New alerts, each with the minute that completed it. Only of devices in question more is read."""
    suspects = [
        (rule, minute)
        for rule in rules
        for minute in latest.values()
        if (minute.percent(rule.metric) or 0.0) >= rule.threshold and (rule.pk, minute.device_id) not in known
    ]
    if not suspects:
        return []
    longest = max(rule.minutes for rule, _ in suspects)
    ids = {minute.device_id for _, minute in suspects}
    minutes = usage.since(ids, now - usage.FRESH - longest * MINUTE, now)
    found = [(stayed_high(rule, minutes[minute.device_id]), minute) for rule, minute in suspects]
    return [(alert, minute) for alert, minute in found if alert]


def stayed_high(rule: AlertRule, minutes: list[Minute]) -> Alert | None:
    """The alert that these minutes, the oldest first, come to."""
    if not minutes:
        return None
    first = minutes[-1].start - (rule.minutes - 1) * MINUTE
    uses = [minute.percent(rule.metric) for minute in minutes if minute.start >= first]
    high = [use for use in uses if use is not None and use >= rule.threshold]
    if len(high) < len(uses) or len(high) < ceil(MUST_BE_KNOWN * rule.minutes):
        return None
    return Alert(rule=rule, device_id=minutes[-1].device_id, began_at=first, value=max(high))


def _raise_values(alerts: list[Alert], latest: dict[UUID, Minute]) -> None:
    higher = []
    for alert in alerts:
        use = latest[alert.device_id].percent(alert.rule.metric) or 0.0
        if use > alert.value:
            alert.value = use
            higher.append(alert)
    Alert.objects.bulk_update(higher, ["value"], batch_size=ROWS_AT_ONCE)


def _beginning(alert: Alert, minute: Minute) -> News:
    rule = alert.rule
    title = f"{minute.name}: {_metric(rule)} at {alert.value:.0f} % for {rule.minutes} min"
    text = f"It is at or above {rule.threshold:g} %. The alert ends below {rule.clear_below:g} %."
    return _news(alert, minute.owner_id, "begun", title, text)


def _ending(alert: Alert, latest: dict[UUID, Minute]) -> News:
    rule, minute = alert.rule, latest.get(alert.device_id)
    use = minute.percent(rule.metric) if minute else None
    if use is None:
        title = f"{alert.device.name}: no longer heard of; its {_metric(rule)} alert is over"
    else:
        title = f"{alert.device.name}: {_metric(rule)} is at {use:.0f} % again"
    text = f"The highest was {alert.value:.0f} %."
    return _news(alert, alert.device.owner_id, "over", title, text)


def _news(alert: Alert, owner_id: int, what: str, title: str, text: str) -> News:
    # The beginning comes from the samples, so that whoever computes it twice means the same alert.
    fact = f"alert:{alert.rule_id}:{alert.device_id}:{int(alert.began_at.timestamp())}:{what}"
    path = f"/devices/{alert.device_id}/"
    return News(owner_id, Kind.ALERT, title, fact, text, path)


def _tell(news: list[News], what: str, now: datetime) -> None:
    """Each to the device's owner and the admins; where there are many, the admins get one for all."""
    if not news:
        return
    people = get_user_model().objects.filter(Q(groups__name=roles.ADMIN) | Q(is_superuser=True))
    admins = set(people.filter(is_active=True).values_list("pk", flat=True))
    mine: dict[int, list[News]] = defaultdict(list)
    for one in news:
        mine[one.user_id].append(one)
    for admin in admins:
        mine[admin] = [News(admin, n.kind, n.title, n.fact, n.text, n.path) for n in news]
    out = [one for user_id, all_ in mine.items() for one in _together(user_id, all_, what, now)]
    notifications.tell_all(out)


def _together(user_id: int, news: list[News], what: str, now: datetime) -> list[News]:
    if len(news) <= MOST_SINGLE_NEWS:
        return news
    text = "\n".join(one.title for one in news)
    title = f"{len(news)} alerts have {'begun' if what == 'begun' else 'ended'}"
    fact = f"alerts:{now:%Y%m%d%H%M}:{what}"
    return [News(user_id, Kind.ALERT, title, fact, text, "/devices/")]


def _metric(rule: AlertRule) -> str:
    label = str(rule.get_metric_display())
    return label if label.isupper() else label.lower()
