from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from fl_server.admin.base import LookAdmin, LookInline
from fl_server.models import Checkpoint, Participation, Reservation, Round, Run, TrainingJob
from fl_server.services import jobs


class RunInline(LookInline):
    model = Run
    fields = ("number", "status", "reason", "first_round", "created_at", "finished_at")


class RoundInline(LookInline):
    model = Round
    fields = ("number", "examples", "accepted", "rejected", "metrics", "evaluation", "finished_at")


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
    inlines = (RunInline, RoundInline)
    actions = ("cancel",)

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
    list_display = ("__str__", "size", "short_hash", "pinned", "created_at", "download")
    search_fields = ("job__name", "sha256")

    @admin.display(description="SHA-256")
    def short_hash(self, row: Checkpoint) -> str:
        return row.sha256[:12]

    @admin.display(description="File")
    def download(self, row: Checkpoint) -> Any:
        address = reverse("api:checkpoint-download", args=(row.pk,))
        return format_html('<a href="{}">Download</a>', address)
