"""The page of one device: what each person sees of it, and what its buttons do."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from fl_server.models import ClientLog, Device, Participation
from fl_server.services import client_logs, devices, private_data
from tests.pages.visitor import browser
from tests.server.test_private_data import PHOTOS, told
from tests.server.world import World, device

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def page(user: Any, of: Device) -> str:
    answer = browser(user).get(reverse("device", args=(of.pk,)))
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(("who", "sees"), [("owner", True), ("admin", True), ("viewer", False)])
def test_the_log_is_for_admins_and_the_owner(world: World, who: str, sees: bool) -> None:
    ClientLog.objects.create(device=world.training, text="a line of the log", received_at=timezone.now())
    shown = page(world.people[who], world.training)
    assert ("a line of the log" in shown) is sees
    assert ("Fetch the log" in shown) is sees


def test_the_button_asks_for_the_log_and_says_when_it_was_too_soon(world: World) -> None:
    client = browser(world.owner)
    address = reverse("device-log", args=(world.training.pk,))
    assert "was asked for its log" in client.post(address, follow=True).content.decode()
    assert "less than 10 s ago" in client.post(address, follow=True).content.decode()
    assert ClientLog.objects.count() == 1
    assert "on its way" in page(world.owner, world.training)


def test_markup_in_a_log_is_shown_as_text(world: World) -> None:
    log = client_logs.ask(world.training, world.admin)
    client_logs.received(world.training, log.pk, ["<script>alert(1)</script>"])
    shown = page(world.admin, world.training)
    assert "<script>alert" not in shown
    assert "&lt;script&gt;alert" in shown


@pytest.mark.parametrize(("who", "sees"), [("owner", True), ("admin", True), ("viewer", False)])
def test_a_reinstalled_machine_is_offered_its_former_self(world: World, who: str, sees: bool) -> None:
    Device.objects.filter(pk=world.training.pk).update(machine_hash="m", last_seen=None)
    new = device(world.owner, "otto-new", machine_hash="m")
    shown = page(world.people[who], new)
    assert ("This looks like the machine otto-desk." in shown) is sees
    answer = browser(world.people[who]).post(
        reverse("device-replace", args=(new.pk,)), {"old": str(world.training.pk)}
    )
    assert answer.status_code == (302 if sees else 403)
    assert Device.objects.get(pk=world.training.pk).replaced_by == (new if sees else None)


@pytest.mark.parametrize("old", ["", "no-uuid", "00000000-0000-0000-0000-000000000000"])
def test_replacing_what_is_not_there_is_not_found(world: World, old: str) -> None:
    address = reverse("device-replace", args=(world.training.pk,))
    assert browser(world.admin).post(address, {"old": old}).status_code == 404


def test_a_removed_device_says_why_and_who_took_its_place(world: World) -> None:
    devices.revoke(world.training, None, "Not seen for 90 days.")
    assert "Not seen for 90 days." in page(world.viewer, world.training)
    Device.objects.filter(pk=world.training.pk).update(replaced_by=world.pending)
    assert "took its place" in page(world.viewer, world.training)


def test_a_device_that_will_be_removed_says_so_on_its_page_and_in_the_list(world: World) -> None:
    seen = timezone.now() - timedelta(days=80)
    Device.objects.filter(pk=world.training.pk).update(warned_at=timezone.now(), last_seen=seen)
    assert "Will be removed soon." in page(world.owner, world.training)
    assert "soon removed" in browser(world.owner).get(reverse("devices")).content.decode()


def test_removed_devices_leave_the_list_and_are_found_behind_a_link(world: World) -> None:
    devices.revoke(world.training, world.admin, "sold")
    client = browser(world.viewer)
    shown = client.get(reverse("devices")).content.decode()
    assert "1 removed" in shown
    assert "otto-desk" not in shown
    removed = client.get(reverse("devices") + "?removed=1").content.decode()
    assert "otto-desk" in removed
    assert "otto-home" not in removed


def test_private_data_shows_counts(world: World) -> None:
    private_data.changed(world.training, told(PHOTOS))
    shown = page(world.viewer, world.training)
    assert "The rows never leave this machine." in shown
    assert "photos" in shown


def test_energy_that_was_never_measured_is_unknown(world: World) -> None:
    assert "unknown" in page(world.viewer, world.training)
    Participation.objects.filter(device=world.training, round_number=1).update(energy_wh=12.34)
    assert "12.3 Wh" in page(world.viewer, world.training)


def test_the_last_errors_are_listed_with_their_reason(world: World) -> None:
    lost = Participation.objects.filter(device=world.training, round_number=2)
    lost.update(status="lost", reason="It went away.", finished_at=timezone.now())
    shown = page(world.viewer, world.training)
    assert "Last errors" in shown
    assert "It went away." in shown


def test_the_page_costs_the_same_queries_however_long_its_past_is(
    world: World, django_assert_max_num_queries: Any
) -> None:
    for _ in range(10):
        ClientLog.objects.create(device=world.training, asked_by=world.admin, text="x")
    client = browser(world.admin)
    with django_assert_max_num_queries(20):
        client.get(reverse("device", args=(world.training.pk,)))


@pytest.mark.parametrize(("who", "sees"), [("owner", True), ("admin", True), ("viewer", False)])
def test_the_week_of_a_machine_is_shown_to_its_owner_and_admins_only(
    world: World, who: str, sees: bool
) -> None:
    assert "When it is free" not in page(world.people[who], world.training)
    Device.objects.filter(pk=world.training.pk).update(free_hours=[0.25] * 168)
    shown = page(world.people[who], world.training)
    assert ("25.0 % of the week" in shown) is sees
    assert shown.count("<rect") == (168 if sees else 0)


def test_speed_and_network_are_shown_once_they_were_measured(world: World) -> None:
    assert page(world.viewer, world.training).count("not measured") == 2
    Device.objects.filter(pk=world.training.pk).update(relative_speed=1.536, network_bytes_a_second=12.34e6)
    shown = page(world.viewer, world.training)
    assert "1.5 × the median" in shown
    assert "12.3 MB/s" in shown
