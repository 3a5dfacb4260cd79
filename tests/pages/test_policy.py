"""The policy's pages: who reads, who changes, what a form takes."""

from typing import Any

import pytest
from django import forms
from django.urls import reverse

from fl_server.models import AuditEvent, Policy
from fl_server.rules import Rules
from fl_server.rules_form import SECTIONS, RulesForm, filled
from fl_server.services import policies
from tests.pages.visitor import browser
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]

EVERYTHING: dict[str, Any] = {
    "train_while_in_use": False,
    "idle_minutes": 20,
    "gpu_allow": [0, 2],
    "gpu": "idle",
    "leave_ram_free_gb": 1.5,
    "exclusive_programs": ["game", "zoom"],
    "hours": {
        "mon": ["00:00-08:00", "18:00-24:00"],
        "tue": ["00:00-08:00", "18:00-24:00"],
        "sun": ["00:00-24:00"],
    },
}


def bound(**data: str) -> RulesForm:
    return RulesForm(data)


def as_posted(form: forms.Form) -> dict[str, str]:
    """What a browser sends of a form that nobody touched."""
    return {field.name: str(field.value()) for field in form if field.value() is not None}


def test_every_rule_has_one_place_in_the_form() -> None:
    placed = [name for section in SECTIONS for name in section.fields]
    assert len(placed) > 20
    assert sorted(placed) == sorted(Rules.model_fields)


@pytest.mark.parametrize("rules", [{}, EVERYTHING, {"hours": {}}, {"gpu_allow": []}], ids=str)
def test_a_form_that_nobody_touched_changes_nothing(rules: dict[str, Any]) -> None:
    form = RulesForm(as_posted(RulesForm(initial=filled(rules))))
    assert form.is_valid(), form.errors
    assert Rules.model_validate(form.rules()) == Rules.model_validate(rules)


@pytest.mark.parametrize(
    ("text", "week"),
    [
        ("mon: 18:00-24:00", {"mon": ["18:00-24:00"]}),
        (
            "Mon-Wed: 18:00-08:00, 12:00-13:00",
            {day: ["18:00-08:00", "12:00-13:00"] for day in ("mon", "tue", "wed")},
        ),
        (
            "sun-mon: 00:00-24:00\n\nmon: 08:00-09:00",
            {"sun": ["00:00-24:00"], "mon": ["00:00-24:00", "08:00-09:00"]},
        ),
        ("never", {}),
        ("", None),
    ],
)
def test_hours_are_written_in_lines(text: str, week: dict[str, list[str]] | None) -> None:
    form = bound(hours=text)
    assert form.is_valid(), form.errors
    assert form.rules().get("hours") == week


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("hours", "someday: 18:00-24:00", "does not name days"),
        ("hours", "mon: 18-24", "is not a window"),
        ("hours", "mon", "does not name days"),
        ("idle_minutes", "500", "It must be less than or equal to 240"),
        ("gpu_allow", "first", "It must be a valid integer"),
        ("gpu", "sometimes", "not one of the available choices"),
    ],
)
def test_a_fault_stands_beside_its_field(field: str, text: str, said: str) -> None:
    form = bound(**{field: text})
    assert set(form.errors) == {field}
    assert said in form.errors[field][0]


def test_a_contradiction_stands_beside_the_field_that_it_names() -> None:
    assert set(bound(idle_minutes="5", resume_minutes="10").errors) == {"resume_minutes"}


def test_an_admin_changes_the_company_s_rules_on_the_page(world: World) -> None:
    client = browser(world.admin)
    page = client.get(reverse("policy-company")).content.decode()
    assert 'name="idle_minutes" value="15"' in page
    answer = client.post(reverse("policy-company"), {"gpu": "never"}, follow=True)
    assert "Trains whenever there is work; never the GPU." in answer.content.decode()
    assert AuditEvent.objects.get().action == "policy.set"


def test_a_form_left_empty_restricts_nothing(world: World) -> None:
    browser(world.admin).post(reverse("policy-company"), {})
    assert Policy.objects.get().rules == {}


def test_an_admin_adds_changes_and_removes_a_group(world: World) -> None:
    client = browser(world.admin)
    label = {"label_name": "room", "label_value": "lab"}
    client.post(reverse("policy-group-new"), {**label, "gpu": "never"})
    policy = Policy.objects.get()
    assert (str(policy), policy.rules) == ("room=lab", {"gpu": "never"})
    again = client.post(reverse("policy-group-new"), label)
    assert (again.status_code, "has rules already" in again.content.decode()) == (400, True)
    client.post(reverse("policy-group", args=(policy.pk,)), {"gpu": "idle"})
    policy.refresh_from_db()
    assert policy.rules == {"gpu": "idle"}
    client.post(reverse("policy-group-remove", args=(policy.pk,)))
    assert not Policy.objects.exists()


def test_a_group_needs_a_label(world: World) -> None:
    answer = browser(world.admin).post(reverse("policy-group-new"), {"label_name": "a=b", "label_value": "c"})
    assert answer.status_code == 400
    assert "without" in answer.content.decode()
    assert not Policy.objects.exists()


def test_others_read_the_sentences_and_find_no_button(world: World) -> None:
    policies.set_group(world.admin, "room", "lab", {"gpu": "never"})
    policies.set_group(world.admin, "room", "hall", {"gpu": "idle"})
    shown = {name: browser(by).get(reverse("policy")).content.decode() for name, by in world.people.items()}
    assert "room=hall" in shown["viewer"]
    assert "Trains when nobody has used this machine for 15 minutes" in shown["owner"]
    assert "room=lab" in shown["owner"]
    assert "room=hall" not in shown["owner"]
    for name in ("viewer", "researcher", "owner"):
        assert "Change<" not in shown[name]
    assert "Change<" in shown["admin"]


def test_the_page_of_a_device_says_when_it_trains_and_what_its_owner_allows_in_vain(world: World) -> None:
    policies.set_group(world.admin, "room", "lab", {"gpu": "never"})
    policies.owner_changed(world.training, {"on_battery": True})
    page = browser(world.owner).get(reverse("device", args=(world.training.pk,))).content.decode()
    assert "When it trains" in page
    assert "room=lab" in page
    assert "never the GPU." in page
    assert "Train on battery: you say yes, the rules above you say no" in page
