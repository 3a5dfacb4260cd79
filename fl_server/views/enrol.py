"""Enrolment: make a code, show it once, take it back."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from fl_server import roles
from fl_server.exceptions import InvalidInput, NotAllowed
from fl_server.forms import CodeForm
from fl_server.models import EnrolmentCode
from fl_server.services import enrolment
from fl_server.views.access import act, page_for, part_for

CODES_SHOWN = 50


def _codes(user: AbstractBaseUser) -> QuerySet[EnrolmentCode]:
    codes = EnrolmentCode.objects.select_related("owner")
    return codes if roles.is_admin(user) else codes.filter(owner=user)


@never_cache
@page_for(roles.ADMIN, roles.OWNER)
def enrol(request: HttpRequest) -> HttpResponse:
    form = CodeForm(request.user, request.POST if request.method == "POST" else None)
    made: dict[str, Any] = {}
    if form.is_bound and form.is_valid():
        try:
            code, text = enrolment.create_code(request.user, **form.order())
        except InvalidInput as exc:
            form.add_error(exc.field if exc.field in form.fields else None, exc.message)
        except NotAllowed as exc:
            form.add_error(None, exc.message)
        else:
            made, form = {"code": code, "text": text}, CodeForm(request.user)
    codes = _codes(request.user)[:CODES_SHOWN]
    status = 400 if form.errors else 200
    return render(request, "enrol/enrol.html", {"form": form, "made": made, "codes": codes}, status=status)


@require_POST
@part_for(roles.ADMIN, roles.OWNER)
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    code = get_object_or_404(_codes(request.user), pk=pk)
    act(request, f"Nobody can join with “{code.label}” any more.", enrolment.revoke_code, code, request.user)
    return redirect("enrol")
