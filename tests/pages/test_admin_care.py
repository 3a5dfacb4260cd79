"""What admins do in the admin to checkpoints and devices, and what nobody does to the ledger."""

from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from fl_server.models import Contribution, Device
from tests.pages.visitor import browser
from tests.server.test_contributions import given
from tests.server.world import World

pytestmark = [pytest.mark.services, pytest.mark.django_db]


def act(by: Any, model: str, action: str, row: Any) -> str:
    by.is_staff = True
    by.save()
    answer = browser(by).post(
        reverse(f"admin:fl_server_{model}_changelist"),
        {"action": action, "_selected_action": [row.pk]},
        follow=True,
    )
    return answer.content.decode()


def test_an_admin_pins_and_unpins_checkpoints(world: World) -> None:
    assert "1 pinned" in act(world.admin, "checkpoint", "pin", world.checkpoint)
    world.checkpoint.refresh_from_db()
    assert world.checkpoint.pinned
    assert "1 unpinned" in act(world.admin, "checkpoint", "unpin", world.checkpoint)


def test_an_admin_releases_a_device_from_quarantine(world: World) -> None:
    assert "is not in quarantine" in act(world.admin, "device", "release", world.training)
    Device.objects.filter(pk=world.training.pk).update(quarantined_at=timezone.now())
    assert "1 released" in act(world.admin, "device", "release", world.training)
    assert Device.objects.get(pk=world.training.pk).quarantined_at is None


def test_the_ledger_is_looked_at_and_never_changed(world: World) -> None:
    row = given(world.owner, world.training)
    world.admin.is_staff = True
    world.admin.save()
    ada = browser(world.admin)
    page = ada.get(reverse("admin:fl_server_contribution_changelist")).content.decode()
    assert "otto-desk" in page
    assert "delete_selected" not in page
    for name in ("change", "delete"):
        address = reverse(f"admin:fl_server_contribution_{name}", args=(row.pk,))
        assert ada.post(address, {"examples": 5}).status_code == 403
    assert ada.get(reverse("admin:fl_server_contribution_add")).status_code == 403
    assert Contribution.objects.get().examples == 10
