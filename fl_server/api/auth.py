from typing import Any

from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView
from rest_framework_simplejwt.views import TokenBlacklistView, TokenObtainPairView, TokenRefreshView

from fl_server.api.serializers import accounts


class Token(TokenObtainPairView):
    """Log in. An unknown user and a wrong password get the same answer."""

    permission_classes = [AllowAny]
    throttle_classes = [ScopedRateThrottle]
    throttle_scope = "login"
    serializer_class = accounts.Login


class TokenRefresh(TokenRefreshView):
    """A new access token and a new refresh token; the old refresh token is used up."""

    permission_classes = [AllowAny]
    serializer_class = accounts.Refresh


class TokenRevoke(TokenBlacklistView):
    """Log out: the refresh token gives no more access tokens."""

    permission_classes = [AllowAny]
    serializer_class = accounts.Revoke

    @extend_schema(responses={204: OpenApiResponse(description="Revoked")})
    def post(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        super().post(request, *args, **kwargs)
        return Response(status=204)


class Me(APIView):
    """Who am I, and in which roles?"""

    permission_classes = [IsAuthenticated]

    @extend_schema(responses=accounts.Me)
    def get(self, request: Request) -> Response:
        return Response(accounts.Me(request.user).data)
