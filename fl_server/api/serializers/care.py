"""What is asked and answered about the care of one device: its history, its log, its replacement."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework import serializers

from fl_server import models
from fl_server.api.serializers.body import Body

DEFAULT_WINDOW = timedelta(hours=1)
LONGEST_WINDOW = timedelta(days=3660)


class Window(serializers.Serializer):
    to = serializers.DateTimeField(required=False, help_text="Now where it is left out")

    def get_fields(self) -> dict[str, Any]:
        start = serializers.DateTimeField(
            required=False, help_text="An hour before `to` where it is left out"
        )
        return {"from": start, **super().get_fields()}

    def validate(self, given: dict[str, Any]) -> dict[str, Any]:
        until = given.get("to") or timezone.now()
        since = given.get("from") or until - DEFAULT_WINDOW
        if not timedelta(0) < until - since <= LONGEST_WINDOW:
            raise serializers.ValidationError({"from": "It must lie before `to`, by ten years at most."})
        return {"since": since, "until": until}


class Curve(serializers.Serializer):
    """One value for each of the times; null where the device did not tell."""

    mean = serializers.ListField(child=serializers.FloatField(allow_null=True))
    highest = serializers.ListField(child=serializers.FloatField(allow_null=True))
    lowest = serializers.ListField(child=serializers.FloatField(allow_null=True))


class Series(serializers.Serializer):
    resolution = serializers.ChoiceField(choices=("samples", "minutes", "hours"))
    step_seconds = serializers.IntegerField()
    times = serializers.ListField(child=serializers.IntegerField(), help_text="Seconds since 1970")
    numbers = serializers.DictField(
        child=Curve(), help_text="For example `cpu`, `ram_free_bytes`, `gpu0.load`, `temperature`"
    )


class Log(serializers.ModelSerializer):
    asked_by = serializers.CharField(source="asked_by.username", default=None, allow_null=True)

    class Meta:
        model = models.ClientLog
        fields = ("id", "asked_by", "asked_at", "received_at", "text")


class Replacement(Body):
    old = serializers.UUIDField(help_text="The device that this one takes the place of")
