from fl_server.models.audit import AuditEvent
from fl_server.models.checkpoints import Checkpoint
from fl_server.models.client_logs import ClientLog
from fl_server.models.contributions import Contribution
from fl_server.models.devices import Device
from fl_server.models.enrolment import EnrolmentCode
from fl_server.models.estimates import MemoryEstimate
from fl_server.models.jobs import JobEvent, Quota, TrainingJob
from fl_server.models.notifications import (
    Alert,
    AlertRule,
    Delivery,
    Notification,
    NotificationChoice,
    Webhook,
)
from fl_server.models.policies import Policy
from fl_server.models.rounds import Participation, Round
from fl_server.models.runs import Reservation, Run
from fl_server.models.schedules import Schedule
from fl_server.models.telemetry import TelemetryBucket

__all__ = [
    "Alert",
    "AlertRule",
    "AuditEvent",
    "Checkpoint",
    "ClientLog",
    "Contribution",
    "Delivery",
    "Device",
    "EnrolmentCode",
    "JobEvent",
    "MemoryEstimate",
    "Notification",
    "NotificationChoice",
    "Participation",
    "Policy",
    "Quota",
    "Reservation",
    "Round",
    "Run",
    "Schedule",
    "TelemetryBucket",
    "TrainingJob",
    "Webhook",
]
