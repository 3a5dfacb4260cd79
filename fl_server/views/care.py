"""Looking after one device: fetching its log, letting it take the place of an older one."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from fl_server.selectors import devices as selectors
from fl_server.services import client_logs, replacement
from fl_server.views.access import act, part_for
from fl_server.views.devices import VISITORS


@require_POST
@part_for(*VISITORS)
def ask_log(request: HttpRequest, pk: UUID) -> HttpResponse:
    device = get_object_or_404(selectors.visible_to(request.user), pk=pk)
    act(request, f"{device.name} was asked for its log.", client_logs.ask, device, request.user)
    return redirect("device", pk=pk)


@require_POST
@part_for(*VISITORS)
def replace(request: HttpRequest, pk: UUID) -> HttpResponse:
    visible = selectors.visible_to(request.user)
    new = get_object_or_404(visible, pk=pk)
    try:
        old = get_object_or_404(visible, pk=UUID(request.POST.get("old", "")))
    except ValueError as exc:
        raise Http404 from exc
    act(request, f"It has taken the place of {old.name}.", replacement.replace, old, new, request.user)
    return redirect("device", pk=pk)
