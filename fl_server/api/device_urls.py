from django.urls import path

from fl_server.api import device_api

urlpatterns = [
    path("enrolment/join", device_api.JoinView.as_view(), name="enrolment-join"),
    path("device/ca", device_api.CaView.as_view(), name="device-ca"),
    path("device/me", device_api.MeView.as_view(), name="device-me"),
    path("device/leave", device_api.LeaveView.as_view(), name="device-leave"),
]
