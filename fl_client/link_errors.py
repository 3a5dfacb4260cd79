"""What can go wrong between this machine and the platform. Each carries the exit code of the command line.

LinkError
├── BadCode            2  the enrolment code cannot be read
├── AlreadyEnrolled    2  this machine belongs to a platform already
├── BadInput           2  something that the owner typed cannot be used
├── Refused            3  the server said no; `code` is the server's
│   └── Revoked        6  the device was revoked, for good
├── Unreachable        4  no answer, or one that says to come back later
├── NotEnrolled        5  nothing to talk with: enrol first
├── Untrusted          7  the server is not the one that the code names
├── AlreadyRunning     8  another agent uses the same folder
├── NotRunning         9  no agent runs, and this needs one
├── Declined          10  the owner was asked and said no
└── Unwell             1  the doctor found something that keeps this machine from training
"""


class LinkError(Exception):
    code = "link-error"
    exit_code = 1


class BadCode(LinkError):
    code = "code-unreadable"
    exit_code = 2


class AlreadyEnrolled(LinkError):
    code = "already-enrolled"
    exit_code = 2


class BadInput(LinkError):
    code = "bad-input"
    exit_code = 2


class Refused(LinkError):
    exit_code = 3

    def __init__(self, message: str, code: str = "refused", server_time: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.server_time = server_time


class Revoked(Refused):
    exit_code = 6


class Unreachable(LinkError):
    code = "unreachable"
    exit_code = 4


class NotEnrolled(LinkError):
    code = "not-enrolled"
    exit_code = 5


class Untrusted(LinkError):
    code = "untrusted"
    exit_code = 7


class AlreadyRunning(LinkError):
    code = "already-running"
    exit_code = 8


class NotRunning(LinkError):
    code = "not-running"
    exit_code = 9


class Declined(LinkError):
    code = "declined"
    exit_code = 10


class Unwell(LinkError):
    code = "unwell"


def refusal(code: str, message: str, server_time: float | None = None) -> Refused:
    """The server's no, as the exception that fits."""
    kind = Revoked if code == "device-revoked" else Refused
    return kind(message, code, server_time)
