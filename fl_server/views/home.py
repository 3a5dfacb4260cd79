from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from fl_server import roles


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Everybody's own first page."""
    if roles.may_observe(request.user):
        return redirect("jobs")
    if roles.OWNER in roles.of(request.user):
        return redirect("devices")
    return render(request, "no_role.html", status=403)
