"""Schedules: the list, one with its next runs and its jobs, a new one from a job, changing it."""

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST, require_safe

from fl_server import roles
from fl_server.exceptions import Conflict, InvalidInput
from fl_server.models import Schedule
from fl_server.schedule_form import NEW, ScheduleForm, filled
from fl_server.selectors import jobs as job_selectors
from fl_server.selectors import schedules as selectors
from fl_server.services import schedules
from fl_server.views.access import act, page_for, part_for

SCHEDULES_ON_A_PAGE = 25
JOBS_SHOWN = 20
JOBS_OFFERED = 50


@require_safe
@page_for(*roles.OBSERVERS)
def listing(request: HttpRequest) -> HttpResponse:
    page = Paginator(selectors.visible_to(request.user), SCHEDULES_ON_A_PAGE).get_page(
        request.GET.get("page")
    )
    now = timezone.now()
    for schedule in page.object_list:
        schedule.words = selectors.words(schedule)
        schedule.next_run = next(iter(selectors.next_runs(schedule, now)), None)
    return render(request, "schedules/list.html", {"page": page})


@require_safe
@part_for(*roles.OBSERVERS)
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    schedule = _schedule(request, pk)
    jobs = job_selectors.visible_to(request.user).filter(schedule=schedule)[:JOBS_SHOWN]
    facts = {
        "schedule": schedule,
        "words": selectors.words(schedule),
        "next_runs": selectors.next_runs(schedule, timezone.now()),
        "jobs": [{"job": job, "headline": job_selectors.headline(job)} for job in jobs],
        "may_change": selectors.may_change(schedule, request.user),
    }
    return render(request, "schedules/detail.html", facts)


@page_for(roles.ADMIN, roles.RESEARCHER)
def new(request: HttpRequest) -> HttpResponse:
    """Of the job that the address names; without one, a choice of jobs."""
    key = request.GET.get("job", "")
    visible = job_selectors.visible_to(request.user)
    job = get_object_or_404(visible, pk=int(key)) if key.isdecimal() and len(key) < 19 else None
    if job is None:
        return render(request, "schedules/choose.html", {"jobs": visible[:JOBS_OFFERED]})
    form = ScheduleForm(_posted(request), initial={**NEW, "name": job.name})
    if form.is_bound and form.is_valid():
        try:
            schedule = schedules.create(request.user, spec=job.spec, **form.order())
        except (InvalidInput, Conflict) as exc:
            form.add_fault(exc)
        else:
            return redirect("schedule", pk=schedule.pk)
    return _edit(request, form, job=job, spec=job.spec)


@part_for(*roles.OBSERVERS)
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    schedule = _schedule(request, pk)
    if not selectors.may_change(schedule, request.user):
        raise PermissionDenied
    form = ScheduleForm(_posted(request), initial=filled(schedule))
    if form.is_bound and form.is_valid():
        try:
            schedules.change(schedule, request.user, **form.order())
        except InvalidInput as exc:
            form.add_fault(exc)
        else:
            messages.success(request, "Saved.")
            return redirect("schedule", pk=pk)
    return _edit(request, form, schedule=schedule, spec=schedule.spec)


@require_GET
@part_for(roles.ADMIN, roles.RESEARCHER)
def preview(request: HttpRequest) -> HttpResponse:
    """When a schedule would run, in words and by its next times; or what is wrong so far."""
    given = ScheduleForm(request.GET).timing()
    facts: dict[str, Any] = {"timezone": given.get("timezone")}
    if given.get("at") or given.get("cron"):
        try:
            asked = Schedule(enabled=True, **given)
            facts["words"] = selectors.timing_of(asked).words()
            facts["next_runs"] = selectors.next_runs(asked, timezone.now())
        except InvalidInput as exc:
            facts["fault"] = exc.message
    return render(request, "schedules/_preview.html", facts)


def _edit(request: HttpRequest, form: ScheduleForm, **facts: Any) -> HttpResponse:
    status = 400 if form.errors else 200
    return render(request, "schedules/edit.html", {"form": form, **facts}, status=status)


@require_POST
@part_for(*roles.OBSERVERS)
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    schedule = _schedule(request, pk)
    act(request, f"“{schedule}” is paused.", schedules.pause, schedule, request.user)
    return redirect("schedule", pk=pk)


@require_POST
@part_for(*roles.OBSERVERS)
def enable(request: HttpRequest, pk: int) -> HttpResponse:
    schedule = _schedule(request, pk)
    act(request, f"“{schedule}” goes on with its next time.", schedules.enable, schedule, request.user)
    return redirect("schedule", pk=pk)


@require_POST
@part_for(*roles.OBSERVERS)
def run_now(request: HttpRequest, pk: int) -> HttpResponse:
    schedule = _schedule(request, pk)
    act(request, f"A job of “{schedule}” is queued.", schedules.run_now, schedule, request.user)
    return redirect("schedule", pk=pk)


@require_POST
@part_for(*roles.OBSERVERS)
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    schedule = _schedule(request, pk)
    done = f"“{schedule}” is deleted; the jobs that it started stay."
    act(request, done, schedules.remove, schedule, request.user)
    return redirect("schedules")


def _schedule(request: HttpRequest, pk: int) -> Schedule:
    schedule: Schedule = get_object_or_404(selectors.visible_to(request.user), pk=pk)
    return schedule


def _posted(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None
