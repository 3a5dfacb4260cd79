"""The form of a schedule. The service judges what it says."""

from contextlib import suppress
from datetime import datetime
from typing import Any

from django import forms

from fl_server import timing
from fl_server.exceptions import ConstellationError, InvalidInput
from fl_server.models import Schedule

KINDS = ((Schedule.Kind.CRON, "Again and again"), (Schedule.Kind.ONCE, "Once"))
MISSED = (
    (Schedule.Missed.RUN_ONCE, "Start one job for all of them"),
    (Schedule.Missed.SKIP, "Skip them"),
)
TIMING = {"kind", "timezone", "at", "cron"}
KIND_FIELDS = {Schedule.Kind.ONCE: "at", Schedule.Kind.CRON: "cron"}
CLOCK = "%Y-%m-%dT%H:%M"


class ScheduleForm(forms.Form):
    name = forms.CharField(max_length=120, help_text="Its jobs get this name and their time.")
    kind = forms.ChoiceField(choices=KINDS, label="Runs")
    timezone = forms.ChoiceField(label="Time zone", help_text="Whose clock the times are of.")
    at = forms.DateTimeField(
        required=False,
        label="Time",
        help_text="For a schedule that runs once.",
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format=CLOCK),
    )
    cron = forms.CharField(
        required=False,
        label="Cron expression",
        help_text="Minute, hour, day of the month, month, weekday: 30 2 * * mon-fri is 02:30 on weekdays.",
        widget=forms.TextInput(attrs={"placeholder": "30 2 * * mon-fri", "autocapitalize": "none"}),
    )
    single_instance = forms.BooleanField(
        required=False,
        label="One job at a time",
        help_text="Starts nothing while a job that it started has not ended.",
    )
    missed = forms.ChoiceField(
        choices=MISSED, label="Times that were missed", help_text="While the platform was away."
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = list(timing.zones())
        if (chosen := self.initial.get("timezone", "UTC")) not in names:
            names.append(chosen)
        self.fields["timezone"].choices = [(name, name.replace("_", " ")) for name in names]

    def clean_at(self) -> datetime | None:
        """As the schedule's clock shows it, not the server's."""
        at: datetime | None = self.cleaned_data["at"]
        return at and at.replace(tzinfo=None)

    def order(self) -> dict[str, Any]:
        """The arguments for the service."""
        return dict(self.cleaned_data)

    def timing(self) -> dict[str, Any]:
        """What it says so far of when; empty while a field of it has a fault."""
        if self.errors.keys() & TIMING:
            return {}
        kind = self.cleaned_data["kind"]
        return {name: self.cleaned_data[name] for name in ("kind", "timezone", KIND_FIELDS[kind])}

    def add_fault(self, exc: ConstellationError) -> None:
        self.add_error(exc.field if exc.field in self.fields else None, exc.message)


def filled(schedule: Schedule) -> dict[str, Any]:
    """The values with which the form of a schedule starts."""
    names = ("name", "kind", "timezone", "cron", "single_instance", "missed")
    values = {name: getattr(schedule, name) for name in names}
    with suppress(InvalidInput):  # a time zone that this server does not know has to be chosen anew
        at = schedule.at and schedule.at.astimezone(timing.zone(schedule.timezone)).replace(tzinfo=None)
        values["at"] = at or ""
    return values


NEW = {
    "kind": Schedule.Kind.CRON,
    "timezone": "UTC",
    # One of the two is needed, so neither is called optional.
    "at": "",
    "cron": "",
    "single_instance": True,
    "missed": Schedule.Missed.RUN_ONCE,
}
