"""What one person was told, and the choice of what and how."""

from typing import Any

from django import forms
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST, require_safe

from fl_server import roles
from fl_server.exceptions import InvalidInput
from fl_server.models import Notification
from fl_server.selectors import notifications as selectors
from fl_server.services import notifications, webhooks
from fl_server.views.access import act, page_for, part_for

ON_A_PAGE = 50
DELIVERIES_SHOWN = 15
VISITORS = (*roles.OBSERVERS, roles.OWNER)


class WebhookForm(forms.Form):
    url = forms.CharField(
        max_length=500,
        label="Address",
        help_text="On the internet and with TLS, or on a host that the platform’s settings list.",
        widget=forms.URLInput,
    )


@require_safe
@page_for(*VISITORS)
def listing(request: HttpRequest) -> HttpResponse:
    return render(request, "notifications/list.html", _page(request))


@require_GET
@part_for(*VISITORS)
def rows(request: HttpRequest) -> HttpResponse:
    return render(request, "notifications/_rows.html", _page(request))


def _page(request: HttpRequest) -> dict[str, Any]:
    return {"page": Paginator(selectors.of(request.user), ON_A_PAGE).get_page(request.GET.get("page"))}


@require_POST
@part_for(*VISITORS)
def read(request: HttpRequest) -> HttpResponse:
    notifications.mark_read(request.user)
    return redirect("notifications")


@require_POST
@part_for(*VISITORS)
def open_one(request: HttpRequest, pk: int) -> HttpResponse:
    """Note that it was read, and lead to the page that says more."""
    notice: Notification = get_object_or_404(selectors.of(request.user), pk=pk)
    notifications.mark_read(request.user, [notice.pk])
    return redirect(notice.path or "notifications")


@never_cache
@page_for(*VISITORS)
def choices(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        chosen = {
            kind: {way: f"{kind}.{way}" in request.POST for way in notifications.WAYS}
            for kind in Notification.Kind.values
        }
        act(request, "Saved.", notifications.choose, request.user, chosen)
        return redirect("notification-choices")
    return _choices(request, WebhookForm())


@never_cache
@require_POST
@part_for(*VISITORS)
def save_webhook(request: HttpRequest) -> HttpResponse:
    """The answer shows the secret, this once."""
    form, secret = WebhookForm(request.POST), ""
    if form.is_valid():
        try:
            _, secret = webhooks.save(request.user, form.cleaned_data["url"])
        except InvalidInput as exc:
            form.add_error("url", exc.message)
        else:
            form = WebhookForm()
    return _choices(request, form, secret)


@require_POST
@part_for(*VISITORS)
def test_webhook(request: HttpRequest) -> HttpResponse:
    act(request, "The test arrived.", webhooks.try_out, request.user)
    return redirect("notification-choices")


@require_POST
@part_for(*VISITORS)
def remove_webhook(request: HttpRequest) -> HttpResponse:
    act(request, "Nothing is posted any more.", webhooks.remove, request.user)
    return redirect("notification-choices")


def _choices(request: HttpRequest, form: WebhookForm, secret: str = "") -> HttpResponse:
    ways = selectors.choices(request.user)
    facts = {
        "kinds": [(kind.value, kind.label, ways[kind.value]) for kind in Notification.Kind],
        "form": form,
        "secret": secret,
        "webhook": selectors.webhook(request.user),
        "deliveries": selectors.deliveries(request.user)[:DELIVERIES_SHOWN],
    }
    return render(request, "notifications/choices.html", facts, status=400 if form.errors else 200)
