from django.urls import include, path, re_path

from fl_server.api import (
    alerts,
    auth,
    care,
    catalogue,
    checkpoints,
    contributions,
    devices,
    docs,
    enrolment,
    jobs,
    notifications,
    policy,
    rounds,
    schedules,
    status,
)

app_name = "api"

accounts = [
    path("auth/token", auth.Token.as_view(), name="token"),
    path("auth/token/refresh", auth.TokenRefresh.as_view(), name="token-refresh"),
    path("auth/token/revoke", auth.TokenRevoke.as_view(), name="token-revoke"),
    path("me", auth.Me.as_view(), name="me"),
]

catalogues = [
    path("strategies", catalogue.Strategies.as_view(), name="strategies"),
    path("models", catalogue.Models.as_view(), name="models"),
    path("datasets", catalogue.Datasets.as_view(), name="datasets"),
    path("partitions", catalogue.Partitions.as_view(), name="partitions"),
    path("optimizers", catalogue.Optimizers.as_view(), name="optimizers"),
]

training = [
    path("jobs", jobs.Jobs.as_view({"get": "list", "post": "create"}), name="job-list"),
    path("jobs/validate", jobs.Jobs.as_view({"post": "validate"}), name="job-validate"),
    path("jobs/dry-run", jobs.Jobs.as_view({"post": "dry_run"}), name="job-dry-run"),
    path("jobs/<int:pk>", jobs.Jobs.as_view({"get": "retrieve"}), name="job-detail"),
    path("jobs/<int:pk>/submit", jobs.Jobs.as_view({"post": "submit"}), name="job-submit"),
    path("jobs/<int:pk>/cancel", jobs.Jobs.as_view({"post": "cancel"}), name="job-cancel"),
    path("jobs/<int:pk>/pause", jobs.Jobs.as_view({"post": "pause"}), name="job-pause"),
    path("jobs/<int:pk>/resume", jobs.Jobs.as_view({"post": "resume"}), name="job-resume"),
    path("jobs/<int:pk>/clone", jobs.Jobs.as_view({"post": "clone"}), name="job-clone"),
    path("jobs/<int:pk>/rerun", jobs.Jobs.as_view({"post": "rerun"}), name="job-rerun"),
    path("jobs/<int:pk>/events", rounds.Events.as_view(), name="job-events"),
    path("jobs/<int:pk>/metrics", jobs.Jobs.as_view({"get": "metrics"}), name="job-metrics"),
    path("jobs/<int:pk>/rounds", rounds.Rounds.as_view(), name="job-rounds"),
    path("jobs/<int:pk>/participations", rounds.Participations.as_view(), name="job-participations"),
    path("jobs/<int:pk>/checkpoints", rounds.Checkpoints.as_view(), name="job-checkpoints"),
    path(
        "checkpoints/<int:pk>", checkpoints.Checkpoints.as_view({"get": "retrieve"}), name="checkpoint-detail"
    ),
    path(
        "checkpoints/<int:pk>/download",
        checkpoints.Checkpoints.as_view({"get": "download"}),
        name="checkpoint-download",
    ),
    path("checkpoints/<int:pk>/pin", checkpoints.Checkpoints.as_view({"post": "pin"}), name="checkpoint-pin"),
    path(
        "checkpoints/<int:pk>/unpin",
        checkpoints.Checkpoints.as_view({"post": "unpin"}),
        name="checkpoint-unpin",
    ),
    path(
        "checkpoints/<int:pk>/compare/<int:other>",
        checkpoints.Checkpoints.as_view({"get": "compare"}),
        name="checkpoint-compare",
    ),
]

planned = [
    path("schedules", schedules.Schedules.as_view({"get": "list", "post": "create"}), name="schedule-list"),
    path(
        "schedules/<int:pk>",
        schedules.Schedules.as_view({"get": "retrieve", "patch": "change", "delete": "remove"}),
        name="schedule-detail",
    ),
    path("schedules/<int:pk>/pause", schedules.Schedules.as_view({"post": "pause"}), name="schedule-pause"),
    path(
        "schedules/<int:pk>/enable", schedules.Schedules.as_view({"post": "enable"}), name="schedule-enable"
    ),
    path("schedules/<int:pk>/run", schedules.Schedules.as_view({"post": "run_now"}), name="schedule-run"),
]

fleet = [
    path("devices", devices.Devices.as_view({"get": "list"}), name="device-list"),
    path(
        "devices/<uuid:pk>",
        devices.Devices.as_view({"get": "retrieve", "patch": "relabel"}),
        name="device-detail",
    ),
    path("devices/<uuid:pk>/policy", devices.Devices.as_view({"get": "policy"}), name="device-policy"),
    path("devices/<uuid:pk>/telemetry", care.Care.as_view({"get": "telemetry"}), name="device-telemetry"),
    path("devices/<uuid:pk>/logs", care.Care.as_view({"get": "logs", "post": "ask_log"}), name="device-logs"),
    path("devices/<uuid:pk>/replace", care.Care.as_view({"post": "replace"}), name="device-replace"),
    path("devices/<uuid:pk>/approve", devices.Devices.as_view({"post": "approve"}), name="device-approve"),
    path("devices/<uuid:pk>/release", devices.Devices.as_view({"post": "release"}), name="device-release"),
    path("devices/<uuid:pk>/revoke", devices.Devices.as_view({"post": "revoke"}), name="device-revoke"),
    path("enrolment/codes", enrolment.Codes.as_view({"get": "list", "post": "create"}), name="code-list"),
    path("enrolment/codes/<int:pk>", enrolment.Codes.as_view({"get": "retrieve"}), name="code-detail"),
    path("enrolment/codes/<int:pk>/revoke", enrolment.Codes.as_view({"post": "revoke"}), name="code-revoke"),
]

policies = [
    path("policy", policy.Policies.as_view({"get": "retrieve", "put": "set_company"}), name="policy"),
    path("policy/schema", policy.RulesSchema.as_view(), name="policy-schema"),
    path(
        "policy/groups/<str:name>/<path:value>",
        policy.Policies.as_view({"put": "set_group", "delete": "remove_group"}),
        name="policy-group",
    ),
]

told = [
    path("notifications", notifications.Notifications.as_view({"get": "list"}), name="notification-list"),
    path(
        "notifications/unread",
        notifications.Notifications.as_view({"get": "unread"}),
        name="notification-unread",
    ),
    path(
        "notifications/read", notifications.Notifications.as_view({"post": "read"}), name="notification-read"
    ),
    path(
        "notifications/choices",
        notifications.Notifications.as_view({"get": "choices", "put": "choose"}),
        name="notification-choices",
    ),
    path(
        "notifications/deliveries",
        notifications.Deliveries.as_view({"get": "list"}),
        name="notification-deliveries",
    ),
    path(
        "notifications/webhook",
        notifications.Webhook.as_view({"get": "retrieve", "put": "save", "delete": "remove"}),
        name="webhook",
    ),
    path("notifications/webhook/test", notifications.Webhook.as_view({"post": "test"}), name="webhook-test"),
    path("alerts", alerts.Alerts.as_view({"get": "list"}), name="alert-list"),
    path("alert-rules", alerts.Rules.as_view({"get": "list", "post": "create"}), name="alert-rule-list"),
    path(
        "alert-rules/<int:pk>",
        alerts.Rules.as_view({"patch": "change", "delete": "remove"}),
        name="alert-rule-detail",
    ),
]

ledger = [
    path("contributions", contributions.Contributions.as_view(), name="contribution-list"),
    path("contributions/export", contributions.Export.as_view(), name="contribution-export"),
]

platform = [
    path("health", status.Health.as_view(), name="health"),
    path("status", status.Status.as_view(), name="status"),
]

v1 = [
    *accounts,
    *catalogues,
    *training,
    *planned,
    *fleet,
    *policies,
    *told,
    *ledger,
    *platform,
    path("", include("fl_server.api.device_urls")),
]

urlpatterns = [
    path("v1/", include(v1)),
    path("schema/", docs.Document.as_view(), name="schema"),
    path("docs/", docs.explorer, name="docs"),
    path("docs/errors", docs.errors_page, name="errors"),
    re_path(r"", docs.Unknown.as_view(), name="unknown"),
]
