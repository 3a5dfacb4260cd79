from typing import Any

from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from fl_server.api.permissions import ByAction, Observer, Submitter
from fl_server.api.serializers import schedules as shapes
from fl_server.api.serializers.jobs import JobInFull
from fl_server.exceptions import InvalidInput
from fl_server.models import Schedule
from fl_server.selectors import jobs as job_selectors
from fl_server.selectors import schedules as selectors
from fl_server.services import schedules


class Schedules(ByAction, ListModelMixin, RetrieveModelMixin, GenericViewSet):
    queryset = Schedule.objects.none()
    ordering_fields = ("id", "name", "created_at")
    permissions = {
        "list": Observer,
        "create": Submitter,
        "retrieve": IsAuthenticated,
        "change": IsAuthenticated,
        "remove": IsAuthenticated,
        "pause": IsAuthenticated,
        "enable": IsAuthenticated,
        "run_now": IsAuthenticated,
    }

    def get_queryset(self) -> QuerySet[Schedule]:
        return selectors.visible_to(self.request.user)

    def get_serializer_class(self) -> type[shapes.Schedule]:
        return shapes.Schedule if self.action == "list" else shapes.ScheduleInFull

    @extend_schema(request=shapes.NewSchedule, responses={201: shapes.ScheduleInFull})
    def create(self, request: Request) -> Response:
        """Start jobs later: once at a time, or whenever a cron expression says. Needs `spec` or `job`."""
        fields = self._fields(shapes.NewSchedule(data=request.data))
        if "spec" not in fields:
            raise InvalidInput(
                "spec is missing; give it, or a job whose specification to take.", field="spec"
            )
        schedule = schedules.create(request.user, **fields)
        address = reverse("api:schedule-detail", args=[schedule.pk])
        return self._answer(schedule, status=201, headers={"Location": address})

    @extend_schema(request=shapes.Changes)
    def change(self, request: Request, pk: int) -> Response:
        """Change what is given. Times that passed before start nothing."""
        schedule = self.get_object()
        fields = self._fields(shapes.Changes(data=request.data))
        return self._answer(schedules.change(schedule, request.user, **fields))

    def remove(self, request: Request, pk: int) -> Response:
        """Delete it. The jobs that it started stay."""
        schedules.remove(self.get_object(), request.user)
        return Response(status=204)

    @extend_schema(request=None)
    def pause(self, request: Request, pk: int) -> Response:
        """Start nothing until it is enabled again."""
        return self._answer(schedules.pause(self.get_object(), request.user))

    @extend_schema(request=None)
    def enable(self, request: Request, pk: int) -> Response:
        """Go on with the next planned time; those that passed meanwhile start nothing."""
        return self._answer(schedules.enable(self.get_object(), request.user))

    @extend_schema(request=None, responses={201: JobInFull})
    def run_now(self, request: Request, pk: int) -> Response:
        """Start a job of it at once, besides the planned ones."""
        job = schedules.run_now(self.get_object(), request.user)
        stored = job_selectors.visible_to(request.user).get(pk=job.pk)
        address = reverse("api:job-detail", args=[job.pk])
        return Response(JobInFull(stored).data, status=201, headers={"Location": address})

    def _fields(self, body: shapes.Changes) -> dict[str, Any]:
        body.is_valid(raise_exception=True)
        fields = dict(body.validated_data)
        key = fields.pop("job", None)
        if key is None:
            return fields
        if "spec" in fields:
            raise InvalidInput("spec and job are given; one of them says what the jobs do.", field="job")
        job = job_selectors.visible_to(self.request.user).filter(pk=key).first()
        if job is None:
            raise InvalidInput(f"job is {key}; there is no such job.", field="job")
        return {**fields, "spec": job.spec}

    def _answer(self, schedule: Schedule, **response: Any) -> Response:
        return Response(shapes.ScheduleInFull(schedule).data, **response)
