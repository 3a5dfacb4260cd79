import pytest
from django.urls import reverse
from django.utils import timezone

from fl_server.models import Device
from tests.pages.visitor import browser
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]

REASON = "Reputation 0.46, below 0.5. Its last 6 answers: 6 rejected."


@pytest.fixture
def quarantined(world: World) -> World:
    Device.objects.filter(pk=world.training.pk).update(
        quarantined_at=timezone.now(), quarantine_reason=REASON, reputation=0.46
    )
    return world


def page(by: object, world: World) -> str:
    return browser(by).get(reverse("device", args=(world.training.pk,))).content.decode()


def test_its_owner_reads_why_and_until_when_and_only_an_admin_may_end_it(quarantined: World) -> None:
    release = reverse("device-release", args=(quarantined.training.pk,))
    for who in ("owner", "viewer", "admin"):
        shown = page(quarantined.people[who], quarantined)
        assert REASON in shown
        assert "comes back by itself on" in shown
        assert (release in shown) == (who == "admin")
    assert ">quarantine</span>" in browser(quarantined.owner).get(reverse("devices")).content.decode()


def test_an_admin_ends_it(quarantined: World) -> None:
    answer = browser(quarantined.admin).post(
        reverse("device-release", args=(quarantined.training.pk,)), follow=True
    )
    assert "gets jobs again" in answer.content.decode()
    assert "In quarantine" not in page(quarantined.owner, quarantined)
