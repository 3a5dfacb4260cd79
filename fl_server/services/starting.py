"""What a job begins with: new weights, or those of a checkpoint."""

from typing import Any

from fl_server import spec
from fl_server.exceptions import InvalidInput, NotFound
from fl_server.models import Checkpoint


def check(wanted: spec.JobSpec, start: Checkpoint | None) -> None:
    """Raises InvalidInput where the weights are those of another model, NotFound where they are gone."""
    if start is None:
        return
    if start.removed_at:
        raise NotFound(f"The file of {start} was removed.", code="checkpoint-removed")
    theirs, ours = start.job.spec["model"], wanted.model.model_dump(mode="json")
    if theirs != ours:
        raise InvalidInput(
            f"checkpoint {start.pk} holds the weights of {_said(theirs)}; the job trains {_said(ours)}, "
            f"and the model must be the same.",
            field="start_checkpoint",
        )


def _said(model: dict[str, Any]) -> str:
    options = ", ".join(f"{key}={value}" for key, value in sorted(model.get("options", {}).items()))
    return f"{model['name']} ({options})" if options else str(model["name"])
