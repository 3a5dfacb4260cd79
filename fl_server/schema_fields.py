"""JSON schema to form fields. The fields read types; ranges are judged by the models the schema came from."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

LABELS = {
    "gpu": "Needs a GPU",
    "min_ram_gb": "Memory at least, GB",
    "min_cores": "Cores at least",
    "count": "Partitions",
    "holdout": "Local holdout",
    "mu": "μ",
    "eta": "η, server learning rate",
    "tau": "τ",
    "beta_1": "β₁",
    "beta_2": "β₂",
    "grace_seconds": "Grace, seconds",
    "round_deadline_seconds": "Round deadline, seconds",
}
VALUE_LABELS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "nudge": "Nudge (transport test)"}
LABELS_HINT = "Labels that the device must carry, like room=lab, floor=2."


def field_for(name: str, schema: dict[str, Any], required: bool) -> forms.Field:
    """One form field. Left empty it is not sent, so the default of the schema holds."""
    kinds = [schema, *schema.get("anyOf", [])]
    shape = next(kind for kind in kinds if "type" in kind or "enum" in kind) if len(kinds) > 1 else schema
    common = {
        "label": LABELS.get(name, name.replace("_", " ").capitalize()),
        "help_text": schema.get("description", ""),
        "initial": schema.get("default"),
        "required": required,
    }
    if "enum" in shape:
        return _choice(shape["enum"], common)
    kind = shape.get("type")
    if kind == "boolean":
        return forms.BooleanField(**{**common, "required": False})
    if kind == "integer":
        return forms.IntegerField(**common, widget=forms.NumberInput(attrs={"inputmode": "numeric"}))
    if kind == "number":
        return forms.FloatField(
            **common, widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"})
        )
    if kind == "object":
        return LabelsField(**{**common, "initial": "", "help_text": LABELS_HINT})
    return forms.CharField(**common)


def _choice(values: list[str], common: dict[str, Any]) -> forms.ChoiceField:
    pairs = [(value, VALUE_LABELS.get(value, value.replace("-", " ").capitalize())) for value in values]
    if common["initial"] is None:
        pairs = [("", "Choose…"), *pairs]
    return forms.ChoiceField(choices=pairs, **common)


class LabelsField(forms.CharField):
    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        for pair in filter(None, (part.strip() for part in text.split(","))):
            name, separator, wanted = pair.partition("=")
            if not (name.strip() and separator and wanted.strip()):
                raise ValidationError(
                    f"{pair!r} is not a label; write name=value, with commas between labels."
                )
        return text


def labels_of(text: str) -> dict[str, str]:
    """`room=lab, floor=2` as a dictionary."""
    pairs = (part.partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): value.strip() for name, _, value in pairs}
