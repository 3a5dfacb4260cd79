from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from fl_server.admin.base import LookAdmin, LookInline
from fl_server.models import Checkpoint, JobEvent, Participation, Reservation, Round, Run, TrainingJob
from fl_server.services import checkpoints, jobs, pausing


class RunInline(LookInline):
    model = Run
    fields = ("number", "status", "reason", "first_round", "created_at", "finished_at")


class RoundInline(LookInline):
    model = Round
    fields = ("number", "examples", "accepted", "rejected", "metrics", "evaluation", "finished_at")


class EventInline(LookInline):
    model = JobEvent
    show_change_link = False
    fields = ("at", "status", "code", "sentence", "actor", "run")


class ReservationInline(LookInline):
    model = Reservation
    ordering = ("partition",)
    fields = ("device", "partition", "rows", "reserved_at", "ready_at", "problem", "released_at")


class ParticipationInline(LookInline):
    model = Participation
    fields = ("round_number", "device", "status", "reason", "attempts", "examples", "seconds")


@admin.register(TrainingJob)
class JobAdmin(LookAdmin):
    list_display = ("name", "owner", "status", "reason", "priority", "created_at", "finished_at")
    list_filter = ("status",)
    search_fields = ("name", "owner__username")
    list_select_related = ("owner",)
    inlines = (EventInline, RunInline, RoundInline)
    actions = ("pause", "resume", "cancel")

    @admin.action(description="Pause the chosen jobs after the round under way")
    def pause(self, request: HttpRequest, rows: QuerySet[TrainingJob]) -> None:
        self.for_each(request, rows, "paused or about to", lambda job: pausing.pause(job, request.user))

    @admin.action(description="Resume the chosen jobs")
    def resume(self, request: HttpRequest, rows: QuerySet[TrainingJob]) -> None:
        self.for_each(request, rows, "go on", lambda job: pausing.resume(job, request.user))

    @admin.action(description="Cancel the chosen jobs")
    def cancel(self, request: HttpRequest, rows: QuerySet[TrainingJob]) -> None:
        self.for_each(request, rows, "cancelled", lambda job: jobs.cancel(job, request.user))


@admin.register(Run)
class RunAdmin(LookAdmin):
    list_display = ("__str__", "status", "reason_code", "fence", "first_round", "lease_until", "created_at")
    list_filter = ("status",)
    search_fields = ("job__name", "engine_run_id")
    inlines = (ReservationInline, ParticipationInline)


@admin.register(Round)
class RoundAdmin(LookAdmin):
    list_display = ("__str__", "accepted", "rejected", "examples", "finished_at")
    search_fields = ("job__name",)


@admin.register(Participation)
class ParticipationAdmin(LookAdmin):
    list_display = ("__str__", "status", "reason", "attempts", "examples", "seconds", "created_at")
    list_filter = ("status",)
    search_fields = ("device__name", "run__job__name")
    list_select_related = ("device", "run")


@admin.register(Checkpoint)
class CheckpointAdmin(LookAdmin):
    list_display = (
        "__str__",
        "size",
        "storage",
        "bytes_saved",
        "short_hash",
        "pinned",
        "removed_at",
        "created_at",
        "download",
    )
    list_filter = ("pinned", "storage")
    search_fields = ("job__name", "sha256")
    list_select_related = ("job",)
    actions = ("pin", "unpin")

    @admin.action(description="Pin the chosen checkpoints: their files stay")
    def pin(self, request: HttpRequest, rows: QuerySet[Checkpoint]) -> None:
        self.for_each(request, rows, "pinned", lambda row: checkpoints.pin(row, request.user))

    @admin.action(description="Unpin the chosen checkpoints")
    def unpin(self, request: HttpRequest, rows: QuerySet[Checkpoint]) -> None:
        self.for_each(request, rows, "unpinned", lambda row: checkpoints.unpin(row, request.user))

    @admin.display(description="SHA-256")
    def short_hash(self, row: Checkpoint) -> str:
        return row.sha256[:12]

    @admin.display(description="File")
    def download(self, row: Checkpoint) -> Any:
        if row.removed_at:
            return "removed"
        address = reverse("api:checkpoint-download", args=(row.pk,))
        return format_html('<a href="{}">Download</a>', address)
