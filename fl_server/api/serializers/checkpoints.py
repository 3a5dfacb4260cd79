from rest_framework import serializers

from fl_server import models


class Checkpoint(serializers.ModelSerializer):
    round = serializers.IntegerField(source="round_number")
    best = serializers.SerializerMethodField()
    download = serializers.HyperlinkedIdentityField(view_name="api:checkpoint-download")

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
            "metrics",
            "created_at",
            "download",
        )

    def get_best(self, checkpoint: models.Checkpoint) -> bool:
        return checkpoint.job.best_checkpoint_id == checkpoint.pk
