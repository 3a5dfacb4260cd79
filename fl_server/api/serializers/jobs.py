from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from fl_server.models import TrainingJob
from fl_server.selectors import jobs as job_selectors
from fl_server.spec import JobSpec


@extend_schema_field(JobSpec)
class SpecField(serializers.JSONField):
    """A job's specification; `fl_server.spec` validates it."""


class Headline(serializers.Serializer):
    rounds = serializers.IntegerField(help_text="Rounds asked for")
    rounds_done = serializers.IntegerField()
    devices = serializers.IntegerField(help_text="Devices reserved now")
    evaluated_round = serializers.IntegerField(allow_null=True)
    loss = serializers.FloatField(
        allow_null=True, help_text="On the server's test split, after evaluated_round"
    )
    accuracy = serializers.FloatField(allow_null=True)
    training = serializers.DictField(help_text="What the devices reported for the last round, averaged")


class Job(serializers.ModelSerializer):
    owner = serializers.CharField(source="owner.username")
    headline = serializers.SerializerMethodField()

    class Meta:
        model = TrainingJob
        fields = (
            "id",
            "name",
            "owner",
            "status",
            "reason_code",
            "reason",
            "waiting",
            "priority",
            "headline",
            "best_checkpoint",
            "created_at",
            "submitted_at",
            "started_at",
            "finished_at",
        )

    @extend_schema_field(Headline)
    def get_headline(self, job: TrainingJob) -> dict[str, Any]:
        return job_selectors.headline(job)


class JobInFull(Job):
    spec = SpecField()

    class Meta(Job.Meta):
        fields = (*Job.Meta.fields, "spec")


class NewJob(serializers.Serializer):
    name = serializers.CharField(max_length=120)
    spec = SpecField()
    submit = serializers.BooleanField(default=True, help_text="Queue it at once; else it stays a draft")


class IdempotencyKey(serializers.Serializer):
    """The header of that name."""

    key = serializers.CharField(max_length=80, allow_blank=True)


class Charts(serializers.Serializer):
    """Arrays of equal length, one value for each committed round."""

    rounds = serializers.ListField(child=serializers.IntegerField())
    seconds = serializers.ListField(child=serializers.FloatField())
    examples = serializers.ListField(child=serializers.IntegerField())
    accepted = serializers.ListField(child=serializers.IntegerField())
    rejected = serializers.ListField(child=serializers.IntegerField())
    bytes_down = serializers.ListField(child=serializers.IntegerField())
    bytes_up = serializers.ListField(child=serializers.IntegerField())
    evaluation = serializers.DictField(
        child=serializers.ListField(child=serializers.FloatField(allow_null=True))
    )
    training = serializers.DictField(
        child=serializers.ListField(child=serializers.FloatField(allow_null=True))
    )
