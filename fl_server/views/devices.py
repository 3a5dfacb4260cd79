"""Devices: the fleet as cards, one device, approving and revoking."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST, require_safe

from fl_server import roles
from fl_server.models import Device
from fl_server.selectors import alerts, board, habits, policies
from fl_server.selectors import devices as selectors
from fl_server.services import client_logs, devices, reputation
from fl_server.views.access import act, page_for, part_for

DEVICES_ON_A_PAGE = 60
VISITORS = (*roles.OBSERVERS, roles.OWNER)


@require_safe
@page_for(*VISITORS)
def listing(request: HttpRequest) -> HttpResponse:
    return render(request, "devices/list.html", _page(request))


@require_GET
@part_for(*VISITORS)
def cards(request: HttpRequest) -> HttpResponse:
    return render(request, "devices/_fleet.html", _page(request))


def _page(request: HttpRequest) -> dict[str, Any]:
    everything = selectors.visible_to(request.user)
    removed = "removed" in request.GET
    visible = selectors.removed(everything) if removed else selectors.not_removed(everything)
    page = Paginator(alerts.with_alerts(board.with_work(visible)), DEVICES_ON_A_PAGE).get_page(
        request.GET.get("page")
    )
    tally = {presence: n for presence, n in selectors.counts(everything).items() if n}
    return {"page": page, "tally": tally, "removed": removed, "stale_after": settings.STALE_AFTER}


def _device(request: HttpRequest, pk: UUID) -> Device:
    visible = alerts.with_alerts(board.with_work(selectors.visible_to(request.user)))
    device: Device = get_object_or_404(visible, pk=pk)
    return device


def _facts(request: HttpRequest, device: Device) -> dict[str, Any]:
    admin = roles.is_admin(request.user)
    mine = admin or device.owner_id == request.user.pk
    return {
        "device": device,
        "may_release": admin,
        "quarantine_until": device.quarantined_at
        and device.quarantined_at + timedelta(days=settings.QUARANTINE_DAYS),
        "may_approve": admin and device.status == Device.Status.PENDING,
        "may_revoke": mine and device.status != Device.Status.REVOKED,
        "why_revoked": selectors.why_revoked(device),
        "removal": device.last_seen and device.last_seen + timedelta(days=settings.REMOVE_AFTER_DAYS),
        "offers": selectors.replaceable_by(device) if mine else (),
        "may_read_log": mine,
        "may_ask": device.presence in client_logs.SPEAKING,
        "logs": device.client_logs.select_related("asked_by") if mine else (),
        "work": board.recent_work(device),
        "troubles": board.troubles(device),
        "energy": board.energy(device),
        "week": habits.week(device) if habits.may_see(request.user, device) else None,
        "policy": policies.layers(device),
        "stale_after": settings.STALE_AFTER,
    }


@require_safe
@part_for(*VISITORS)
def detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    return render(request, "devices/detail.html", _facts(request, _device(request, pk)))


@require_GET
@part_for(*VISITORS)
def facts(request: HttpRequest, pk: UUID) -> HttpResponse:
    return render(request, "devices/_facts.html", _facts(request, _device(request, pk)))


@require_POST
@part_for(*VISITORS)
def approve(request: HttpRequest, pk: UUID) -> HttpResponse:
    device = _device(request, pk)
    act(request, f"{device.name} may take part now.", devices.approve, device, request.user)
    return redirect("device", pk=pk)


@require_POST
@part_for(*VISITORS)
def release(request: HttpRequest, pk: UUID) -> HttpResponse:
    device = _device(request, pk)
    act(request, f"{device.name} gets jobs again.", reputation.release, device, request.user)
    return redirect("device", pk=pk)


@require_POST
@part_for(*VISITORS)
def revoke(request: HttpRequest, pk: UUID) -> HttpResponse:
    device = _device(request, pk)
    reason = f"Revoked by {request.user.get_username()}."
    act(request, f"{device.name} may no longer take part.", devices.revoke, device, request.user, reason)
    return redirect("device", pk=pk)
