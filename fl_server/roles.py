"""Who may do what. A role is a Django group of that name; a superuser is an admin."""

from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser, AnonymousUser

ADMIN = "admin"
RESEARCHER = "researcher"
VIEWER = "viewer"
OWNER = "owner"
ROLES = (ADMIN, RESEARCHER, VIEWER, OWNER)

# Those who see every job and every device. An owner sees only the own devices.
OBSERVERS = frozenset({ADMIN, RESEARCHER, VIEWER})


def of(user: "AbstractBaseUser | AnonymousUser") -> frozenset[str]:
    """The roles of a user; empty for an anonymous or inactive one."""
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    names = set(user.groups.values_list("name", flat=True)) & set(ROLES)
    if user.is_superuser:
        names.add(ADMIN)
    return frozenset(names)


def people() -> "QuerySet[Any]":
    """Everybody who has a role."""
    has_role = Q(groups__name__in=ROLES) | Q(is_superuser=True)
    return get_user_model().objects.filter(has_role, is_active=True).distinct()


def is_admin(user: "AbstractBaseUser | AnonymousUser") -> bool:
    return ADMIN in of(user)


def may_observe(user: "AbstractBaseUser | AnonymousUser") -> bool:
    return bool(of(user) & OBSERVERS)


def may_submit(user: "AbstractBaseUser | AnonymousUser") -> bool:
    return bool(of(user) & {ADMIN, RESEARCHER})
