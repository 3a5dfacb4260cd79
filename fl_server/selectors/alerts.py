"""Alerts, as people may see them: those of the devices that they see."""

from typing import Any

from django.db.models import Prefetch, QuerySet

from fl_server.models import Alert, Device
from fl_server.selectors import devices as device_selectors


def visible_to(user: Any) -> QuerySet[Alert]:
    seen = device_selectors.visible_to(user).order_by().values("pk")
    return Alert.objects.filter(device__in=seen).select_related("rule", "device")


def of(device: Device, most: int = 20) -> QuerySet[Alert]:
    """The newest of one device, those under way among them."""
    return device.alerts.select_related("rule").order_by("-began_at")[:most]


def with_alerts(devices: QuerySet[Device]) -> QuerySet[Device]:
    """Adds `open_alerts`, those that are under way, as a list."""
    open_ = Alert.objects.filter(cleared_at__isnull=True).select_related("rule")
    return devices.prefetch_related(Prefetch("alerts", queryset=open_, to_attr="open_alerts"))
