from rest_framework.throttling import UserRateThrottle


class PerUser(UserRateThrottle):
    """A generous bound for everybody: each user, or each address that has not logged in."""

    scope = "api"
