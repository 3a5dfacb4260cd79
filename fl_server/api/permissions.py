"""Who may call a route. Which objects exist for a user is the selectors' business: not visible is 404."""

from typing import Any

from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request

from fl_server import roles


class DenyByDefault(BasePermission):
    """For a view that forgot to name its permission."""

    def has_permission(self, request: Request, view: Any) -> bool:
        return False


class Observer(BasePermission):
    message = "Only admins, researchers and viewers may see this."

    def has_permission(self, request: Request, view: Any) -> bool:
        return roles.may_observe(request.user)


class Submitter(BasePermission):
    message = "Only researchers and admins create jobs."

    def has_permission(self, request: Request, view: Any) -> bool:
        return roles.may_submit(request.user)


class SeesDevices(BasePermission):
    message = "Only people with a role may see devices."

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(roles.of(request.user))


class HasRole(BasePermission):
    message = "Only people with a role are told anything."

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(roles.of(request.user))


class Admin(BasePermission):
    message = "Only admins see and change this."

    def has_permission(self, request: Request, view: Any) -> bool:
        return roles.is_admin(request.user)


class SeesContributions(BasePermission):
    message = "Only people with a role may see contributions."

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(roles.of(request.user))


class IssuesCodes(BasePermission):
    message = "Only admins and owners of devices handle enrolment codes."

    def has_permission(self, request: Request, view: Any) -> bool:
        return bool(roles.of(request.user) & {roles.ADMIN, roles.OWNER})


class ByAction:
    """A view set that names the permission of each of its actions."""

    permissions: dict[str, type[BasePermission]] = {}
    action: str | None

    def get_permissions(self) -> list[BasePermission]:
        if self.action is None:  # a method without a handler, which goes on to answer 405
            return [IsAuthenticated()]
        return [self.permissions.get(self.action, DenyByDefault)()]
