from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from fl_server import roles
from fl_server.admin.base import LookAdmin
from fl_server.models import Quota
from fl_server.services import quotas

WHOSE = ("user", "group")


class QuotaForm(forms.ModelForm):
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if not self.instance.pk and bool(cleaned.get("user")) == bool(cleaned.get("group")):
            raise forms.ValidationError("A quota is of a user or of a group, and not of both.")
        for name in quotas.LIMITS:
            if (cleaned.get(name) or 0) > quotas.MOST:
                self.add_error(name, f"Allowed are 0 to {quotas.MOST}, or nothing.")
        return cleaned


@admin.register(Quota)
class QuotaAdmin(LookAdmin):
    """What a person, or the members of a group together, may hold at once."""

    form = QuotaForm
    list_display = ("__str__", *quotas.LIMITS)
    list_select_related = WHOSE
    search_fields = ("user__username", "group__name")
    fieldsets = (
        (None, {"fields": WHOSE, "description": "A user or a group, not both."}),
        ("At once", {"fields": quotas.LIMITS, "description": "Empty: without bound."}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return roles.is_admin(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Quota | None = None) -> bool:
        return roles.is_admin(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Quota | None = None) -> bool:
        return roles.is_admin(request.user)

    def get_readonly_fields(self, request: HttpRequest, obj: Quota | None = None) -> tuple[str, ...]:
        return WHOSE if obj else ()

    def save_model(self, request: HttpRequest, obj: Quota, form: Any, change: bool) -> None:
        limits = {name: getattr(obj, name) for name in quotas.LIMITS}
        obj.pk = quotas.set_for(request.user, user=obj.user, group=obj.group, **limits).pk

    def delete_model(self, request: HttpRequest, obj: Quota) -> None:
        quotas.remove(request.user, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Quota]) -> None:
        self.for_each(request, queryset, "removed", lambda quota: self.delete_model(request, quota))
