from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from fl_server.api.permissions import ByAction, Observer
from fl_server.api.serializers import policy as shapes
from fl_server.rules import Rules
from fl_server.selectors import policies as selectors
from fl_server.services import policies


class Policies(ByAction, GenericViewSet):
    serializer_class = shapes.Policy
    permissions = {
        "retrieve": Observer,
        "set_company": IsAuthenticated,
        "set_group": IsAuthenticated,
        "remove_group": IsAuthenticated,
    }

    def retrieve(self, request: Request) -> Response:
        """The rules above the owners' own: the company's, and those of the devices with a label."""
        return self._answer(request)

    @extend_schema(request=Rules)
    def set_company(self, request: Request) -> Response:
        """Replace the company's rules. `{}` restricts nothing. Admins only."""
        policies.set_company(request.user, request.data)
        return self._answer(request)

    @extend_schema(request=Rules)
    def set_group(self, request: Request, name: str, value: str) -> Response:
        """Replace the rules of the devices with the label `name=value`. Admins only."""
        policies.set_group(request.user, name, value, request.data)
        return self._answer(request)

    def remove_group(self, request: Request, name: str, value: str) -> Response:
        """The devices with the label `name=value` follow the company's rules again. Admins only."""
        policies.remove_group(request.user, name, value)
        return Response(status=204)

    def _answer(self, request: Request) -> Response:
        """The policy as it is stored now."""
        stored: dict[str, Any] = {
            "company": selectors.company(),
            "groups": selectors.groups_seen_by(request.user),
        }
        return Response(self.get_serializer(stored).data)


class RulesSchema(APIView):
    permission_classes = [IsAuthenticated]

    @extend_schema(responses=OpenApiTypes.OBJECT, filters=False)
    def get(self, request: Request) -> Response:
        """The JSON schema of a layer's rules."""
        return Response(Rules.model_json_schema())
