"""The policy: everybody with a role reads it, admins change the company's rules and those of groups."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from fl_server import roles
from fl_server.exceptions import InvalidInput
from fl_server.models import Policy
from fl_server.rules_form import NewGroupForm, RulesForm, filled
from fl_server.selectors import policies as selectors
from fl_server.services import policies
from fl_server.views.access import act, page_for, part_for

VISITORS = (*roles.OBSERVERS, roles.OWNER)


@require_safe
@page_for(*VISITORS)
def overview(request: HttpRequest) -> HttpResponse:
    facts = {
        "company": selectors.company(),
        "groups": selectors.groups_seen_by(request.user),
        "may_change": roles.is_admin(request.user),
    }
    return render(request, "policy/policy.html", facts)


@page_for(roles.ADMIN)
def company(request: HttpRequest) -> HttpResponse:
    form = RulesForm(_posted(request), initial=filled(selectors.company()["rules"]))
    return _edit(
        request, form, "The company’s rules", lambda: policies.set_company(request.user, form.rules())
    )


@page_for(roles.ADMIN)
def new_group(request: HttpRequest) -> HttpResponse:
    form = NewGroupForm(_posted(request), initial=filled({}))

    def save() -> Any:
        given = form.cleaned_data
        return policies.set_group(request.user, given["label_name"], given["label_value"], form.rules())

    return _edit(request, form, "Rules of a group", save)


@part_for(roles.ADMIN)
def group(request: HttpRequest, pk: int) -> HttpResponse:
    policy = _group(pk)
    form = RulesForm(_posted(request), initial=filled(policy.rules))
    name, value = policy.label_name, policy.label_value
    return _edit(
        request,
        form,
        f"Rules of {policy}",
        lambda: policies.set_group(request.user, name, value, form.rules()),
    )


@require_POST
@part_for(roles.ADMIN)
def remove_group(request: HttpRequest, pk: int) -> HttpResponse:
    policy = _group(pk)
    label = (policy.label_name, policy.label_value)
    act(
        request,
        f"Machines with {policy} follow the company’s rules again.",
        policies.remove_group,
        request.user,
        *label,
    )
    return redirect("policy")


def _group(pk: int) -> Policy:
    policy: Policy = get_object_or_404(Policy.objects.exclude(label_name=""), pk=pk)
    return policy


def _posted(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None


def _edit(request: HttpRequest, form: RulesForm, title: str, save: Callable[[], Any]) -> HttpResponse:
    if form.is_bound and form.is_valid():
        try:
            save()
        except InvalidInput as exc:
            form.add_faults(exc)
        else:
            messages.success(request, "Saved. Connected machines follow it from now on.")
            return redirect("policy")
    status = 400 if form.errors else 200
    return render(request, "policy/edit.html", {"form": form, "title": title}, status=status)
