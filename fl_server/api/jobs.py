from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from fl_server import spec
from fl_server.api import filters
from fl_server.api.permissions import ByAction, Observer, Submitter
from fl_server.api.serializers import jobs as shapes
from fl_server.models import TrainingJob
from fl_server.selectors import jobs as selectors
from fl_server.services import jobs

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
        "retrieve": IsAuthenticated,
        "submit": IsAuthenticated,
        "cancel": IsAuthenticated,
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
        job = jobs.create(
            request.user,
            values["name"],
            values["spec"],
            submit=values["submit"],
            idempotency_key=header.validated_data["key"] or None,
        )
        return self._answer(job, status=201, headers={"Location": reverse("api:job-detail", args=[job.pk])})

    @extend_schema(request=spec.JobSpec, responses=spec.JobSpec)
    def validate(self, request: Request) -> Response:
        """The specification with every default filled in, or its faults. Creates nothing."""
        return Response(spec.parse(request.data).model_dump(mode="json"))

    @extend_schema(request=None)
    def submit(self, request: Request, pk: int) -> Response:
        """Queue a draft."""
        return self._answer(jobs.submit(self.get_object(), request.user))

    @extend_schema(request=None)
    def cancel(self, request: Request, pk: int) -> Response:
        """End a job now; its devices are free again."""
        return self._answer(jobs.cancel(self.get_object(), request.user))

    @extend_schema(responses=shapes.Charts)
    def metrics(self, request: Request, pk: int) -> Response:
        """Every curve of the job as one array."""
        return Response(selectors.charts(self.get_object()))

    def _answer(self, job: TrainingJob, **response: Any) -> Response:
        """The job as it is stored now, with its head line."""
        return Response(shapes.JobInFull(self.get_queryset().get(pk=job.pk)).data, **response)
