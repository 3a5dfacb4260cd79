from rest_framework import serializers

from fl_server import models


class Device(serializers.ModelSerializer):
    owner = serializers.CharField(source="owner.username")
    presence = serializers.ChoiceField(
        choices=models.Device.Presence.choices, help_text="What it is doing now"
    )

    class Meta:
        model = models.Device
        fields = (
            "id",
            "name",
            "owner",
            "status",
            "presence",
            "may_train",
            "decision_reason",
            "labels",
            "hardware",
            "telemetry",
            "platform",
            "client_version",
            "certificate_until",
            "enrolled_at",
            "approved_at",
            "revoked_at",
            "last_seen",
        )


class Revocation(serializers.Serializer):
    reason = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
