"""What a roll-out needs of the pages: labels of a code, and the short code of a machine that waits."""

import pytest
from django.urls import reverse

from fl_server.models import Device, EnrolmentCode
from tests.pages.visitor import browser
from tests.server.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.services]
FORM = {"label": "Radiology", "max_uses": 40, "valid_days": 14}


def test_an_admin_gives_a_code_labels(world: World) -> None:
    data = {**FORM, "owner": world.owner.pk, "labels": "room=radiology, floor=2", "approves": "on"}
    assert browser(world.admin).post(reverse("enrol"), data).status_code == 200
    code = EnrolmentCode.objects.get(label="Radiology")
    assert (code.labels, code.max_uses) == ({"room": "radiology", "floor": "2"}, 40)


def test_a_label_without_a_value_is_refused_beside_its_field(world: World) -> None:
    data = {**FORM, "owner": world.owner.pk, "labels": "radiology"}
    answer = browser(world.admin).post(reverse("enrol"), data)
    assert (answer.status_code, "is not a label" in answer.content.decode()) == (400, True)
    assert not EnrolmentCode.objects.filter(label="Radiology").exists()


def test_an_owner_sets_no_labels(world: World) -> None:
    data = {**FORM, "max_uses": 1, "owner": world.owner.pk, "labels": "room=radiology"}
    client = browser(world.owner)
    assert 'name="labels"' not in client.get(reverse("enrol")).content.decode()
    assert client.post(reverse("enrol"), data).status_code == 200
    assert EnrolmentCode.objects.get(label="Radiology").labels == {}


def test_a_waiting_machine_shows_the_code_that_its_terminal_shows(world: World) -> None:
    key = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----\n"
    Device.objects.filter(pk=world.pending.pk).update(identity_key=key)
    world.pending.refresh_from_db()
    assert world.pending.short_code
    client = browser(world.admin)
    for page in (reverse("devices"), reverse("device", args=(world.pending.pk,))):
        assert world.pending.short_code in client.get(page).content.decode()
    Device.objects.filter(pk=world.pending.pk).update(status=Device.Status.APPROVED)
    for page in (reverse("devices"), reverse("device", args=(world.pending.pk,))):
        assert world.pending.short_code not in client.get(page).content.decode()
