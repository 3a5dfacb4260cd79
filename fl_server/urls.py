from django.contrib.auth.views import LogoutView
from django.urls import path

from fl_server.views import care, devices, enrol, home, jobs, policy
from fl_server.views.login import Login

urlpatterns = [
    path("", home.home, name="home"),
    path("login/", Login.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("jobs/", jobs.listing, name="jobs"),
    path("jobs/rows/", jobs.rows, name="job-rows"),
    path("jobs/new/", jobs.new, name="job-new"),
    path("jobs/new/options/<slug:part>/", jobs.options, name="job-options"),
    path("jobs/<int:pk>/", jobs.detail, name="job"),
    path("jobs/<int:pk>/head/", jobs.head, name="job-head"),
    path("jobs/<int:pk>/board/", jobs.live_board, name="job-board"),
    path("jobs/<int:pk>/history/", jobs.history, name="job-history"),
    path("jobs/<int:pk>/series/", jobs.series, name="job-series"),
    path("jobs/<int:pk>/cancel/", jobs.cancel, name="job-cancel"),
    path("devices/", devices.listing, name="devices"),
    path("devices/cards/", devices.cards, name="device-cards"),
    path("devices/<uuid:pk>/", devices.detail, name="device"),
    path("devices/<uuid:pk>/facts/", devices.facts, name="device-facts"),
    path("devices/<uuid:pk>/approve/", devices.approve, name="device-approve"),
    path("devices/<uuid:pk>/revoke/", devices.revoke, name="device-revoke"),
    path("devices/<uuid:pk>/log/", care.ask_log, name="device-log"),
    path("devices/<uuid:pk>/replace/", care.replace, name="device-replace"),
    path("policy/", policy.overview, name="policy"),
    path("policy/company/", policy.company, name="policy-company"),
    path("policy/groups/new/", policy.new_group, name="policy-group-new"),
    path("policy/groups/<int:pk>/", policy.group, name="policy-group"),
    path("policy/groups/<int:pk>/remove/", policy.remove_group, name="policy-group-remove"),
    path("enrol/", enrol.enrol, name="enrol"),
    path("enrol/<int:pk>/revoke/", enrol.revoke, name="enrol-revoke"),
]
