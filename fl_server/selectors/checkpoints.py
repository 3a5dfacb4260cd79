from typing import Any

from django.db.models import QuerySet

from fl_server import roles
from fl_server.models import Checkpoint


def visible_to(user: Any) -> QuerySet[Checkpoint]:
    checkpoints = Checkpoint.objects.select_related("job")
    return checkpoints if roles.may_observe(user) else checkpoints.none()
