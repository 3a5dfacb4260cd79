from typing import Any

from rest_framework import serializers

from fl_server import models


class Checkpoint(serializers.ModelSerializer):
    round = serializers.IntegerField(source="round_number")
    best = serializers.SerializerMethodField()
    download = serializers.HyperlinkedIdentityField(
        view_name="api:checkpoint-download", help_text="A safetensors file, however it is stored"
    )
    size = serializers.IntegerField(help_text="Bytes of the download")
    storage = serializers.ChoiceField(
        choices=models.Checkpoint.Storage.choices,
        help_text="float16 has lost precision, and its download is float16; delta and full have lost nothing",
    )
    bytes_saved = serializers.IntegerField(help_text="Bytes that it no longer takes on the server's disk")

    class Meta:
        model = models.Checkpoint
        fields = (
            "id",
            "job",
            "round",
            "best",
            "pinned",
            "size",
            "sha256",
            "storage",
            "bytes_saved",
            "removed_at",
            "metrics",
            "created_at",
            "download",
        )

    def get_best(self, checkpoint: models.Checkpoint) -> bool:
        return checkpoint.job.best_checkpoint_id == checkpoint.pk


class MetricPair(serializers.Serializer):
    name = serializers.CharField()
    first = serializers.FloatField(allow_null=True)
    second = serializers.FloatField(allow_null=True)
    difference = serializers.FloatField(allow_null=True, help_text="second minus first")


class TensorDistance(serializers.Serializer):
    name = serializers.CharField()
    shape = serializers.ListField(child=serializers.IntegerField())
    l2 = serializers.FloatField()
    relative = serializers.FloatField(allow_null=True)


class Distance(serializers.Serializer):
    """Over all floating tensors."""

    parameters = serializers.IntegerField(help_text="How many numbers were compared")
    l2 = serializers.FloatField(help_text="Euclidean norm of second minus first")
    relative = serializers.FloatField(
        allow_null=True, help_text="l2 over the norm of the first; null where that is 0"
    )
    cosine = serializers.FloatField(allow_null=True, help_text="Of the two models as vectors")
    tensors = TensorDistance(many=True, help_text="Those that moved most")


class Comparison(serializers.Serializer):
    first = Checkpoint()
    second = Checkpoint()
    metrics = MetricPair(many=True)
    distance: Any = Distance()
