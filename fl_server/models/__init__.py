from fl_server.models.audit import AuditEvent
from fl_server.models.checkpoints import Checkpoint
from fl_server.models.devices import Device
from fl_server.models.enrolment import EnrolmentCode
from fl_server.models.jobs import TrainingJob
from fl_server.models.rounds import Participation, Round
from fl_server.models.runs import Reservation, Run

__all__ = [
    "AuditEvent",
    "Checkpoint",
    "Device",
    "EnrolmentCode",
    "Participation",
    "Reservation",
    "Round",
    "Run",
    "TrainingJob",
]
