from datetime import datetime
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from fl_server.api.serializers.body import Body
from fl_server.api.serializers.jobs import SpecField
from fl_server.models import Schedule as Model
from fl_server.models import TrainingJob
from fl_server.selectors import schedules as selectors

JOBS_SHOWN = 20


class StartedJob(serializers.ModelSerializer):
    class Meta:
        model = TrainingJob
        fields = ("id", "name", "status", "created_at")


class Schedule(serializers.ModelSerializer):
    owner = serializers.CharField(source="owner.username")
    words = serializers.SerializerMethodField(help_text="When it runs, in words")
    next_runs = serializers.SerializerMethodField(help_text="None while it is paused")

    class Meta:
        model = Model
        fields = (
            "id",
            "name",
            "owner",
            "kind",
            "at",
            "cron",
            "timezone",
            "words",
            "enabled",
            "single_instance",
            "missed",
            "next_runs",
            "last_outcome",
            "created_at",
        )

    def get_words(self, schedule: Model) -> str:
        return selectors.words(schedule)

    def get_next_runs(self, schedule: Model) -> list[datetime]:
        return selectors.next_runs(schedule, timezone.now())


class ScheduleInFull(Schedule):
    spec = SpecField()
    jobs = serializers.SerializerMethodField(help_text="That it started, the newest ones")

    class Meta(Schedule.Meta):
        fields = (*Schedule.Meta.fields, "spec", "jobs")

    @extend_schema_field(StartedJob(many=True))
    def get_jobs(self, schedule: Model) -> Any:
        return StartedJob(schedule.jobs.order_by("-id")[:JOBS_SHOWN], many=True).data


class ClockTime(serializers.DateTimeField):
    """Without an offset it is a time of the schedule's time zone, which the service knows."""

    def enforce_timezone(self, value: datetime) -> datetime:
        return value


class Changes(Body):
    name = serializers.CharField(max_length=120, required=False)
    spec = SpecField(required=False, help_text="Of the jobs that it starts")
    job = serializers.IntegerField(
        required=False, min_value=1, max_value=2**63 - 1, help_text="Or a job whose specification it takes"
    )
    kind = serializers.ChoiceField(Model.Kind.choices, required=False)
    at = ClockTime(
        required=False, allow_null=True, help_text="For once. Without an offset, a time of `timezone`"
    )
    cron = serializers.CharField(
        required=False,
        allow_blank=True,
        help_text="For cron: minute, hour, day of the month, month, weekday, like `30 2 * * mon-fri`",
    )
    timezone = serializers.CharField(required=False, help_text="Like Europe/Berlin; UTC unless given")
    single_instance = serializers.BooleanField(
        required=False, help_text="Start nothing while one of its jobs has not ended. On unless given"
    )
    missed = serializers.ChoiceField(
        Model.Missed.choices,
        required=False,
        help_text="What becomes of times that passed while the platform was away: one job for all of them "
        "(`run-once`, unless given), or none for those older than five minutes (`skip`)",
    )


class NewSchedule(Changes):
    name = serializers.CharField(max_length=120)
    kind = serializers.ChoiceField(Model.Kind.choices)
