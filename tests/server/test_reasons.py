import pytest

from fl_client.policy.reasons import Code
from fl_server import reasons
from fl_server.models import Device
from tests.server.world import World, client

pytestmark = [pytest.mark.services, pytest.mark.django_db]

SENTENCE = "Doom is running"
ADDRESS = "/api/v1/devices"


def paused(device: Device, codes: list[str]) -> Device:
    device.may_train, device.may_start = False, False
    device.decision_codes, device.decision_reason = codes, SENTENCE
    device.save()
    return device


def test_every_reason_of_the_client_has_general_words() -> None:
    assert set(reasons.GENERAL) == {code.value for code in Code}


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (["program-running", "cpu-busy"], "runs a program that needs it whole"),
        (["a-newer-code"], reasons.UNKNOWN),
        ([], reasons.UNKNOWN),
    ],
)
def test_the_most_important_code_is_told_in_general_words(codes: list[str], words: str) -> None:
    assert reasons.general(codes) == words


@pytest.mark.parametrize("who", ["viewer", "researcher", "admin"])
def test_only_the_owner_reads_the_devices_own_sentence(world: World, who: str) -> None:
    device = paused(world.training, ["program-running"])
    assert reasons.shown_to(world.owner, device) == f"{SENTENCE}."
    for person in (world.owner, world.people[who]):
        shown = client(person).get(f"{ADDRESS}/{device.pk}").content.decode()
        assert (SENTENCE in shown) is (person == world.owner)
    assert "It runs a program that needs it whole." in shown


def test_nothing_is_said_where_nothing_is_in_the_way(world: World) -> None:
    assert reasons.shown_to(world.owner, world.training) == ""


def test_a_device_that_starts_nothing_new_says_why(world: World) -> None:
    world.training.may_start = False
    world.training.decision_codes = ["no-new-work"]
    assert reasons.shown_to(world.viewer, world.training) == "It starts nothing new before its hours end."
