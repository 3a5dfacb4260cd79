from fl_server.models.audit import AuditEvent
from fl_server.models.checkpoints import Checkpoint
from fl_server.models.client_logs import ClientLog
from fl_server.models.devices import Device
from fl_server.models.enrolment import EnrolmentCode
from fl_server.models.jobs import TrainingJob
from fl_server.models.policies import Policy
from fl_server.models.rounds import Participation, Round
from fl_server.models.runs import Reservation, Run
from fl_server.models.telemetry import TelemetryBucket

__all__ = [
    "AuditEvent",
    "Checkpoint",
    "ClientLog",
    "Device",
    "EnrolmentCode",
    "Participation",
    "Policy",
    "Reservation",
    "Round",
    "Run",
    "TelemetryBucket",
    "TrainingJob",
]
