from rest_framework import serializers

from fl_server import models


class Round(serializers.ModelSerializer):
    seconds = serializers.FloatField()
    run = serializers.IntegerField(source="run.number", help_text="The attempt that committed it")

    class Meta:
        model = models.Round
        fields = (
            "number",
            "run",
            "started_at",
            "finished_at",
            "seconds",
            "examples",
            "accepted",
            "rejected",
            "bytes_down",
            "bytes_up",
            "metrics",
            "evaluation",
        )


class DeviceInRound(serializers.ModelSerializer):
    round = serializers.IntegerField(source="round_number")
    run = serializers.IntegerField(source="run.number")
    device_name = serializers.CharField(source="device.name")

    class Meta:
        model = models.Participation
        fields = (
            "round",
            "run",
            "device",
            "device_name",
            "status",
            "reason_code",
            "reason",
            "attempts",
            "examples",
            "seconds",
            "bytes_down",
            "bytes_up",
            "metrics",
            "update_norm",
            "created_at",
            "finished_at",
        )
