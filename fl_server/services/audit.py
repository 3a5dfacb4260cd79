from typing import Any

from fl_server.models import AuditEvent


def record(actor: Any, action: str, target: str, **data: Any) -> None:
    """Note that `actor` (a user, or None for the platform) did `action` to `target`."""
    AuditEvent.objects.create(actor=actor, action=action, target=target, data=data)
