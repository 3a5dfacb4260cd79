"""What admins govern. Rows are looked at here; every change goes through a service."""

from fl_server.admin import devices, jobs, people, policies

__all__ = ["devices", "jobs", "people", "policies"]
