"""The forms of the pages. The new job's fields come out of the catalogues and the specification's schema."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from django import forms
from django.contrib.auth import get_user_model
from pydantic import BaseModel, ValidationError

from fl_server import roles
from fl_server import spec as specification
from fl_server.exceptions import InvalidInput
from fl_server.schema_fields import LabelsField, field_for, labels_of

# Part of the specification → the key that names the chosen entry, and the entries.
CHOICES: dict[str, tuple[str, Mapping[str, Any]]] = {
    "model": ("name", specification.catalogue.MODELS),
    "dataset": ("name", specification.catalogue.DATASETS),
    "partition": ("scheme", specification.catalogue.PARTITIONS),
    "strategy": ("name", specification.strategies_catalog.STRATEGIES),
}


class Section(NamedTuple):
    title: str
    hint: str
    fields: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    prefix: str = ""
    foldable: bool = False


SECTIONS = (
    Section("Model and data", "What is learned, from what.", ("title",), ("model", "dataset", "partition")),
    Section("Rounds", "How the devices’ models become one.", ("rounds", "evaluation"), ("strategy",)),
    Section("Training on each device", "What a device does in a round.", prefix="training."),
    Section("Participation", "How many devices, and how long a round waits.", prefix="participation."),
    Section("The best model", "Which number decides, and which way is better.", prefix="metric."),
    Section(
        "Requirements and order",
        "Which devices fit; who goes first.",
        ("priority", "seed"),
        prefix="requirements.",
        foldable=True,
    ),
    Section("Waiting", "What happens while too few devices fit.", prefix="waiting.", foldable=True),
    Section("Stopping", "When it ends before its last round.", prefix="stopping.", foldable=True),
    Section(
        "Safety of updates",
        "What happens to updates unlike all others.",
        prefix="update_check.",
        foldable=True,
    ),
    Section("Checkpoints", "Which models stay on disk, and how.", prefix="checkpoints.", foldable=True),
)
PLAIN_PARTS = (
    "training",
    "participation",
    "requirements",
    "metric",
    "waiting",
    "stopping",
    "update_check",
    "checkpoints",
)
TOP_LEVEL = ("rounds", "evaluation", "priority", "seed")


def _fields(
    prefix: str, model: type[BaseModel], skip: frozenset[str] = frozenset()
) -> dict[str, forms.Field]:
    schema = model.model_json_schema()
    required = schema.get("required", [])
    shapes = schema.get("properties", {}).items()
    return {
        f"{prefix}{name}": field_for(name, shape, name in required)
        for name, shape in shapes
        if name not in skip
    }


class OptionsForm(forms.Form):
    """The options of one chosen catalogue entry."""

    def __init__(self, part: str, data: Mapping[str, Any]) -> None:
        super().__init__()
        key, entries = CHOICES.get(part, ("", {}))
        self.chosen = entries.get(data.get(f"{part}.{key}", ""))
        if self.chosen is not None:
            self.fields.update(_fields(f"{part}.options.", self.chosen.options))


class JobForm(forms.Form):
    title = forms.CharField(max_length=120, label="Name", help_text="How you and others find the job again.")
    request_key = forms.CharField(max_length=80, widget=forms.HiddenInput, required=False)

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, initial={"request_key": uuid4().hex})
        self.chosen: dict[str, Any] = {}
        defaults = specification.JobSpec.model_fields
        for part, (key, entries) in CHOICES.items():
            default = defaults[part].default
            first = next(iter(entries)) if defaults[part].is_required() else getattr(default, key)
            self._add_choice(part, key, entries, first)
        whole = _fields("", specification.JobSpec, skip=frozenset({*CHOICES, *PLAIN_PARTS, "version"}))
        self.fields.update({name: whole[name] for name in TOP_LEVEL})
        self.fields.update(
            _fields("partition.", specification.Partition, skip=frozenset({"scheme", "options"}))
        )
        for part in PLAIN_PARTS:
            self.fields.update(_fields(f"{part}.", defaults[part].annotation))
        self.fields["metric.name"].label = "Metric"

    def _add_choice(self, part: str, key: str, entries: Mapping[str, Any], first: str) -> None:
        name = f"{part}.{key}"
        choices = [(entry.name, entry.label) for entry in entries.values()]
        described = forms.Select(attrs={"aria-describedby": f"summary-{part}"})
        self.fields[name] = forms.ChoiceField(
            choices=choices, initial=first, label=part.capitalize(), widget=described
        )
        picked = self.data.get(name, first) if self.is_bound else first
        entry = entries.get(picked) or entries[first]
        self.chosen[part] = entry
        self.fields.update(_fields(f"{part}.options.", entry.options))

    @property
    def name(self) -> str:
        return str(self.cleaned_data["title"])

    @property
    def key(self) -> str | None:
        return self.cleaned_data.get("request_key") or None

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        for part, entry in self.chosen.items():
            prefix = f"{part}.options."
            values = {name.removeprefix(prefix): v for name, v in _given(cleaned) if name.startswith(prefix)}
            try:
                entry.options.model_validate(values)
            except ValidationError as exc:
                for fault in exc.errors():
                    self._place(prefix + ".".join(map(str, fault["loc"])), fault["msg"])
        return cleaned

    def spec(self) -> dict[str, Any]:
        """What was filled in, as a specification; what was left empty keeps its default."""
        document: dict[str, Any] = {}
        for name, value in _given(self.cleaned_data):
            if name in ("title", "request_key"):
                continue
            *path, last = name.split(".")
            place = document
            for step in path:
                place = place.setdefault(step, {})
            place[last] = labels_of(value) if last == "labels" else value
        return document

    def add_faults(self, exc: InvalidInput) -> None:
        faults = getattr(exc, "errors", None) or [{"field": exc.field or "", "message": exc.message}]
        for fault in faults:
            self._place("title" if fault["field"] == "name" else fault["field"], fault["message"])

    def _place(self, path: str, message: str) -> None:
        """Put a message beside its field; one about a whole part goes to the field it names first."""
        message = message.removeprefix("Value error, ").replace("Input should be", "It must be")
        named = message.split(" ", 1)[0]
        for name in (path, f"{path}.{named}", named):
            if name in self.fields:
                self.add_error(name, message)
                return
        inside = next((name for name in self.fields if path and name.startswith(f"{path}.")), None)
        self.add_error(inside, message if inside else f"{path}: {message}")

    def sections(self) -> Iterator[dict[str, Any]]:
        """The form in the order in which a person thinks about a job."""
        for section in SECTIONS:
            inside = [n for n in self.fields if section.prefix and n.startswith(section.prefix)]
            plain = [self[name] for name in (*section.fields, *inside)]
            folded = section.foldable and not any(field.errors for field in plain)
            choices = [self._choice(part) for part in section.parts]
            yield {"section": section, "plain": plain, "choices": choices, "folded": folded}

    def _choice(self, part: str) -> dict[str, Any]:
        key, _ = CHOICES[part]
        options = [self[name] for name in self.fields if name.startswith(f"{part}.options.")]
        beside = [self["partition.count"]] if part == "partition" else []
        return {
            "part": part,
            "field": self[f"{part}.{key}"],
            "summary": self.chosen[part].summary,
            "options": options,
            "beside": beside,
        }


def _given(cleaned: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in cleaned.items() if value not in (None, ""))


class CodeForm(forms.Form):
    """A code with which machines join."""

    label = forms.CharField(max_length=80, help_text="For example whose machine it is for.")
    owner = forms.ModelChoiceField(queryset=None, help_text="Who will own the devices that join with it.")
    max_uses = forms.IntegerField(min_value=1, max_value=10_000, initial=1, label="Machines")
    valid_days = forms.IntegerField(min_value=1, max_value=365, initial=7, label="Valid for days")
    approves = forms.BooleanField(
        required=False, label="Approve at once", help_text="Else an admin looks at each device first."
    )

    labels = LabelsField(
        required=False,
        max_length=500,
        help_text="What each device gets, like room=lab, floor=2. Jobs and policies go by labels.",
    )

    def __init__(self, by: Any, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(data, initial={"owner": by.pk, "approves": True})
        people = get_user_model().objects.filter(is_active=True).order_by("username")
        self.fields["owner"].queryset = people
        if not roles.is_admin(by):
            self.fields["owner"].queryset = people.filter(pk=by.pk)
            del self.fields["approves"], self.fields["labels"]

    def order(self) -> dict[str, Any]:
        """The arguments for the service."""
        given = self.cleaned_data
        return {
            "owner": given["owner"],
            "label": given["label"],
            "max_uses": given["max_uses"],
            "valid_for": timedelta(days=given["valid_days"]),
            "approves": given.get("approves", False),
            "labels": labels_of(given.get("labels", "")),
        }
