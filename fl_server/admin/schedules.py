from django.contrib import admin
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    SolarSchedule,
)

from fl_server import roles
from fl_server.admin.base import LookAdmin
from fl_server.models import Schedule
from fl_server.selectors import schedules as selectors
from fl_server.services import schedules

# Their rows follow from the settings and from schedules; changed by hand they would go their own way.
for model in (PeriodicTask, CrontabSchedule, ClockedSchedule, IntervalSchedule, SolarSchedule):
    admin.site.unregister(model)


@admin.register(Schedule)
class ScheduleAdmin(LookAdmin):
    list_display = ("name", "owner", "when", "enabled", "single_instance", "missed", "last_outcome")
    list_filter = ("enabled", "kind")
    search_fields = ("name", "owner__username")
    list_select_related = ("owner",)
    actions = ("pause", "enable", "run_now", "remove")

    def has_add_permission(self, request: HttpRequest, obj: Schedule | None = None) -> bool:
        return roles.is_admin(request.user)

    def has_change_permission(self, request: HttpRequest, obj: Schedule | None = None) -> bool:
        return roles.is_admin(request.user)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict | None = None
    ) -> HttpResponse:
        """The platform's own page shows the times that follow."""
        return redirect("schedule-new")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict | None = None
    ) -> HttpResponse:
        if not object_id.isdecimal():
            raise Http404
        return redirect("schedule-edit", pk=object_id)

    @admin.display(description="When")
    def when(self, schedule: Schedule) -> str:
        return selectors.words(schedule)

    @admin.action(description="Pause the chosen schedules")
    def pause(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self.for_each(request, rows, "paused", lambda row: schedules.pause(row, request.user))

    @admin.action(description="Enable the chosen schedules")
    def enable(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self.for_each(request, rows, "enabled", lambda row: schedules.enable(row, request.user))

    @admin.action(description="Run the chosen schedules now")
    def run_now(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self.for_each(request, rows, "started", lambda row: schedules.run_now(row, request.user))

    @admin.action(description="Delete the chosen schedules; their jobs stay")
    def remove(self, request: HttpRequest, rows: QuerySet[Schedule]) -> None:
        self.for_each(request, rows, "deleted", lambda row: schedules.remove(row, request.user))
