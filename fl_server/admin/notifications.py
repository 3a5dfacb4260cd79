from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest

from fl_server import roles
from fl_server.admin.base import LookAdmin
from fl_server.exceptions import InvalidInput
from fl_server.models import Alert, AlertRule, Delivery, Notification, Webhook
from fl_server.services import alert_rules


@admin.register(Notification)
class NotificationAdmin(LookAdmin):
    list_display = ("title", "user", "kind", "at", "read_at")
    list_filter = ("kind",)
    search_fields = ("title", "user__username")
    list_select_related = ("user",)


@admin.register(Delivery)
class DeliveryAdmin(LookAdmin):
    list_display = ("notification", "way", "attempts", "due_at", "delivered_at", "error")
    list_filter = ("way",)
    list_select_related = ("notification",)


@admin.register(Webhook)
class WebhookAdmin(LookAdmin):
    """That there is one; its address and secret are its owner's."""

    list_display = ("user", "created_at")
    list_select_related = ("user",)
    fields = ("user", "created_at")


class RuleForm(ModelForm):
    class Meta:
        model = AlertRule
        fields = alert_rules.FIELDS

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            try:
                alert_rules.check(AlertRule(**cleaned))
            except InvalidInput as exc:
                raise ValidationError({exc.field: exc.message}) from exc
        return cleaned


@admin.register(AlertRule)
class AlertRuleAdmin(LookAdmin):
    form = RuleForm
    list_display = ("__str__", "clear_below", "enabled")
    list_filter = ("metric", "enabled")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return roles.is_admin(request.user)

    def has_change_permission(self, request: HttpRequest, obj: AlertRule | None = None) -> bool:
        return roles.is_admin(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: AlertRule | None = None) -> bool:
        return roles.is_admin(request.user)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A rule's alerts go with it, although nobody removes one by itself."""
        found, counts, _, protected = super().get_deleted_objects(objs, request)
        return found, counts, set(), protected

    def save_model(self, request: HttpRequest, obj: AlertRule, form: RuleForm, change: bool) -> None:
        given = form.cleaned_data
        if change:
            alert_rules.change(AlertRule.objects.get(pk=obj.pk), request.user, **given)
        else:
            obj.pk = alert_rules.create(request.user, **given).pk

    def delete_model(self, request: HttpRequest, obj: AlertRule) -> None:
        alert_rules.remove(obj, request.user)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[AlertRule]) -> None:
        self.for_each(request, queryset, "removed", lambda rule: alert_rules.remove(rule, request.user))


@admin.register(Alert)
class AlertAdmin(LookAdmin):
    list_display = ("device", "rule", "began_at", "cleared_at", "value")
    list_filter = ("rule__metric",)
    search_fields = ("device__name",)
    list_select_related = ("device", "rule")
