"""New jobs made of old ones: the same specification, from new weights or from a checkpoint's."""

from typing import Any

from fl_server.models import Checkpoint, TrainingJob
from fl_server.services import jobs

COPY = " (copy)"
LONGEST_NAME = 120


def clone(
    job: TrainingJob, by: Any, *, name: str = "", checkpoint: Checkpoint | None = None, submit: bool = False
) -> TrainingJob:
    """A draft with the specification of a job, owned by who asks. It starts as that job did.

    With a checkpoint it begins with its weights as round 0, whichever job they come from.
    """
    start = checkpoint or job.start_checkpoint
    return jobs.create(
        by,
        name or copy_name(job.name),
        job.spec,
        submit=submit,
        cloned_from=job,
        start_checkpoint=start,
    )


def rerun(job: TrainingJob, by: Any) -> TrainingJob:
    """The same once more, queued at once."""
    return clone(job, by, submit=True)


def copy_name(name: str) -> str:
    return name if name.endswith(COPY) else name[: LONGEST_NAME - len(COPY)].rstrip() + COPY
