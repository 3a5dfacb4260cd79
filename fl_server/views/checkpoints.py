"""Checkpoints of a job: keeping one, comparing two."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from fl_server import roles
from fl_server.exceptions import ConstellationError
from fl_server.models import Checkpoint, TrainingJob
from fl_server.selectors import checkpoints as selectors
from fl_server.selectors import comparison, jobs
from fl_server.services import checkpoints
from fl_server.views.access import act, part_for


class TwoRounds(forms.Form):
    """Two rounds of one job that have a checkpoint."""

    first = forms.IntegerField(label="Round", min_value=0, max_value=2**31 - 1)
    second = forms.IntegerField(label="with round", min_value=0, max_value=2**31 - 1)

    def __init__(self, job: TrainingJob, data: Any) -> None:
        super().__init__(data, label_suffix="")
        self.job = job

    def clean_first(self) -> Checkpoint:
        return self._checkpoint("first")

    def clean_second(self) -> Checkpoint:
        return self._checkpoint("second")

    def _checkpoint(self, name: str) -> Checkpoint:
        number = self.cleaned_data[name]
        found = self.job.checkpoints.filter(round_number=number).first()
        if found is None:
            raise forms.ValidationError(f"There is no checkpoint of round {number}.")
        return found


@require_GET
@part_for(*roles.OBSERVERS)
def compare(request: HttpRequest, pk: int) -> HttpResponse:
    job = get_object_or_404(jobs.visible_to(request.user), pk=pk)
    form = TwoRounds(job, request.GET or None)
    found: dict[str, Any] = {"job": job, "form": form}
    if form.is_valid():
        found |= _compared(form.cleaned_data["first"], form.cleaned_data["second"])
    return render(request, "jobs/compare.html", found, status=400 if form.errors else 200)


def _compared(first: Checkpoint, second: Checkpoint) -> dict[str, Any]:
    """The metrics stay known when a file is gone."""
    found: dict[str, Any] = {
        "first": first,
        "second": second,
        "metrics": comparison.metrics(first, second),
        "rounded": Checkpoint.Storage.FLOAT16 in (first.storage, second.storage),
    }
    try:
        return found | {"distance": checkpoints.compare(first, second)}
    except ConstellationError as exc:
        return found | {"refused": exc.message}


@require_POST
@part_for(*roles.OBSERVERS)
def pin(request: HttpRequest, pk: int) -> HttpResponse:
    checkpoint = get_object_or_404(selectors.visible_to(request.user), pk=pk)
    done = f"The checkpoint of round {checkpoint.round_number} stays until it is unpinned."
    act(request, done, checkpoints.pin, checkpoint, request.user)
    return redirect("job", pk=checkpoint.job_id)


@require_POST
@part_for(*roles.OBSERVERS)
def unpin(request: HttpRequest, pk: int) -> HttpResponse:
    checkpoint = get_object_or_404(selectors.visible_to(request.user), pk=pk)
    done = f"The job's rule decides about the checkpoint of round {checkpoint.round_number} again."
    act(request, done, checkpoints.unpin, checkpoint, request.user)
    return redirect("job", pk=checkpoint.job_id)
