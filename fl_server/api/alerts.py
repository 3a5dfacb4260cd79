from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from fl_server import models
from fl_server.api import filters
from fl_server.api.permissions import Admin, ByAction, SeesDevices
from fl_server.api.serializers import notifications as shapes
from fl_server.selectors import alerts as selectors
from fl_server.services import alert_rules


class Alerts(ListModelMixin, GenericViewSet):
    """High use of the devices that you may see."""

    queryset = models.Alert.objects.none()
    serializer_class = shapes.DeviceAlert
    filterset_class = filters.Alerts
    permission_classes = [SeesDevices]
    ordering_fields = ("id", "began_at")

    def get_queryset(self) -> QuerySet[models.Alert]:
        return selectors.visible_to(self.request.user)


class Rules(ByAction, ListModelMixin, GenericViewSet):
    queryset = models.AlertRule.objects.all()
    serializer_class = shapes.Rule
    ordering_fields = ("id", "metric", "threshold")
    permissions = {"list": Admin, "create": Admin, "change": Admin, "remove": Admin}

    @extend_schema(request=shapes.Rule, responses={201: shapes.Rule})
    def create(self, request: Request) -> Response:
        """Watch for high use of a resource."""
        body = self.get_serializer(data=request.data)
        body.is_valid(raise_exception=True)
        rule = alert_rules.create(request.user, **body.validated_data)
        return Response(self.get_serializer(rule).data, status=201)

    def change(self, request: Request, pk: int) -> Response:
        """Change a rule."""
        rule = get_object_or_404(models.AlertRule, pk=pk)
        body = self.get_serializer(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        changed = alert_rules.change(rule, request.user, **body.validated_data)
        return Response(self.get_serializer(changed).data)

    def remove(self, request: Request, pk: int) -> Response:
        """Remove a rule together with its alerts."""
        alert_rules.remove(get_object_or_404(models.AlertRule, pk=pk), request.user)
        return Response(status=204)
