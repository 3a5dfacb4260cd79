from typing import Any

from django.contrib.auth import get_user_model
from rest_framework import serializers
from rest_framework_simplejwt.exceptions import InvalidToken
from rest_framework_simplejwt.serializers import (
    TokenBlacklistSerializer,
    TokenObtainPairSerializer,
    TokenRefreshSerializer,
)

from fl_server import roles

User = get_user_model()


class Login(TokenObtainPairSerializer):
    default_error_messages = {"no_active_account": "The user name or the password is wrong."}


class Refresh(TokenRefreshSerializer):
    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        try:
            return super().validate(attrs)
        except User.DoesNotExist as exc:
            raise InvalidToken("The user of this token is gone.") from exc


class Revoke(TokenBlacklistSerializer):
    pass


class Me(serializers.ModelSerializer):
    roles = serializers.SerializerMethodField()

    class Meta:
        model = User
        fields = ("id", "username", "first_name", "last_name", "email", "roles")

    def get_roles(self, user: Any) -> list[str]:
        return sorted(roles.of(user))
