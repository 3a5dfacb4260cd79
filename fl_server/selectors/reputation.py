"""The answers on which devices' reputations rest."""

import re
from collections import defaultdict
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Case, Exists, F, OuterRef, Value, When, Window
from django.db.models.functions import RowNumber, Substr

from fl_server.models import AuditEvent, Participation
from fl_server.placement.reputation import ANSWERS, DAYS, NEUTRAL, Answer

RELEASED = "device.unquarantine"
Status = Participation.Status
# How a device's own account of its failure begins: "out-of-memory: …".
SAID = re.compile(r"([a-z-]+):")


def answers(devices: Collection[UUID], now: datetime) -> dict[UUID, list[Answer]]:
    """The last answers of each device since it was last released from quarantine, in two queries.

    A round in which nobody's answer was accepted says more of its job than of its devices, and is left out.
    """
    others = Participation.objects.filter(
        run=OuterRef("run"), round_number=OuterRef("round_number"), status=Status.ACCEPTED
    )
    said = Case(When(reason_code="client-error", then=Substr("reason", 1, 80)), default=Value(""))
    newest = Window(RowNumber(), partition_by=F("device"), order_by=[F("finished_at").desc(), F("pk").desc()])
    ended = Participation.objects.filter(
        Exists(others),
        device__in=devices,
        status__in=[Status.ACCEPTED, Status.REJECTED, Status.LATE, Status.LOST],
        finished_at__gt=now - timedelta(days=DAYS),
    ).exclude(reason_code__in=NEUTRAL)
    rows = ended.annotate(said=said, place=newest).filter(place__lte=ANSWERS)
    released = last_released(devices, now)
    found: dict[UUID, list[Answer]] = defaultdict(list)
    for device, status, code, words, at in rows.values_list(
        "device", "status", "reason_code", "said", "finished_at"
    ):
        if device not in released or at > released[device]:
            own = SAID.match(words)
            # Only what excuses the device counts of what it said: else it is an error as any other.
            code = own[1] if own and own[1] in NEUTRAL else code
            found[device].append(Answer(status, code, at))
    return found


def last_released(devices: Collection[UUID], now: datetime) -> dict[UUID, datetime]:
    targets = {f"device:{pk}": pk for pk in devices}
    events: Any = AuditEvent.objects.filter(
        action=RELEASED, target__in=targets, at__gt=now - timedelta(days=DAYS)
    )
    return {targets[target]: at for target, at in events.order_by("at").values_list("target", "at")}
