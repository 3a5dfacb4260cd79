"""JSON schema to form fields. The fields read types; ranges are judged by the models the schema came from."""

from itertools import groupby
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

LABELS = {
    "gpu": "Needs a GPU",
    "min_ram_gb": "Memory at least, GB",
    "min_gpu_memory_gb": "Free GPU memory at least, GB",
    "memory_gb": "Memory for training, GB",
    "min_client_version": "Client version at least",
    "patience": "Rounds without improvement",
    "min_delta": "Least improvement",
    "deadline_hours": "Deadline, hours",
    "attempts": "Attempts without a new round",
    "give_up_hours": "Gives up after, hours",
    "keep_last": "Keep the last",
    "keep_every": "Keep every",
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
VALUE_LABELS = {
    "sgd": "SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "nudge": "Nudge (transport test)",
    "idle": "Only while the owner is away",
}
LABELS_HINT = "Labels that the device must carry, like room=lab, floor=2."
UNSET = "Not set"
NONE, NEVER = "none", "never"  # an empty list or week, which an empty field is not


def label_of(name: str) -> str:
    return LABELS.get(name, name.replace("_", " ").capitalize())


def field_for(name: str, schema: dict[str, Any], required: bool) -> forms.Field:
    """One form field. Left empty it is not sent, so the default of the schema holds."""
    kinds = [schema, *schema.get("anyOf", [])]
    shape = next(kind for kind in kinds if "type" in kind or "enum" in kind) if len(kinds) > 1 else schema
    common = {
        "label": label_of(name),
        "help_text": schema.get("description", ""),
        "initial": schema.get("default"),
        "required": required,
    }
    if "enum" in shape:
        return _choice(shape["enum"], common)
    kind = shape.get("type")
    if kind == "boolean":
        return _yes_or_no(common) if len(kinds) > 1 else forms.BooleanField(**{**common, "required": False})
    if kind == "integer":
        return forms.IntegerField(**common, widget=forms.NumberInput(attrs={"inputmode": "numeric"}))
    if kind == "number":
        return forms.FloatField(
            **common, widget=forms.NumberInput(attrs={"step": "any", "inputmode": "decimal"})
        )
    if kind == "array":
        return ListField(**{**common, "initial": common["initial"] or None})
    if "enum" in shape.get("propertyNames", {}):
        return WeekField(shape["propertyNames"]["enum"], **common)
    if kind == "object":
        return LabelsField(**{**common, "initial": "", "help_text": LABELS_HINT})
    return forms.CharField(**common)


def _choice(values: list[str], common: dict[str, Any]) -> forms.ChoiceField:
    pairs = [(value, VALUE_LABELS.get(value, value.replace("-", " ").capitalize())) for value in values]
    if common["initial"] is None:
        pairs = [("", "Choose…" if common["required"] else UNSET), *pairs]
    return forms.ChoiceField(choices=pairs, **common)


def _yes_or_no(common: dict[str, Any]) -> forms.ChoiceField:
    """Three answers: a box that is not ticked would say no where nothing was said."""
    pairs = [("", UNSET), ("True", "Yes"), ("False", "No")]
    return forms.TypedChoiceField(
        choices=pairs, coerce=lambda text: text == "True", empty_value=None, **common
    )


class ListField(forms.CharField):
    """Entries with commas between them."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return ", ".join(map(str, value)) or NONE
        return value

    def clean(self, value: Any) -> list[str] | None:
        text = super().clean(value)
        entries = [entry.strip() for entry in text.split(",") if entry.strip()]
        if [entry.lower() for entry in entries] == [NONE]:
            return []
        return entries or None


class WeekField(forms.CharField):
    """Windows of time for each day of the week, a line for each run of days: `mon-fri: 18:00-08:00`."""

    widget = forms.Textarea(attrs={"rows": 4, "placeholder": "mon-fri: 18:00-08:00\nsat-sun: 00:00-24:00"})

    def __init__(self, days: list[str], **common: Any) -> None:
        super().__init__(**common)
        self.days = days

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        texts = [(day, ", ".join(value.get(day, ()))) for day in self.days]
        runs = [(text, [day for day, _ in run]) for text, run in groupby(texts, key=lambda pair: pair[1])]
        lines = [f"{'-'.join(dict.fromkeys((run[0], run[-1])))}: {text}" for text, run in runs if text]
        return "\n".join(lines) or NEVER

    def clean(self, value: Any) -> dict[str, list[str]] | None:
        text = super().clean(value).lower()
        if not text or text == NEVER:
            return {} if text else None
        week: dict[str, list[str]] = {}
        for line in filter(None, map(str.strip, text.splitlines())):
            days, _, text = line.partition(":")
            windows = [part.strip() for part in text.split(",") if part.strip()]
            first, _, last = (day.strip() for day in days.partition("-"))
            if first not in self.days or (last and last not in self.days) or not windows:
                raise ValidationError(
                    f"{line!r} does not name days and windows; write a line like mon: 18:00-24:00 or "
                    f"mon-fri: 18:00-08:00, or just {NEVER}."
                )
            for day in self._run(first, last or first):
                week.setdefault(day, []).extend(windows)
        return week

    def _run(self, first: str, last: str) -> list[str]:
        start, end = self.days.index(first), self.days.index(last)
        return self.days[start : end + 1] if start <= end else self.days[start:] + self.days[: end + 1]


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
