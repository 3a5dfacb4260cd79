from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer
from rest_framework.viewsets import GenericViewSet

from fl_server import spec
from fl_server.api import filters
from fl_server.api.permissions import ByAction, Observer, Submitter
from fl_server.api.serializers import jobs as shapes
from fl_server.api.serializers.dry_run import DryRun
from fl_server.exceptions import InvalidInput
from fl_server.models import Checkpoint, TrainingJob
from fl_server.selectors import checkpoints, dry_run
from fl_server.selectors import jobs as selectors
from fl_server.services import copies, estimates, jobs, pausing

IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="At most 80 characters. The same key again gives the job that the first request made.",
)


class Jobs(ByAction, ListModelMixin, RetrieveModelMixin, GenericViewSet):
    queryset = TrainingJob.objects.none()
    filterset_class = filters.Jobs
    ordering_fields = ("id", "name", "status", "priority", "created_at", "submitted_at", "finished_at")
    permissions = {
        "list": Observer,
        "create": Submitter,
        "validate": Submitter,
        "dry_run": Submitter,
        "retrieve": IsAuthenticated,
        **dict.fromkeys(("submit", "cancel", "pause", "resume", "clone", "rerun"), IsAuthenticated),
        "metrics": IsAuthenticated,
    }

    def get_queryset(self) -> QuerySet[TrainingJob]:
        return selectors.visible_to(self.request.user)

    def get_serializer_class(self) -> type[shapes.Job]:
        return shapes.Job if self.action == "list" else shapes.JobInFull

    @extend_schema(request=shapes.NewJob, responses={201: shapes.JobInFull}, parameters=[IDEMPOTENCY_KEY])
    def create(self, request: Request) -> Response:
        """Make a job and, unless `submit` is false, queue it."""
        body = shapes.NewJob(data=request.data)
        body.is_valid(raise_exception=True)
        header = shapes.IdempotencyKey(data={"key": request.headers.get("Idempotency-Key", "")})
        header.is_valid(raise_exception=True)
        values = body.validated_data
        start = self._checkpoint(values["start_checkpoint"])
        job = jobs.create(
            request.user,
            values["name"],
            values["spec"],
            submit=values["submit"],
            start_at=values["start_at"],
            idempotency_key=header.validated_data["key"] or None,
            start_checkpoint=start,
        )
        return self._made(job)

    @extend_schema(request=spec.JobSpec, responses=spec.JobSpec)
    def validate(self, request: Request) -> Response:
        """The specification with every default filled in, or its faults. Creates nothing."""
        return Response(spec.parse(request.data).model_dump(mode="json"))

    @extend_schema(request=spec.JobSpec, responses=DryRun)
    def dry_run(self, request: Request) -> Response:
        """What would become of a job if it were submitted now: devices, memory, start. Creates nothing."""
        wanted = spec.parse(request.data)
        found = dry_run.of(request.user.pk, wanted, estimates.look_up(wanted))
        return Response(DryRun(found).data)

    @extend_schema(request=shapes.Submission)
    def submit(self, request: Request, pk: int) -> Response:
        """Queue a draft, to start at once or not before a time."""
        values = self._read(shapes.Submission)
        return self._answer(jobs.submit(self.get_object(), request.user, **values))

    @extend_schema(request=None)
    def cancel(self, request: Request, pk: int) -> Response:
        """End a job now; its devices are free again."""
        return self._answer(jobs.cancel(self.get_object(), request.user))

    @extend_schema(request=shapes.Pause)
    def pause(self, request: Request, pk: int) -> Response:
        """Pause after the round under way, or at once; its devices are free again."""
        values = self._read(shapes.Pause)
        return self._answer(pausing.pause(self.get_object(), request.user, **values))

    @extend_schema(request=None)
    def resume(self, request: Request, pk: int) -> Response:
        """Queue a paused job, which goes on with the round after its last."""
        return self._answer(pausing.resume(self.get_object(), request.user))

    @extend_schema(request=shapes.Copy, responses={201: shapes.JobInFull})
    def clone(self, request: Request, pk: int) -> Response:
        """Make a draft of one's own with the same specification, perhaps from a checkpoint's weights."""
        values = self._read(shapes.Copy)
        start = self._checkpoint(values["start_checkpoint"])
        copy = copies.clone(self.get_object(), request.user, name=values["name"], checkpoint=start)
        return self._made(copy)

    @extend_schema(request=None, responses={201: shapes.JobInFull})
    def rerun(self, request: Request, pk: int) -> Response:
        """The same job once more, queued at once."""
        return self._made(copies.rerun(self.get_object(), request.user))

    @extend_schema(responses=shapes.Charts)
    def metrics(self, request: Request, pk: int) -> Response:
        """Every curve of the job as one array."""
        return Response(selectors.charts(self.get_object()))

    def _read(self, shape: type[Serializer]) -> dict[str, Any]:
        body = shape(data=self.request.data)
        body.is_valid(raise_exception=True)
        values: dict[str, Any] = body.validated_data
        return values

    def _checkpoint(self, pk: int | None) -> Checkpoint | None:
        found = checkpoints.visible_to(self.request.user).filter(pk=pk).first() if pk else None
        if pk and found is None:
            raise InvalidInput(f"There is no checkpoint {pk}.", field="start_checkpoint")
        return found

    def _made(self, job: TrainingJob) -> Response:
        return self._answer(job, status=201, headers={"Location": reverse("api:job-detail", args=[job.pk])})

    def _answer(self, job: TrainingJob, **response: Any) -> Response:
        """The job as it is stored now, with its head line."""
        return Response(shapes.JobInFull(self.get_queryset().get(pk=job.pk)).data, **response)
