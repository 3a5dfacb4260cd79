from django.contrib import admin

from fl_server.admin.base import LookAdmin
from fl_server.models import Contribution


@admin.register(Contribution)
class ContributionAdmin(LookAdmin):
    """The ledger; rows are only ever added, by committed rounds."""

    list_display = ("at", "owner", "device", "job_name", "round_number", "examples", "seconds", "energy_wh")
    search_fields = ("owner__username", "device__name", "job_name")
    list_select_related = ("owner", "device")
    date_hierarchy = "at"
