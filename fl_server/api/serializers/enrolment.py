from rest_framework import serializers

from fl_server.api.serializers.body import Body
from fl_server.models import EnrolmentCode

WEEK_HOURS = 24 * 7


class Code(serializers.ModelSerializer):
    owner = serializers.CharField(source="owner.username")
    created_by = serializers.CharField(source="created_by.username")
    state = serializers.ChoiceField(choices=("open", "used-up", "expired", "revoked"))

    class Meta:
        model = EnrolmentCode
        fields = (
            "id",
            "label",
            "owner",
            "created_by",
            "state",
            "approves",
            "labels",
            "max_uses",
            "uses",
            "expires_at",
            "revoked_at",
            "created_at",
        )


class NewCode(Body):
    label = serializers.CharField(max_length=80)
    owner = serializers.CharField(
        required=False, help_text="User name of the devices' owner; yourself if left out"
    )
    max_uses = serializers.IntegerField(min_value=1, max_value=10_000, default=1)
    valid_hours = serializers.FloatField(min_value=0.01, max_value=24 * 365, default=WEEK_HOURS)
    approves = serializers.BooleanField(
        default=False, help_text="Devices that use it need no further approval"
    )
    labels = serializers.DictField(child=serializers.CharField(max_length=80), default=dict)


class IssuedCode(Code):
    code = serializers.CharField(help_text="To be pasted on the device; shown this once")

    class Meta(Code.Meta):
        fields = (*Code.Meta.fields, "code")
