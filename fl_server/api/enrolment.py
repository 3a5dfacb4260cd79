from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from fl_server import roles
from fl_server.api.permissions import ByAction, IssuesCodes
from fl_server.api.serializers import enrolment as shapes
from fl_server.exceptions import InvalidInput, NotAllowed
from fl_server.models import EnrolmentCode
from fl_server.selectors import enrolment as selectors
from fl_server.services import enrolment

User = get_user_model()


class Codes(ByAction, ListModelMixin, RetrieveModelMixin, GenericViewSet):
    queryset = EnrolmentCode.objects.none()
    serializer_class = shapes.Code
    ordering_fields = ("id", "expires_at")
    permissions = {
        "list": IssuesCodes,
        "create": IssuesCodes,
        "retrieve": IsAuthenticated,
        "revoke": IsAuthenticated,
    }

    def get_queryset(self) -> QuerySet[EnrolmentCode]:
        return selectors.visible_to(self.request.user)

    @extend_schema(request=shapes.NewCode, responses={201: shapes.IssuedCode})
    def create(self, request: Request) -> Response:
        """A code that lets machines join. Its text is in this answer and nowhere else."""
        body = shapes.NewCode(data=request.data)
        body.is_valid(raise_exception=True)
        values = body.validated_data
        code, text = enrolment.create_code(
            request.user,
            owner=_owner(request.user, values.get("owner")),
            label=values["label"],
            max_uses=values["max_uses"],
            valid_for=timedelta(hours=values["valid_hours"]),
            approves=values["approves"],
            labels=values["labels"],
        )
        code.code = text
        return Response(shapes.IssuedCode(code).data, status=201, headers={"Cache-Control": "no-store"})

    @extend_schema(request=None)
    def revoke(self, request: Request, pk: int) -> Response:
        """Nobody can join with it any more; devices that did stay."""
        return Response(shapes.Code(enrolment.revoke_code(self.get_object(), request.user)).data)


def _owner(by: Any, username: str | None) -> Any:
    if username is None or username == by.get_username():
        return by
    # Asked before the look-up, so that an owner cannot find out which users exist.
    if not roles.is_admin(by):
        raise NotAllowed("Only admins make codes for others.")
    owner = User.objects.filter(username=username, is_active=True).first()
    if owner is None:
        raise InvalidInput(f"owner is {username!r}; there is no active user of that name.", field="owner")
    return owner
