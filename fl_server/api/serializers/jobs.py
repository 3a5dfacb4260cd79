from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from fl_server import models
from fl_server.api.serializers.body import Body
from fl_server.models import TrainingJob
from fl_server.selectors import jobs as job_selectors
from fl_server.spec import JobSpec

PHASES = ("draft", "queued", "running", "paused", "finished")


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
    phase = serializers.ChoiceField(
        PHASES, help_text="The coarser level of its status: finished is completed, failed or cancelled"
    )
    headline = serializers.SerializerMethodField()

    class Meta:
        model = TrainingJob
        fields = (
            "id",
            "name",
            "owner",
            "phase",
            "status",
            "pausing",
            "reason_code",
            "reason",
            "waiting",
            "priority",
            "headline",
            "best_checkpoint",
            "start_checkpoint",
            "cloned_from",
            "created_at",
            "submitted_at",
            "not_before",
            "expected_start",
            "started_at",
            "expected_end",
            "deadline_at",
            "memory_bytes",
            "finished_at",
        )

    @extend_schema_field(Headline)
    def get_headline(self, job: TrainingJob) -> dict[str, Any]:
        return job_selectors.headline(job)


class JobInFull(Job):
    spec = SpecField()

    class Meta(Job.Meta):
        fields = (*Job.Meta.fields, "spec")


class StartAt(serializers.DateTimeField):
    def __init__(self, **options: Any) -> None:
        super().__init__(
            **{"default": None, "allow_null": True, "help_text": "Not before this time; empty: at once"}
            | options
        )


class FromCheckpoint(serializers.IntegerField):
    def __init__(self, **options: Any) -> None:
        about = "Begins with the weights of this checkpoint, whose model must be the same"
        super().__init__(
            **{"default": None, "allow_null": True, "min_value": 1, "help_text": about} | options
        )


class NewJob(Body):
    name = serializers.CharField(max_length=120)
    spec = SpecField()
    submit = serializers.BooleanField(default=True, help_text="Queue it at once; else it stays a draft")
    start_at = StartAt()
    start_checkpoint = FromCheckpoint()


class Submission(Body):
    start_at = StartAt()


class Pause(Body):
    now = serializers.BooleanField(
        default=False, help_text="Abandon the round under way instead of finishing it"
    )


class Copy(Body):
    name = serializers.CharField(
        max_length=120, default="", allow_blank=True, help_text="Empty: the old name and (copy)"
    )
    start_checkpoint = FromCheckpoint()


class JobEvent(serializers.ModelSerializer):
    """One move of a job. `status` is the job's from then on."""

    actor = serializers.CharField(source="actor.username", default=None, allow_null=True)
    run = serializers.IntegerField(source="run.number", default=None, allow_null=True)

    class Meta:
        model = models.JobEvent
        fields = ("at", "status", "code", "sentence", "actor", "run", "data")


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
