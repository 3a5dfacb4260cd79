"""What can go wrong on a client, as one tree. Each carries a code for programs and a sentence for people.

ClientError
├── AssignmentError     bad-assignment      the server's assignment cannot be read
├── UnknownName         unknown-name        no such model, dataset or partition scheme
├── BadOptions          bad-options         options outside what the catalogue allows
├── DataError           data-missing, data-damaged
├── PartitionError      partition-impossible
├── WeightsError        weights-mismatch    names, shapes or types differ from the model's
├── Diverged            diverged            the loss or a weight is no longer a number
├── NotPrepared         not-prepared        training asked for a run that was not prepared
├── SnapshotError       snapshot-damaged    what was kept of a round cannot be read
└── FrameError          bad-frame           the pipe carries something else than frames
Cancelled and Parked are no errors: they end a training that is no longer wanted, or not now.
"""

from pydantic import ValidationError


class ClientError(Exception):
    code = "client-error"


class AssignmentError(ClientError):
    code = "bad-assignment"


class UnknownName(ClientError):
    code = "unknown-name"


class BadOptions(ClientError):
    code = "bad-options"


class DataError(ClientError):
    code = "data-missing"


class DataDamaged(DataError):
    code = "data-damaged"


class PartitionError(ClientError):
    code = "partition-impossible"


class WeightsError(ClientError):
    code = "weights-mismatch"


class Diverged(ClientError):
    code = "diverged"


class NotPrepared(ClientError):
    code = "not-prepared"


class SnapshotError(ClientError):
    code = "snapshot-damaged"


class FrameError(ClientError):
    code = "bad-frame"


class Cancelled(Exception):
    pass


class Parked(Exception):
    pass


def sentence(error: ValidationError) -> str:
    """One readable line out of a pydantic error: every field that is wrong, and why."""
    problems = error.errors(include_url=False)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'value'}: {each['msg']}" for each in problems)
