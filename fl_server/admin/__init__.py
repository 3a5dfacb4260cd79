"""What admins govern. Rows are looked at here; every change goes through a service."""

from fl_server.admin import contributions, devices, jobs, notifications, people, policies, quotas, schedules

__all__ = ["contributions", "devices", "jobs", "notifications", "people", "policies", "quotas", "schedules"]
