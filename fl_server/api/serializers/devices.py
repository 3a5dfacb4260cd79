from rest_framework import serializers

from fl_server import models, reasons, roles
from fl_server.api.serializers.body import Body


class PrivateData(serializers.Serializer):
    """Rows that never leave the device."""

    name = serializers.CharField()
    kind = serializers.CharField()
    columns = serializers.ListField(child=serializers.CharField())
    rows = serializers.IntegerField()
    classes = serializers.DictField(child=serializers.IntegerField())


class Device(serializers.ModelSerializer):
    owner = serializers.CharField(source="owner.username")
    presence = serializers.ChoiceField(
        choices=models.Device.Presence.choices, help_text="What it is doing now"
    )
    decision_reason = serializers.SerializerMethodField(
        help_text="Why it does not train: the device's own sentence for its owner, general words for others"
    )
    decision_codes = serializers.ListField(child=serializers.CharField(), read_only=True)
    private_data = PrivateData(many=True, read_only=True)
    free_hours = serializers.SerializerMethodField(
        help_text="How often it was free, of each hour of the week (UTC, from Monday); told to its owner and "
        "admins only, and empty until it was looked at"
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
            "may_start",
            "decision_codes",
            "decision_reason",
            "decision_until",
            "labels",
            "hardware",
            "telemetry",
            "private_data",
            "reputation",
            "quarantined_at",
            "quarantine_reason",
            "relative_speed",
            "network_bytes_a_second",
            "free_hours",
            "platform",
            "client_version",
            "certificate_until",
            "enrolled_at",
            "approved_at",
            "revoked_at",
            "last_seen",
            "warned_at",
            "replaced_by",
        )

    def get_decision_reason(self, device: models.Device) -> str:
        return reasons.shown_to(self.context["request"].user, device)

    def get_free_hours(self, device: models.Device) -> list[float]:
        user = self.context["request"].user
        # Once for all devices of a list.
        if "is_admin" not in self.context:
            self.context["is_admin"] = roles.is_admin(user)
        return device.free_hours if self.context["is_admin"] or device.owner_id == user.pk else []


class Relabelling(Body):
    labels = serializers.DictField(
        child=serializers.CharField(max_length=80), help_text="All of them; the device loses the others"
    )


class Revocation(Body):
    reason = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)
