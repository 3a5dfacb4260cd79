"""The form of one layer of the policy. Its fields come out of the schema of the rules."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django import forms

from fl_server import labels, rules
from fl_server.exceptions import InvalidInput
from fl_server.models import Policy
from fl_server.rules import Rules
from fl_server.schema_fields import field_for


class Section(NamedTuple):
    title: str
    hint: str
    fields: tuple[str, ...]


SECTIONS = (
    Section(
        "While somebody is there",
        "Who uses the machine comes first.",
        ("train_while_in_use", "idle_minutes", "resume_minutes"),
    ),
    Section(
        "Hours",
        "As the clock on the machine’s wall shows them.",
        ("hours", "stop_starting_minutes", "clear_minutes"),
    ),
    Section(
        "Power and heat",
        "What a machine on battery, or a hot one, does.",
        ("on_battery", "battery_floor", "max_temperature"),
    ),
    Section(
        "Processor and memory",
        "How much training takes, and when other programs need it more.",
        (
            "other_cpu_in_use",
            "other_cpu_idle",
            "cores_share_in_use",
            "cores_share_idle",
            "ram_share_in_use",
            "ram_share_idle",
            "leave_ram_free_gb",
            "nice",
        ),
    ),
    Section("GPU", "Which of them, and when.", ("gpu", "gpu_allow", "gpu_free_gb", "other_gpu")),
    Section(
        "Programs and networks",
        "What stops training at once.",
        ("exclusive_programs", "metered_networks", "networks_denied"),
    ),
)
WIDE = ("hours",)


def _rule_fields() -> dict[str, forms.Field]:
    shapes = Rules.model_json_schema()["properties"]
    fields = {}
    for name, shape in shapes.items():
        fields[name] = field_for(name, shape, required=False)
        fields[name].label = Rules.model_fields[name].title
    for name in ("exclusive_programs", "networks_denied", "gpu_allow"):
        fields[name].help_text += " Commas between them."
    fields["hours"].help_text = (
        "Windows of the machine’s local time, a line for each day or run of days, like mon-fri: 18:00-08:00. "
        "A day that is not named is closed. Empty: always."
    )
    return fields


class RulesForm(forms.Form):
    """What is left empty, the layer does not say."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields.update(_rule_fields())

    def rules(self) -> dict[str, Any]:
        given = {name: self.cleaned_data.get(name) for name in Rules.model_fields}
        return {name: value for name, value in given.items() if value not in (None, "")}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        try:
            rules.parse(self.rules())
        except InvalidInput as exc:
            self.add_faults(exc)
        return cleaned

    def add_faults(self, exc: InvalidInput) -> None:
        """Put each message beside its field; one about the whole goes to the field that it names first."""
        for fault in exc.details.get("errors") or [{"field": exc.field, "message": exc.message}]:
            message = fault["message"].replace("Input should be", "It must be")
            named = (fault["field"].split(".")[0], message.split(" ", 1)[0])
            self.add_error(next((name for name in named if name in self.fields), None), message)

    def sections(self) -> Iterator[dict[str, Any]]:
        for section in SECTIONS:
            fields = [(self[name], name in WIDE) for name in section.fields]
            yield {"title": section.title, "hint": section.hint, "fields": fields}


class NewGroupForm(RulesForm):
    label_name = forms.CharField(max_length=40, label="Label", help_text="Like room.")
    label_value = forms.CharField(max_length=80, label="Value", help_text="Like lab.")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        label = {name: cleaned.get(name, "") for name in ("label_name", "label_value")}
        if all(label.values()):
            try:
                labels.check(**{name.removeprefix("label_"): value for name, value in label.items()})
            except InvalidInput as exc:
                self.add_faults(exc)
            if Policy.objects.filter(**label).exists():
                self.add_error("label_value", "This group has rules already; change those.")
        return cleaned


def filled(policy_rules: dict[str, Any]) -> dict[str, Any]:
    """The values with which a form starts. One gigabyte is 1, not 1.0."""
    given = {name: policy_rules.get(name, "") for name in Rules.model_fields}
    return {n: int(v) if isinstance(v, float) and v.is_integer() else v for n, v in given.items()}
