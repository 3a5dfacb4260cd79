"""What belongs to one job: its moves, its rounds, who took part in them, its checkpoints."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from rest_framework.generics import ListAPIView
from rest_framework.permissions import IsAuthenticated

from fl_server import models
from fl_server.api import filters
from fl_server.api.serializers.checkpoints import Checkpoint
from fl_server.api.serializers.jobs import JobEvent
from fl_server.api.serializers.rounds import DeviceInRound, Round
from fl_server.selectors import jobs


class _OfJob(ListAPIView):
    permission_classes = [IsAuthenticated]
    queryset: QuerySet[Any]

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):  # the schema is made without a request
            return super().get_queryset()
        job = get_object_or_404(jobs.visible_to(self.request.user), pk=self.kwargs["pk"])
        return self.of_job(job)

    def of_job(self, job: models.TrainingJob) -> QuerySet[Any]:
        raise NotImplementedError


class Events(_OfJob):
    """Every move of a job, the oldest first: when, from whom, why, with which run."""

    queryset = models.JobEvent.objects.none()
    serializer_class = JobEvent
    ordering_fields = ("at",)

    def of_job(self, job: models.TrainingJob) -> QuerySet[models.JobEvent]:
        return jobs.timeline(job)


class Rounds(_OfJob):
    """The committed rounds of a job."""

    queryset = models.Round.objects.none()
    serializer_class = Round
    ordering_fields = ("number",)

    def of_job(self, job: models.TrainingJob) -> QuerySet[models.Round]:
        return job.rounds.select_related("run")


class Participations(_OfJob):
    """Which device did what in which round."""

    queryset = models.Participation.objects.none()
    serializer_class = DeviceInRound
    filterset_class = filters.Participations
    ordering_fields = ("round_number", "status", "seconds", "examples")

    def of_job(self, job: models.TrainingJob) -> QuerySet[models.Participation]:
        rows = models.Participation.objects.filter(run__job=job).select_related("run", "device")
        return rows.order_by("round_number", "run", "device__name", "pk")


class Checkpoints(_OfJob):
    """The stored models of a job, the newest first."""

    queryset = models.Checkpoint.objects.none()
    serializer_class = Checkpoint
    ordering_fields = ("round_number", "size")

    def of_job(self, job: models.TrainingJob) -> QuerySet[models.Checkpoint]:
        return job.checkpoints.select_related("job").order_by("-round_number")
