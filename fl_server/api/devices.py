from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from fl_server import models
from fl_server.api import filters
from fl_server.api.permissions import ByAction, SeesDevices
from fl_server.api.serializers import devices as shapes
from fl_server.api.serializers import policy as policy_shapes
from fl_server.selectors import devices as selectors
from fl_server.selectors import policies
from fl_server.services import devices, reputation

# A removed device keeps its page, but a list shows it only to those who ask by one of these.
ASK_FOR_REMOVED = {"status", "presence", "removed"}


class Devices(ByAction, ListModelMixin, RetrieveModelMixin, GenericViewSet):
    queryset = models.Device.objects.none()
    serializer_class = shapes.Device
    filterset_class = filters.Devices
    ordering_fields = ("name", "status", "last_seen", "enrolled_at")
    permissions = {
        "list": SeesDevices,
        "retrieve": IsAuthenticated,
        "approve": IsAuthenticated,
        "release": IsAuthenticated,
        "revoke": IsAuthenticated,
        "relabel": IsAuthenticated,
        "policy": IsAuthenticated,
    }

    def get_queryset(self) -> QuerySet[models.Device]:
        visible = selectors.visible_to(self.request.user)
        if self.action == "list" and not ASK_FOR_REMOVED & set(self.request.query_params):
            return selectors.not_removed(visible)
        return visible

    @extend_schema(request=None)
    def approve(self, request: Request, pk: Any) -> Response:
        """Let a device that joined take part. Admins only."""
        devices.approve(self.get_object(), request.user)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=None)
    def release(self, request: Request, pk: Any) -> Response:
        """End a device's quarantine; its earlier answers no longer count. Admins only."""
        reputation.release(self.get_object(), request.user)
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=shapes.Revocation)
    def revoke(self, request: Request, pk: Any) -> Response:
        """Shut a device out for ever. Admins, and owners for their own devices."""
        body = shapes.Revocation(data=request.data)
        body.is_valid(raise_exception=True)
        devices.revoke(self.get_object(), request.user, body.validated_data["reason"])
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(request=shapes.Relabelling)
    def relabel(self, request: Request, pk: Any) -> Response:
        """Change a device's labels, which decide its groups' rules and the jobs it fits. Admins only."""
        body = shapes.Relabelling(data=request.data)
        body.is_valid(raise_exception=True)
        devices.relabel(self.get_object(), request.user, body.validated_data["labels"])
        return Response(self.get_serializer(self.get_object()).data)

    @extend_schema(responses=policy_shapes.Layers)
    def policy(self, request: Request, pk: Any) -> Response:
        """When it trains: the effective rule as one sentence, and the layers that it comes from."""
        return Response(policies.layers(self.get_object()))
