"""Jobs: the list, one job with its live parts, a new one. Its buttons are in job_life."""

from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_safe

from fl_server import roles, spec_sheet
from fl_server.exceptions import InvalidInput
from fl_server.forms import JobForm, OptionsForm
from fl_server.models import TrainingJob
from fl_server.selectors import board
from fl_server.selectors import jobs as selectors
from fl_server.services import jobs
from fl_server.views import job_life
from fl_server.views.access import page_for, part_for

JOBS_ON_A_PAGE = 25
ROUNDS_SHOWN = 20
MOVES_SHOWN = 50


@require_safe
@page_for(*roles.OBSERVERS)
def listing(request: HttpRequest) -> HttpResponse:
    return render(request, "jobs/list.html", _page(request))


@require_GET
@part_for(*roles.OBSERVERS)
def rows(request: HttpRequest) -> HttpResponse:
    return render(request, "jobs/_rows.html", _page(request))


def _page(request: HttpRequest) -> dict[str, Any]:
    pages = Paginator(selectors.visible_to(request.user), JOBS_ON_A_PAGE)
    page = pages.get_page(request.GET.get("page"))
    for job in page.object_list:
        job.headline = selectors.headline(job)
    return {"page": page}


def _head(request: HttpRequest, job: TrainingJob) -> dict[str, Any]:
    return {
        "job": job,
        "headline": selectors.headline(job),
        "offered": job_life.offered(job, request.user),
        "curves": job.rounds_done or job.status not in {job.Status.DRAFT, *job.TERMINAL},
    }


def _history(request: HttpRequest, job: TrainingJob) -> dict[str, Any]:
    """The newest rounds and the newest checkpoints whose files are there, the best one always among them."""
    best, kept = job.best_checkpoint, job.checkpoints.filter(removed_at=None)
    others = kept.exclude(pk=best.pk) if best else kept
    return {
        "job": job,
        "rounds": job.rounds.order_by("-number")[:ROUNDS_SHOWN],
        "rounds_of": job.rounds.count(),
        "checkpoints": [*([best] if best else []), *others.order_by("-round_number")[:ROUNDS_SHOWN]],
        "checkpoints_of": job.checkpoints.count(),
        "removed": job.checkpoints.exclude(removed_at=None).count(),
        "shown": ROUNDS_SHOWN,
        "may_copy": roles.may_submit(request.user),
    }


def _timeline(request: HttpRequest, job: TrainingJob) -> dict[str, Any]:
    """The newest moves first."""
    moves = selectors.timeline(job)
    return {
        **_head(request, job),
        "moves": moves.reverse()[:MOVES_SHOWN],
        "moves_of": moves.count(),
        "moves_shown": MOVES_SHOWN,
    }


@require_safe
@part_for(*roles.OBSERVERS)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    job = job_life.find(request, pk)
    return render(
        request,
        "jobs/detail.html",
        {
            **_timeline(request, job),
            **_history(request, job),
            "board": board.of(job),
            "charts": selectors.charts(job),
            "settings": spec_sheet.changed(job.spec),
        },
    )


@require_GET
@part_for(*roles.OBSERVERS)
def head(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "jobs/_head.html", _head(request, job_life.find(request, pk)))


@require_GET
@part_for(*roles.OBSERVERS)
def live_board(request: HttpRequest, pk: int) -> HttpResponse:
    job = job_life.find(request, pk)
    return render(request, "jobs/_board.html", {"job": job, "board": board.of(job)})


@require_GET
@part_for(*roles.OBSERVERS)
def timeline(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "jobs/_timeline.html", _timeline(request, job_life.find(request, pk)))


@require_GET
@part_for(*roles.OBSERVERS)
def history(request: HttpRequest, pk: int) -> HttpResponse:
    return render(request, "jobs/_history.html", _history(request, job_life.find(request, pk)))


@require_GET
@part_for(*roles.OBSERVERS)
def series(request: HttpRequest, pk: int) -> HttpResponse:
    """All points of the curves: for a page that was cut off and may have missed some."""
    return JsonResponse(selectors.charts(job_life.find(request, pk)))


@page_for(roles.ADMIN, roles.RESEARCHER)
def new(request: HttpRequest) -> HttpResponse:
    form = JobForm(request.POST if request.method == "POST" else None)
    if form.is_bound and form.is_valid():
        try:
            job = jobs.create(request.user, form.name, form.spec(), submit=True, idempotency_key=form.key)
        except InvalidInput as exc:
            form.add_faults(exc)
        else:
            return redirect("job", pk=job.pk)
    return render(request, "jobs/new.html", {"form": form}, status=400 if form.errors else 200)


@require_GET
@part_for(roles.ADMIN, roles.RESEARCHER)
def options(request: HttpRequest, part: str) -> HttpResponse:
    """The fields of what was just chosen for `part` of the new job."""
    form = OptionsForm(part, request.GET)
    if form.chosen is None:
        raise Http404
    return render(request, "jobs/_options.html", {"fields": list(form), "part": part, "chosen": form.chosen})
