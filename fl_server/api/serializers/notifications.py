from typing import Any

from rest_framework import serializers

from fl_server.api.serializers.body import Body
from fl_server.models import Alert, AlertRule, Delivery, Notification

MOST_IDS = 500


class Notice(serializers.ModelSerializer):
    path = serializers.CharField(help_text="Of the page that says more; empty where there is none")

    class Meta:
        model = Notification
        fields = ("id", "at", "kind", "title", "text", "path", "read_at")


class Read(Body):
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**63 - 1),
        required=False,
        max_length=MOST_IDS,
        help_text="Of the notifications that were read; all where it is left out",
    )


class Unread(serializers.Serializer):
    unread = serializers.IntegerField()


class Ways(Body):
    page = serializers.BooleanField(required=False, help_text="Counted by the bell")
    email = serializers.BooleanField(required=False)
    webhook = serializers.BooleanField(required=False)


class Choices(Body):
    """By which ways to hear of each kind; what is left out stays as it is."""

    def get_fields(self) -> dict[str, Any]:
        return {kind.value: Ways(required=False, help_text=str(kind.label)) for kind in Notification.Kind}


class Address(Body):
    url = serializers.CharField(max_length=500, help_text="https://…")


class Webhook(serializers.Serializer):
    url = serializers.CharField()
    created_at = serializers.DateTimeField()


class NewWebhook(Webhook):
    secret = serializers.CharField(help_text="Signs every message; shown this once")


class SentOn(serializers.ModelSerializer):
    notification = serializers.IntegerField(source="notification_id")
    title = serializers.CharField(source="notification.title")
    state = serializers.CharField(help_text="arrived, on its way or given up")

    class Meta:
        model = Delivery
        fields = ("notification", "title", "way", "state", "attempts", "due_at", "delivered_at", "error")


class Rule(Body, serializers.ModelSerializer):
    threshold = serializers.FloatField(help_text="Begins when the use stays at or above this, in per cent")
    clear_below = serializers.FloatField(help_text="Ends when the use falls below this, in per cent")
    minutes = serializers.IntegerField(default=10, help_text="For so long before it begins")

    class Meta:
        model = AlertRule
        fields = ("id", "metric", "threshold", "clear_below", "minutes", "enabled")


class DeviceAlert(serializers.ModelSerializer):
    device_name = serializers.CharField(source="device.name")
    rule = Rule()

    class Meta:
        model = Alert
        fields = ("id", "device", "device_name", "rule", "began_at", "cleared_at", "value")
