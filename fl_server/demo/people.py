import json
import os
import secrets
from pathlib import Path

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group

from fl_server import roles
from fl_server.platform.errors import PlatformError
from fl_server.services import policies

ADMIN = "admin"
RESEARCHER = "researcher"
ROLES = {ADMIN: roles.ADMIN, RESEARCHER: roles.RESEARCHER}
# The demo's machines are one machine, in front of which somebody sits and watches.
ALWAYS = {"train_while_in_use": True, "on_battery": True, "metered_networks": True, "gpu": "always"}


def ensure(path: Path) -> tuple[dict[str, str], bool]:
    """The demo's users with their passwords, kept in `path`; True when they were made just now."""
    known = json.loads(path.read_text()) if path.exists() else {}
    missing = [name for name in ROLES if name not in known]
    for name in missing:
        known[name] = _create(name)
    if missing:
        _keep(path, known)
    return known, bool(missing)


def let_machines_train() -> None:
    policies.set_company(get_user_model().objects.get(username=ADMIN), ALWAYS)


def _create(name: str) -> str:
    users = get_user_model().objects
    if users.filter(username=name).exists():
        raise PlatformError(
            f"A user named {name} exists already and the demo does not know the password; "
            "set CONSTELLATION_HOME to an empty folder for the demo."
        )
    password = secrets.token_urlsafe(9)
    # Django's own admin pages ask for a staff member.
    user = users.create_user(name, password=password, is_staff=name == ADMIN, is_superuser=name == ADMIN)
    user.groups.add(Group.objects.get(name=ROLES[name]))
    return password


def _keep(path: Path, known: dict[str, str]) -> None:
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(known, file)
    os.replace(draft, path)
