"""The owner's rules as switches and sliders, which only go to the stricter side of what holds above."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fl_client import rule_text
from fl_client.policy import words
from fl_client.policy.rules import STRICTER, Rules, Stricter

SECTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (
        "When",
        (
            "train_while_in_use",
            "idle_minutes",
            "resume_minutes",
            "hours",
            "stop_starting_minutes",
            "clear_minutes",
            "exclusive_programs",
        ),
    ),
    (
        "How much of it",
        (
            "cores_share_in_use",
            "cores_share_idle",
            "ram_share_in_use",
            "ram_share_idle",
            "leave_ram_free_gb",
            "other_cpu_in_use",
            "other_cpu_idle",
            "nice",
        ),
    ),
    ("Graphics card", ("gpu", "gpu_allow", "gpu_free_gb", "other_gpu")),
    (
        "Power, heat and network",
        (
            "on_battery",
            "battery_floor",
            "max_temperature",
            "metered_networks",
            "networks_denied",
        ),
    ),
)
HINTS = {
    "hours": "Such as: mon-fri: 18:00-08:00; sat-sun: 00:00-24:00",
    "exclusive_programs": "Names with commas between them",
    "networks_denied": "Names with commas between them",
    "gpu_allow": "Numbers with commas between them, or none",
}
# Where a slider ends; what the rules allow beyond it can be typed: constellation policy set.
ENDS = {"leave_ram_free_gb": 64.0, "gpu_free_gb": 48.0}
SCHEMA: Mapping[str, Mapping[str, Any]] = Rules.model_json_schema()["properties"]
GPU_WORDS = {"never": "Never", "idle": "Only while I am away"}


@dataclass(frozen=True)
class Control:
    name: str
    title: str
    description: str
    kind: str  # range, choice or text
    above: str  # what the layers above say, in words
    value: str  # as the form shows it; the loosest means: as above
    loose: str = ""
    unit: str = ""
    low: str = ""
    high: str = ""
    step: str = "1"
    rising: bool = True  # a larger number is stricter
    choices: tuple[tuple[str, str], ...] = field(default=())
    hint: str = ""

    @property
    def fixed(self) -> bool:
        """Nothing stricter exists."""
        return self.low == self.high if self.kind == "range" else self.kind == "choice" and not self.choices


def sections(owner: Rules, above: Rules) -> Iterator[tuple[str, list[Control]]]:
    for title, names in SECTIONS:
        yield title, [control(name, owner, above) for name in names]


def control(name: str, owner: Rules, above: Rules) -> Control:
    way, bound, mine = STRICTER[name], getattr(above, name), getattr(owner, name)
    common: dict[str, Any] = {
        "name": name,
        "title": words.title(name).partition(" (")[0],
        "description": SCHEMA[name]["description"],
        "above": words.value(bound),
        "hint": HINTS.get(name, ""),
    }
    if way in (Stricter.LARGER, Stricter.SMALLER):
        shape = _range(name, way is Stricter.LARGER, mine, bound)
        if bound is not None:
            common["above"] += shape["unit"]
        return Control(kind="range", **common, **shape)
    if way in (Stricter.BOTH, Stricter.EARLIER):
        choices = _choices(way, bound)
        value = rule_text.said(mine)
        shown = value if value in dict(choices) else ""
        return Control(kind="choice", **common, value=shown, choices=choices)
    return Control(kind="text", **common, value=rule_text.said(mine))


def applied(form: Mapping[str, str], owner: Rules, above: Rules) -> Rules:
    """The owner's rules after the form. A control that was not moved changes nothing, whatever it shows."""
    texts = {}
    for _, controls in sections(owner, above):
        for each in controls:
            text = form.get(each.name, each.value).strip()
            if text != each.value:
                texts[each.name] = "" if text == each.loose else text
    return rule_text.with_values(owner, texts)


def _range(name: str, rising: bool, mine: float | None, bound: float | None) -> dict[str, Any]:
    shape = next(part for part in SCHEMA[name]["anyOf"] if part["type"] != "null")
    least, most = float(shape["minimum"]), float(shape["maximum"])
    # What is set already stays in reach.
    most = min(most, max(ENDS.get(name, most), bound or 0.0, mine or 0.0))
    low, high = (bound if bound is not None and rising else least), most
    if bound is not None and not rising:
        high = bound
    loose = low if rising else high
    value = loose if mine is None else min(max(mine, low), high)
    return {
        "value": f"{value:g}",
        "loose": f"{loose:g}",
        "low": f"{low:g}",
        "high": f"{high:g}",
        "step": "0.5" if shape["type"] == "number" else "1",
        "rising": rising,
        "unit": _unit(name),
    }


def _choices(way: Stricter, bound: object) -> tuple[tuple[str, str], ...]:
    """Those stricter than what holds above; `no` and `never` leave none."""
    if way is Stricter.BOTH:
        return () if bound is False else (("no", "No"),)
    allowed = {"never": (), "idle": ("never",)}.get(str(bound), ("never", "idle"))
    return tuple((choice, GPU_WORDS[choice]) for choice in allowed)


def _unit(name: str) -> str:
    if name == "nice":
        return ""
    ends = {"_minutes": " min", "_gb": " GB", "_temperature": " °C"}
    return next((unit for end, unit in ends.items() if name.endswith(end)), " %")
