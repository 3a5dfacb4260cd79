from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.http import HttpRequest
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from fl_server import events
from fl_server.admin.base import LookAdmin
from fl_server.models import AuditEvent

admin.site.unregister(User)
admin.site.unregister(Group)
# Their pages show refresh tokens in clear.
admin.site.unregister(OutstandingToken)
admin.site.unregister(BlacklistedToken)


@admin.register(User)
class PeopleAdmin(UserAdmin, ModelAdmin):
    """Roles are groups; a change reaches open pages at once, which then close or reload."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "first_name", "last_name", "is_active", "is_staff", "last_login")

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        events.roles_changed(form.instance.pk)


@admin.register(Group)
class RoleAdmin(GroupAdmin, ModelAdmin):
    pass


@admin.register(AuditEvent)
class AuditAdmin(LookAdmin):
    list_display = ("at", "actor", "action", "target", "data")
    list_filter = ("action",)
    search_fields = ("target", "actor__username")
    list_select_related = ("actor",)
    date_hierarchy = "at"
