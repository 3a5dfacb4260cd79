from typing import Any

import django_filters as filters
from django.db.models import QuerySet
from django.db.models.fields.json import KeyTransform

from fl_server.models import Alert, AlertRule, Device, Notification, Participation, TrainingJob
from fl_server.selectors import devices as selectors


class Jobs(filters.FilterSet):
    status = filters.MultipleChoiceFilter(choices=TrainingJob.Status.choices)
    owner = filters.CharFilter(field_name="owner__username")
    name = filters.CharFilter(lookup_expr="icontains")

    class Meta:
        model = TrainingJob
        fields = ("status", "owner", "name")


class Notifications(filters.FilterSet):
    unread = filters.BooleanFilter(field_name="read_at", lookup_expr="isnull")
    kind = filters.MultipleChoiceFilter(choices=Notification.Kind.choices)

    class Meta:
        model = Notification
        fields = ("unread", "kind")


class Alerts(filters.FilterSet):
    open = filters.BooleanFilter(
        field_name="cleared_at", lookup_expr="isnull", help_text="`true`: those under way"
    )
    device = filters.UUIDFilter(field_name="device_id")
    metric = filters.ChoiceFilter(field_name="rule__metric", choices=AlertRule.Metric.choices)

    class Meta:
        model = Alert
        fields = ("open", "device", "metric")


class Participations(filters.FilterSet):
    round = filters.NumberFilter(field_name="round_number", min_value=0, max_value=2**31 - 1)
    status = filters.MultipleChoiceFilter(choices=Participation.Status.choices)
    device = filters.UUIDFilter(field_name="device_id")

    class Meta:
        model = Participation
        fields = ("round", "status", "device")


def of_presence(devices: QuerySet[Device], presence: str) -> QuerySet[Device]:
    """`Device.presence` as a condition of the database; needs the annotation `is_reserved`."""
    wanted = Device.Presence(presence)
    if wanted in (Device.Presence.PENDING, Device.Presence.REVOKED):
        return devices.filter(status=wanted.value)
    approved = devices.filter(status=Device.Status.APPROVED)
    gone = Device.gone()
    if wanted is Device.Presence.OFFLINE:
        return approved.filter(gone)
    silent = Device.silent()
    connected = approved.exclude(gone)
    if wanted is Device.Presence.STALE:
        return connected.filter(silent)
    awake = connected.exclude(silent)
    if wanted is Device.Presence.PAUSED:
        return awake.filter(may_train=False)
    return awake.filter(may_train=True, is_reserved=wanted is Device.Presence.TRAINING)


class Devices(filters.FilterSet):
    status = filters.MultipleChoiceFilter(choices=Device.Status.choices)
    presence = filters.ChoiceFilter(choices=Device.Presence.choices, method="by_presence")
    owner = filters.CharFilter(field_name="owner__username")
    name = filters.CharFilter(lookup_expr="icontains")
    label = filters.CharFilter(method="by_label", help_text="`room` for any value, `room:lab` for that one")
    removed = filters.BooleanFilter(
        method="by_removal", help_text="`true`: those that were removed, which the list leaves out otherwise"
    )

    class Meta:
        model = Device
        fields = ("status", "presence", "owner", "name", "label", "removed")

    def by_removal(self, devices: QuerySet[Device], name: str, value: bool) -> QuerySet[Device]:
        return selectors.removed(devices) if value else selectors.not_removed(devices)

    def by_presence(self, devices: QuerySet[Device], name: str, value: str) -> QuerySet[Device]:
        return of_presence(devices, value)

    def by_label(self, devices: QuerySet[Device], name: str, value: str) -> QuerySet[Device]:
        key, colon, wanted = value.partition(":")
        if not colon:
            return devices.filter(labels__has_key=key)
        # An expression, because a key in a lookup path could name a lookup.
        found: Any = KeyTransform(key, "labels")
        return devices.alias(label_value=found).filter(label_value=wanted)
