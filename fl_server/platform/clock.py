"""Celery beat's scheduler: what runs at which time stands in the database."""

import logging
import math
from typing import Any

from django.db import DatabaseError, connection
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

logger = logging.getLogger(__name__)


class Entry(ModelEntry):
    @classmethod
    def _unpack_options(cls, expires: float | None = None, **options: Any) -> dict[str, Any]:
        # The library drops `expires`, and ticks would pile up while no worker takes them.
        if expires is not None:
            options["expire_seconds"] = math.ceil(expires)
        return dict(super()._unpack_options(**options))


class Clock(DatabaseScheduler):
    Entry = Entry

    def setup_schedule(self) -> None:
        """The settings' entries, and none of ours that the settings no longer have. No task keeps results."""
        # It looks every two seconds; the last connection to SQLite that closes writes its log back each time.
        connection.settings_dict["CONN_MAX_AGE"] = None
        wanted = self.app.conf.beat_schedule
        ours = self.Model.objects.filter(task__startswith="fl_server.tasks.").exclude(name__in=wanted)
        ours.exclude(name__startswith="schedule ").delete()
        self.update_from_dict(wanted)
        # Nobody knows how long beat was away, and its last look is written every few minutes only.
        for entry in self.schedule.values():
            if entry.model.interval_id and entry.name in wanted:
                entry.last_run_at -= entry.schedule.run_every

    def all_as_schedule(self) -> dict[str, Entry]:
        """A database that is away for a moment does not stop the clock."""
        try:
            return dict(super().all_as_schedule())
        except DatabaseError as exc:
            if self._schedule is None:
                raise
            logger.warning("the schedule stays as it was known: %s", exc)
            return dict(self._schedule)
