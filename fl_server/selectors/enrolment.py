from typing import Any

from django.db.models import QuerySet

from fl_server import roles
from fl_server.models import EnrolmentCode


def visible_to(user: Any) -> QuerySet[EnrolmentCode]:
    """Admins see every code, an owner those for the own devices."""
    codes = EnrolmentCode.objects.select_related("owner", "created_by")
    if roles.is_admin(user):
        return codes
    return codes.filter(owner=user) if roles.OWNER in roles.of(user) else codes.none()
