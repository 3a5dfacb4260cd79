import pytest
from django.urls import reverse

from tests.pages.visitor import browser
from tests.server.test_contributions import given
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]


@pytest.fixture
def ledger(world: World) -> World:
    given(world.owner, world.training, job=world.running, seconds=7200.0)
    given(world.owner, world.training, energy_wh=2.5)
    given(world.foreign_device.owner, world.foreign_device)
    return world


def page(by: object, **query: str) -> str:
    answer = browser(by).get(reverse("contributions"), query)
    assert answer.status_code == 200
    return answer.content.decode()


def test_an_observer_sees_every_owner_and_an_owner_the_own_devices(ledger: World) -> None:
    seen = page(ledger.viewer)
    assert ">otto</td>" in seen
    assert ">olga</td>" in seen
    own = page(ledger.owner)
    assert ledger.training.name in own
    assert ledger.foreign_device.name not in own


def test_long_numbers_have_their_thousands_apart(world: World) -> None:
    given(world.owner, world.training, examples=3_192_000)
    assert ">3,192,000</td>" in page(world.viewer)


def test_energy_says_how_many_answers_know_it(ledger: World) -> None:
    shown = page(ledger.viewer)
    assert "known of 1 of 2 answers" in shown
    assert "unknown" in shown
    assert "2.0 h" in shown


@pytest.mark.parametrize("group", ["owner", "device", "job", "month"])
def test_each_grouping_and_month_has_its_page(ledger: World, group: str) -> None:
    assert "Nothing yet" not in page(ledger.viewer, group_by=group)
    month = f"{ledger.training.contributions.first().at:%Y-%m}"
    assert f"?month={month}" in page(ledger.viewer, group_by=group, month=month)


def test_an_address_changed_by_hand_shows_what_there_is(ledger: World) -> None:
    assert page(ledger.viewer, group_by="colour", month="2026-99", page="x").count("<tr>") == 3


def test_the_navigation_leads_there(ledger: World) -> None:
    assert f'href="{reverse("contributions")}"' in page(ledger.owner)


def test_an_empty_ledger_says_how_it_fills(world: World) -> None:
    assert "Nothing yet" in page(world.viewer)
