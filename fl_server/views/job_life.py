"""The buttons of a job: submit, pause, resume, copy, run again, cancel."""

import re
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_POST

from fl_server import roles
from fl_server.exceptions import Conflict, NotFound
from fl_server.models import TrainingJob
from fl_server.selectors import board
from fl_server.selectors import jobs as selectors
from fl_server.services import copies, jobs, pausing
from fl_server.views.access import act, part_for

Status = TrainingJob.Status
ROUND = re.compile(r"[0-9]{1,6}")


def offered(job: TrainingJob, user: Any) -> dict[str, bool]:
    """Which buttons a person gets; the services decide again."""
    mine, running = board.may_change(job, user), job.status == Status.RUNNING
    pausable = job.status in job.ACTIVE and not job.pausing
    return {
        "submit": mine and job.status == Status.DRAFT,
        "pause": mine and pausable,
        "pause_now": mine and running,
        "resume": mine and (job.status == Status.PAUSED or job.pausing),
        "cancel": mine and job.status not in job.TERMINAL,
        "copy": roles.may_submit(user),
        "rerun": roles.may_submit(user) and job.status in job.TERMINAL,
    }


def find(request: HttpRequest, pk: int) -> TrainingJob:
    """The job, where the person may see it; else there is none."""
    job: TrainingJob = get_object_or_404(selectors.visible_to(request.user), pk=pk)
    return job


@require_POST
@part_for(*roles.OBSERVERS)
def submit(request: HttpRequest, pk: int) -> HttpResponse:
    job = find(request, pk)
    act(request, f"“{job.name}” is in the queue.", jobs.submit, job, request.user)
    return redirect("job", pk=pk)


@require_POST
@part_for(*roles.OBSERVERS)
def pause(request: HttpRequest, pk: int) -> HttpResponse:
    job, now = find(request, pk), "now" in request.POST
    when = "at once" if now or job.status != Status.RUNNING else "after the round under way"
    act(
        request,
        f"“{job.name}” pauses {when}.",
        lambda: pausing.pause(job, request.user, now=now),
    )
    return redirect("job", pk=pk)


@require_POST
@part_for(*roles.OBSERVERS)
def resume(request: HttpRequest, pk: int) -> HttpResponse:
    job = find(request, pk)
    act(request, f"“{job.name}” goes on.", pausing.resume, job, request.user)
    return redirect("job", pk=pk)


@require_POST
@part_for(*roles.OBSERVERS)
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    job = find(request, pk)
    act(request, f"“{job.name}” is cancelled; its devices are free again.", jobs.cancel, job, request.user)
    return redirect("job", pk=pk)


@require_POST
@part_for(*roles.OBSERVERS)
def copy(request: HttpRequest, pk: int) -> HttpResponse:
    """A draft with the same settings; `round` says which round's weights it begins with."""
    job, start = find(request, pk), None
    if chosen := request.POST.get("round"):
        start = job.checkpoints.filter(round_number=int(chosen) if ROUND.fullmatch(chosen) else -1).first()
        if start is None:
            messages.error(request, f"There is no checkpoint of round {chosen}.")
            return redirect("job", pk=pk)
    said = "This is the copy, a draft. Submit it when it is to start."
    made = _made(request, said, lambda: copies.clone(job, request.user, checkpoint=start))
    return redirect("job", pk=made.pk if made else pk)


@require_POST
@part_for(*roles.OBSERVERS)
def rerun(request: HttpRequest, pk: int) -> HttpResponse:
    job = find(request, pk)
    said = "The same job is in the queue once more."
    made = _made(request, said, lambda: copies.rerun(job, request.user))
    return redirect("job", pk=made.pk if made else pk)


def _made(request: HttpRequest, said: str, make: Callable[[], TrainingJob]) -> TrainingJob | None:
    """The new job, or None. Weights whose file was removed are a sentence, not a page that does not exist."""

    def service() -> TrainingJob:
        try:
            return make()
        except NotFound as exc:
            raise Conflict(exc.message, code=exc.code) from exc

    made: TrainingJob | None = act(request, said, service)
    return made
