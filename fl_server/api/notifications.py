from dataclasses import asdict

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from fl_server import models
from fl_server.api import filters
from fl_server.api.permissions import ByAction, HasRole
from fl_server.api.serializers import notifications as shapes
from fl_server.exceptions import NotFound
from fl_server.selectors import notifications as selectors
from fl_server.services import notifications, webhooks


class Notifications(ByAction, ListModelMixin, GenericViewSet):
    """Everybody has the own ones only."""

    queryset = models.Notification.objects.none()
    serializer_class = shapes.Notice
    filterset_class = filters.Notifications
    ordering_fields = ("id",)
    permissions = {
        "list": HasRole,
        "unread": HasRole,
        "read": HasRole,
        "choices": HasRole,
        "choose": HasRole,
    }

    def get_queryset(self) -> QuerySet[models.Notification]:
        return selectors.of(self.request.user)

    @extend_schema(responses=shapes.Unread, filters=False)
    def unread(self, request: Request) -> Response:
        """How many of your notifications you have not read."""
        return Response({"unread": selectors.unread(request.user)})

    @extend_schema(request=shapes.Read, responses=shapes.Unread)
    def read(self, request: Request) -> Response:
        """Note that you have read these, or all."""
        body = shapes.Read(data=request.data)
        body.is_valid(raise_exception=True)
        notifications.mark_read(request.user, body.validated_data.get("ids"))
        return self.unread(request)

    @extend_schema(responses=shapes.Choices, filters=False)
    def choices(self, request: Request) -> Response:
        """By which ways you hear of each kind."""
        return Response({kind: asdict(ways) for kind, ways in selectors.choices(request.user).items()})

    @extend_schema(request=shapes.Choices, responses=shapes.Choices)
    def choose(self, request: Request) -> Response:
        """Change by which ways you hear of some kinds; what is left out stays as it is."""
        body = shapes.Choices(data=request.data)
        body.is_valid(raise_exception=True)
        notifications.choose(request.user, {kind: dict(ways) for kind, ways in body.validated_data.items()})
        return self.choices(request)


class Deliveries(ListModelMixin, GenericViewSet):
    queryset = models.Delivery.objects.none()
    serializer_class = shapes.SentOn
    permission_classes = [HasRole]
    ordering_fields = ("id",)

    def get_queryset(self) -> QuerySet[models.Delivery]:
        return selectors.deliveries(self.request.user)


class Webhook(ByAction, GenericViewSet):
    serializer_class = shapes.Webhook
    permissions = {"retrieve": HasRole, "save": HasRole, "remove": HasRole, "test": HasRole}

    def retrieve(self, request: Request) -> Response:
        """Where your notifications are posted. The secret is not shown again."""
        known = selectors.webhook(request.user)
        if known is None:
            raise NotFound("There is no webhook.")
        return Response(shapes.Webhook(known).data)

    @extend_schema(request=shapes.Address, responses=shapes.NewWebhook)
    def save(self, request: Request) -> Response:
        """Post notifications there, signed with a new secret, which is in this answer and nowhere else."""
        body = shapes.Address(data=request.data)
        body.is_valid(raise_exception=True)
        saved, secret = webhooks.save(request.user, body.validated_data["url"])
        facts = {"url": saved.url, "created_at": saved.created_at, "secret": secret}
        return Response(shapes.NewWebhook(facts).data, headers={"Cache-Control": "no-store"})

    def remove(self, request: Request) -> Response:
        """Post nothing any more."""
        webhooks.remove(request.user)
        return Response(status=204)

    @extend_schema(request=None, responses={204: None})
    def test(self, request: Request) -> Response:
        """Post a test now, and say why where it does not arrive."""
        webhooks.try_out(request.user)
        return Response(status=204)
