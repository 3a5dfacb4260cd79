from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from unfold.admin import ModelAdmin, TabularInline

from fl_server import roles
from fl_server.exceptions import ConstellationError


class ForAdmins:
    """Seen by admins, changed by nobody: rows are facts, and statuses move only through services."""

    def has_module_permission(self, request: HttpRequest) -> bool:
        return roles.is_admin(request.user)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return roles.is_admin(request.user)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class LookAdmin(ForAdmins, ModelAdmin):
    list_per_page = 50

    def for_each(self, request: HttpRequest, rows: Any, done: str, service: Callable[[Any], Any]) -> None:
        """Call a service for each chosen row; one refusal does not stop the rest."""
        changed = 0
        for row in rows:
            try:
                service(row)
                changed += 1
            except ConstellationError as exc:
                self.message_user(request, f"{row}: {exc.message}", messages.ERROR)
        if changed:
            self.message_user(request, f"{changed} {done}.", messages.SUCCESS)


class LookInline(ForAdmins, TabularInline):
    extra = 0
    can_delete = False
    show_change_link = True
    per_page = 25

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields
