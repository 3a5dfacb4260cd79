"""What would become of the job that the form describes, before anybody submits it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from fl_server import roles, spec
from fl_server.exceptions import InvalidSpec
from fl_server.forms import JobForm
from fl_server.selectors import dry_run
from fl_server.services import estimates
from fl_server.views.access import part_for

# A panel that shows no memory yet looks again so often, and then waits to be asked.
MOST_LOOKS = 10


@require_POST
@part_for(roles.ADMIN, roles.RESEARCHER)
def panel(request: HttpRequest) -> HttpResponse:
    form = JobForm(request.POST)
    form.fields["title"].required = False
    wanted = None
    if form.is_valid():
        try:
            wanted = spec.parse(form.spec())
        except InvalidSpec as exc:
            form.add_faults(exc)
    if wanted is None:
        return render(request, "jobs/_dry_run.html", {"faults": _faults(form)})
    found = dry_run.of(request.user.pk, wanted, estimates.look_up(wanted))
    looks = _looks(request)
    again = found.memory_bytes is None and looks < MOST_LOOKS
    return render(request, "jobs/_dry_run.html", {"found": found, "again": again, "looks": looks + 1})


def _faults(form: JobForm) -> list[str]:
    labels = {name: f"{field.label}: " for name, field in form.fields.items()}
    return [f"{labels.get(name, '')}{' '.join(errors)}" for name, errors in form.errors.items()]


def _looks(request: HttpRequest) -> int:
    given = request.POST.get("looks", "")
    return min(MOST_LOOKS, int(given)) if given.isdecimal() and len(given) < 4 else 0
