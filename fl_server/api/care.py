"""Looking after one device: what it measured, what its client logged, which device it replaces."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from fl_server import models
from fl_server.api.permissions import ByAction
from fl_server.api.serializers import care as shapes
from fl_server.api.serializers.devices import Device
from fl_server.selectors import devices as selectors
from fl_server.selectors import telemetry
from fl_server.services import client_logs, replacement


class Care(ByAction, GenericViewSet):
    queryset = models.Device.objects.none()
    serializer_class = Device
    filter_backends = ()
    pagination_class = None
    permissions = {
        "telemetry": IsAuthenticated,
        "logs": IsAuthenticated,
        "ask_log": IsAuthenticated,
        "replace": IsAuthenticated,
    }

    def get_queryset(self) -> QuerySet[models.Device]:
        return selectors.visible_to(self.request.user)

    @extend_schema(parameters=[shapes.Window], responses=shapes.Series)
    def telemetry(self, request: Request, pk: Any) -> Response:
        """What the device measured: the longer the time and the older, the coarser."""
        window = shapes.Window(data=request.query_params)
        window.is_valid(raise_exception=True)
        return Response(telemetry.series(self.get_object(), **window.validated_data))

    @extend_schema(responses=shapes.Log(many=True))
    def logs(self, request: Request, pk: Any) -> Response:
        """The logs that were asked for, the newest first. Admins, and owners for their own devices."""
        device = self.get_object()
        client_logs.check_may_read(device, request.user)
        return Response(shapes.Log(device.client_logs.select_related("asked_by"), many=True).data)

    @extend_schema(request=None, responses={202: shapes.Log})
    def ask_log(self, request: Request, pk: Any) -> Response:
        """Ask the device for the end of its client's log, which arrives a moment later."""
        return Response(shapes.Log(client_logs.ask(self.get_object(), request.user)).data, status=202)

    @extend_schema(request=shapes.Replacement)
    def replace(self, request: Request, pk: Any) -> Response:
        """Let this device take the place of one that is the same machine of the same owner."""
        body = shapes.Replacement(data=request.data)
        body.is_valid(raise_exception=True)
        new = self.get_object()
        old = get_object_or_404(self.get_queryset(), pk=body.validated_data["old"])
        replacement.replace(old, new, request.user)
        return Response(self.get_serializer(self.get_object()).data)
