from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold import widgets

from fl_server import labels, roles
from fl_server.admin.base import LookAdmin
from fl_server.exceptions import InvalidInput
from fl_server.models import Policy
from fl_server.rules_form import SECTIONS, RulesForm, filled
from fl_server.selectors import policies as selectors
from fl_server.services import policies

LABEL = ("label_name", "label_value")
LOOKS: dict[type[forms.Widget], type[forms.Widget]] = {
    forms.NumberInput: widgets.UnfoldAdminIntegerFieldWidget,
    forms.Textarea: widgets.UnfoldAdminTextareaWidget,
    forms.TextInput: widgets.UnfoldAdminTextInputWidget,
}


class PolicyForm(RulesForm, forms.ModelForm):
    class Meta:
        model = Policy
        fields = LABEL

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial |= filled(self.instance.rules)
        for name in filled({}):
            field = self.fields[name]
            if isinstance(field, forms.ChoiceField):
                field.widget = widgets.UnfoldAdminSelectWidget(choices=field.choices)
            else:
                field.widget = LOOKS[type(field.widget)](attrs=field.widget.attrs)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("label_name") or cleaned.get("label_value"):
            try:
                labels.check(cleaned.get("label_name"), cleaned.get("label_value"))
            except InvalidInput as exc:
                self.add_faults(exc)
        return cleaned


@admin.register(Policy)
class PolicyAdmin(LookAdmin):
    """The company's rules, which have no label, and those of groups."""

    form = PolicyForm
    list_display = ("__str__", "sentence", "updated_at", "updated_by")
    list_select_related = ("updated_by",)
    fieldsets = (
        (None, {"fields": (LABEL,), "description": "No label: the rules of the whole company."}),
        *((part.title, {"fields": part.fields, "description": part.hint}) for part in SECTIONS),
    )

    @admin.display(description="Rule")
    def sentence(self, policy: Policy) -> str:
        return selectors.sentence(policy)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return roles.is_admin(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Policy | None = None) -> bool:
        return roles.is_admin(request.user)

    def has_delete_permission(self, request: HttpRequest, obj: Policy | None = None) -> bool:
        return roles.is_admin(request.user) and (obj is None or bool(obj.label_name))

    def get_readonly_fields(self, request: HttpRequest, obj: Policy | None = None) -> tuple[str, ...]:
        return LABEL if obj else ()

    def get_form(
        self, request: HttpRequest, obj: Policy | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Only the label is the model's; the form itself adds a field for each rule."""
        return super().get_form(request, obj, change, **{**kwargs, "fields": LABEL})

    def save_model(self, request: HttpRequest, obj: Policy, form: PolicyForm, change: bool) -> None:
        if obj.label_name:
            saved = policies.set_group(request.user, obj.label_name, obj.label_value, form.rules())
        else:
            saved = policies.set_company(request.user, form.rules())
        obj.pk = saved.pk

    def delete_model(self, request: HttpRequest, obj: Policy) -> None:
        policies.remove_group(request.user, obj.label_name, obj.label_value)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Policy]) -> None:
        self.for_each(request, queryset, "removed", lambda policy: self.delete_model(request, policy))
