from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from fl_server import roles
from fl_server.admin.base import LookAdmin
from fl_server.models import Device, EnrolmentCode
from fl_server.selectors.devices import with_presence
from fl_server.services import devices, enrolment, reputation


@admin.register(Device)
class DeviceAdmin(LookAdmin):
    list_display = (
        "name",
        "owner",
        "status",
        "presence",
        "reputation",
        "quarantined_at",
        "platform",
        "client_version",
        "last_seen",
    )
    list_filter = ("status", ("quarantined_at", admin.EmptyFieldListFilter))
    search_fields = ("name", "owner__username", "id")
    list_select_related = ("owner",)
    actions = ("approve", "release", "revoke")
    # The device's own words are for its owner; see fl_server/reasons.py.
    exclude = ("decision_reason",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Device]:
        return with_presence(super().get_queryset(request))

    @admin.display(description="Presence")
    def presence(self, device: Device) -> str:
        return device.presence

    @admin.action(description="Approve the chosen devices")
    def approve(self, request: HttpRequest, rows: QuerySet[Device]) -> None:
        self.for_each(request, rows, "approved", lambda device: devices.approve(device, request.user))

    @admin.action(description="Release the chosen devices from quarantine")
    def release(self, request: HttpRequest, rows: QuerySet[Device]) -> None:
        self.for_each(request, rows, "released", lambda device: reputation.release(device, request.user))

    @admin.action(description="Revoke the chosen devices, at once and for good")
    def revoke(self, request: HttpRequest, rows: QuerySet[Device]) -> None:
        reason = f"Revoked by {request.user.get_username()}."
        self.for_each(request, rows, "revoked", lambda device: devices.revoke(device, request.user, reason))


@admin.register(EnrolmentCode)
class EnrolmentCodeAdmin(LookAdmin):
    list_display = ("label", "owner", "state", "uses", "max_uses", "approves", "expires_at")
    search_fields = ("label", "owner__username")
    list_select_related = ("owner",)
    exclude = ("secret_hash",)
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest, obj: EnrolmentCode | None = None) -> bool:
        return roles.is_admin(request.user)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict | None = None
    ) -> HttpResponse:
        """The one page that makes codes shows the new one, this once."""
        return redirect("enrol")

    @admin.display(description="State")
    def state(self, code: EnrolmentCode) -> str:
        return code.state

    @admin.action(description="Revoke the chosen codes")
    def revoke(self, request: HttpRequest, rows: QuerySet[EnrolmentCode]) -> None:
        self.for_each(request, rows, "revoked", lambda code: enrolment.revoke_code(code, request.user))
