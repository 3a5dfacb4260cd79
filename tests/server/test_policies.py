"""The three layers of rules on the server: who may set them, what is kept, who hears of it."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server import events
from fl_server.exceptions import InvalidInput, NotAllowed, NotFound
from fl_server.models import AuditEvent, Device, Policy
from fl_server.rules import COMPANY_DEFAULTS, Rules, stored
from fl_server.selectors import policies as selectors
from fl_server.services import devices, policies
from tests.server.world import World, device

pytestmark = [pytest.mark.services, pytest.mark.django_db]

DEFAULTS = stored(COMPANY_DEFAULTS)
Told = list[tuple[Any, dict[str, Any]]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    """What goes to which device's socket."""
    heard: Told = []
    monkeypatch.setattr(events, "tell_device", lambda key, **message: heard.append((key, message)))
    return heard


@pytest.fixture
def committed(django_capture_on_commit_callbacks: Any) -> Iterator[Any]:
    def run() -> Any:
        return django_capture_on_commit_callbacks(execute=True)

    return run


def last_event() -> AuditEvent:
    found = AuditEvent.objects.order_by("id").last()
    assert found is not None
    return found


def test_before_anybody_sets_a_policy_the_defaults_hold(world: World) -> None:
    assert selectors.told(world.training) == {"company": DEFAULTS, "group": {}}
    assert selectors.effective(world.training) == COMPANY_DEFAULTS
    assert selectors.company()["is_default"]


def test_an_empty_policy_restricts_nothing_unlike_none(world: World) -> None:
    policies.set_company(world.admin, {})
    assert Policy.objects.get().rules == {}
    assert selectors.effective(world.training) == Rules()
    assert not selectors.company()["is_default"]


def test_setting_the_company_s_rules_is_audited_with_what_changed(world: World) -> None:
    policies.set_company(world.admin, DEFAULTS | {"idle_minutes": 30})
    event = last_event()
    assert (event.actor, event.action) == (world.admin, "policy.set")
    assert event.data == {"of": "the company", "changes": ["Quiet minutes before training: 15 → 30"]}
    assert Policy.objects.get().updated_by == world.admin


def test_setting_the_same_rules_again_changes_and_notes_nothing(
    world: World, told: Told, committed: Any
) -> None:
    policies.set_company(world.admin, {"idle_minutes": 30})
    with committed():
        policies.set_company(world.admin, {"idle_minutes": 30})
    assert AuditEvent.objects.count() == 1
    assert told == []


@pytest.mark.parametrize("who", ["researcher", "viewer", "owner", "outsider"])
def test_only_admins_set_the_policy(world: World, who: str) -> None:
    by = world.people[who]
    for call in (
        lambda: policies.set_company(by, {}),
        lambda: policies.set_group(by, "room", "lab", {}),
        lambda: policies.remove_group(by, "room", "lab"),
        lambda: devices.relabel(world.training, by, {}),
    ):
        with pytest.raises(NotAllowed):
            call()
    assert not Policy.objects.exists()
    assert not AuditEvent.objects.exists()


def test_every_fault_is_named_with_its_field_its_value_and_what_is_allowed(world: World) -> None:
    wrong = {"idle_minutes": 500, "gpu": "sometimes", "hours": {"mon": ["25:00-26:00"]}, "typo": 1}
    with pytest.raises(InvalidInput) as caught:
        policies.set_company(world.admin, wrong)
    faults = {fault["field"]: fault for fault in caught.value.details["errors"]}
    assert set(faults) == {"idle_minutes", "gpu", "hours", "typo"}
    assert faults["idle_minutes"]["value"] == 500
    assert "240" in faults["idle_minutes"]["message"]
    assert "'never', 'idle' or 'always'" in faults["gpu"]["message"]
    assert "allowed are train_while_in_use" in faults["typo"]["message"]
    assert not Policy.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        "idle",
        {"idle_minutes": 5, "resume_minutes": 10},
        {"exclusive_programs": [f"program-{n}" for n in range(3000)]},
        {"exclusive_programs": ["game\x00"]},
    ],
    ids=["nothing", "a list", "a word", "a contradiction", "too long", "an unstorable sign"],
)
def test_what_is_no_set_of_rules_is_refused(world: World, wrong: Any) -> None:
    with pytest.raises(InvalidInput):
        policies.set_company(world.admin, wrong)


@pytest.mark.parametrize(
    ("name", "value"),
    [("", "lab"), ("room", ""), ("a=b", "lab"), ("a/b", "lab"), ("n" * 41, "lab"), ("a", "v" * 81)],
)
def test_rules_of_a_group_need_a_label(world: World, name: str, value: str) -> None:
    with pytest.raises(InvalidInput):
        policies.set_group(world.admin, name, value, {})


def test_all_groups_of_a_device_count_and_other_groups_do_not(world: World) -> None:
    devices.relabel(world.training, world.admin, {"room": "lab", "floor": "2"})
    policies.set_company(world.admin, {})
    policies.set_group(world.admin, "room", "lab", {"idle_minutes": 20})
    policies.set_group(world.admin, "floor", "2", {"idle_minutes": 10, "gpu": "never"})
    policies.set_group(world.admin, "room", "hall", {"idle_minutes": 240})
    assert selectors.told(world.training)["group"] == {"idle_minutes": 20, "gpu": "never"}
    assert selectors.told(world.foreign_device)["group"] == {}


def test_a_device_s_layers_say_what_its_owner_allows_in_vain(world: World) -> None:
    policies.set_group(world.admin, "room", "lab", {"gpu": "never"})
    world.training.owner_rules = {"idle_minutes": 5, "on_battery": False, "gpu": "always"}
    layers = selectors.layers(world.training)
    assert layers["effective"]["rules"] == DEFAULTS | {"gpu": "never"}
    assert layers["group"]["labels"] == ["room=lab"]
    assert layers["owner"]["sentence"].startswith("Trains whenever there is work")
    assert [note.split(":")[0] for note in layers["loosened"]] == ["Quiet minutes before training", "GPU"]


def test_many_devices_cost_no_further_query(world: World, django_assert_num_queries: Any) -> None:
    policies.set_group(world.admin, "room", "lab", {"gpu": "never"})
    fleet = list(Device.objects.all()) * 10
    with django_assert_num_queries(1):
        above = selectors.above()
        found = [above.effective(each) for each in fleet]
    assert len(found) == 30


def test_a_change_of_the_company_s_rules_reaches_the_connected_devices_only(
    world: World, told: Told, committed: Any
) -> None:
    now = timezone.now()
    device(world.owner, "left", last_seen=now - timedelta(seconds=1), disconnected_at=now)
    device(world.owner, "revoked", Device.Status.REVOKED, last_seen=now)
    waiting = device(world.owner, "new", Device.Status.PENDING, last_seen=now)
    with committed():
        policies.set_company(world.admin, {"gpu": "never"})
    message = {"type": "policy", "company": {"gpu": "never"}, "group": {}}
    assert len(told) == 2
    assert dict(told) == {world.training.pk: message, waiting.pk: message}


def test_a_change_of_a_group_s_rules_reaches_its_devices_in_one_query(
    world: World, told: Told, committed: Any, django_assert_num_queries: Any
) -> None:
    now = timezone.now()
    for number in range(5):
        device(world.owner, f"lab-{number}", last_seen=now, labels={"room": "lab"})
    device(world.owner, "hall", last_seen=now, labels={"room": "hall"})
    with committed() as callbacks:
        policies.set_group(world.admin, "room", "lab", {"gpu": "never"})
    assert len(told) == 6
    assert {message["group"]["gpu"] for _, message in told} == {"never"}
    with django_assert_num_queries(2):
        callbacks[-1]()


def test_rules_of_a_group_that_go_are_audited_and_told(world: World, told: Told, committed: Any) -> None:
    policies.set_group(world.admin, "room", "lab", {"gpu": "never"})
    with committed():
        policies.remove_group(world.admin, "room", "lab")
    assert told == [(world.training.pk, {"type": "policy", "company": DEFAULTS, "group": {}})]
    event = last_event()
    assert event.action == "policy.remove"
    assert event.data == {"of": "room=lab", "changes": ["GPU: never → not set"]}
    with pytest.raises(NotFound):
        policies.remove_group(world.admin, "room", "lab")


def test_the_company_s_rules_cannot_be_removed_as_a_group(world: World) -> None:
    policies.set_company(world.admin, {})
    with pytest.raises(NotFound):
        policies.remove_group(world.admin, "", "")


def test_new_labels_are_audited_and_the_device_hears_its_new_rules(
    world: World, told: Told, committed: Any
) -> None:
    policies.set_group(world.admin, "room", "hall", {"gpu": "never"})
    with committed():
        devices.relabel(world.training, world.admin, {"room": "hall"})
    assert told == [(world.training.pk, {"type": "policy", "company": DEFAULTS, "group": {"gpu": "never"}})]
    event = last_event()
    assert event.action == "device.relabel"
    assert (event.data["before"], event.data["after"]) == ({"room": "lab"}, {"room": "hall"})


@pytest.mark.parametrize(
    "wrong", [{"": "x"}, {"a": ""}, {"a": 1}, {"a,b": "c"}, {f"n{i}": "x" for i in range(51)}, []]
)
def test_labels_that_make_no_sense_are_refused(world: World, wrong: Any) -> None:
    with pytest.raises(InvalidInput):
        devices.relabel(world.training, world.admin, wrong)


def test_an_owner_s_rules_are_kept_and_audited_when_they_change(world: World) -> None:
    policies.owner_changed(world.training, {"idle_minutes": 60})
    policies.owner_changed(world.training, {"idle_minutes": 60})
    world.training.refresh_from_db()
    assert world.training.owner_rules == {"idle_minutes": 60}
    event = AuditEvent.objects.get()
    assert (event.actor, event.action) == (world.owner, "device.rules")
    assert event.data["changes"] == ["Quiet minutes before training: not set → 60"]


def test_rules_of_a_newer_client_count_as_far_as_they_are_known(world: World) -> None:
    policies.owner_changed(world.training, {"idle_minutes": 60, "moon_phase": "full"})
    world.training.refresh_from_db()
    assert world.training.owner_rules == {"idle_minutes": 60}


def test_an_owner_s_nonsense_is_refused_and_what_was_known_stays(world: World) -> None:
    policies.owner_changed(world.training, {"idle_minutes": 60})
    with pytest.raises(InvalidInput):
        policies.owner_changed(world.training, {"idle_minutes": "soon"})
    world.training.refresh_from_db()
    assert world.training.owner_rules == {"idle_minutes": 60}


def test_a_revoked_device_changes_nothing(world: World) -> None:
    devices.revoke(world.training, world.admin, "lost")
    policies.owner_changed(world.training, {"idle_minutes": 60})
    world.training.refresh_from_db()
    assert world.training.owner_rules == {}
