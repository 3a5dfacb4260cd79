"""Beat's scheduler: what the settings say, what the database says, and what survives a restart."""

import time
from datetime import timedelta
from typing import Any

import pytest
from celery.beat import Scheduler
from django.conf import settings
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from constellation_web.celery import app
from fl_server import roles
from fl_server.platform.clock import Clock
from fl_server.services import schedules
from tests.server.world import SPEC, person

# The library closes a connection that is inside a transaction.
pytestmark = [pytest.mark.services, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """What the clock sends, with its options, instead of a message in the queue."""
    monkeypatch.setitem(connection.settings_dict, "CONN_MAX_AGE", 0)
    found: list[tuple[str, Any]] = []

    def note(self: Clock, entry: Any, **_: Any) -> None:
        found.append((entry.name, entry.options))

    monkeypatch.setattr(Scheduler, "apply_entry", note)
    return found


def clock() -> Clock:
    made = Clock(app=app)
    made._finalize.cancel()  # as though it were killed: nothing is written at the end
    return made


def look(of: Clock) -> None:
    """One turn of beat: it sends what is due."""
    for _ in range(len(of.schedule) + 1):
        of.tick()


def names(sent: list[tuple[str, Any]]) -> list[str]:
    return [name for name, _ in sent]


def test_beat_runs_with_it() -> None:
    assert app.conf.beat_scheduler == f"{Clock.__module__}:{Clock.__name__}"


def test_an_empty_database_gets_the_settings_entries_and_the_tick_goes_at_once(sent: list[Any]) -> None:
    look(clock())
    assert set(PeriodicTask.objects.values_list("name", flat=True)) == set(settings.CELERY_BEAT_SCHEDULE)
    assert names(sent).count("tick") == 1


def test_ticks_that_nobody_takes_expire(sent: list[Any]) -> None:
    look(clock())
    assert dict(sent)["tick"]["expires"] == settings.CELERY_BEAT_SCHEDULE["tick"]["options"]["expires"]
    entries = clock().schedule
    given = {name: entry["options"]["expires"] for name, entry in settings.CELERY_BEAT_SCHEDULE.items()}
    assert {name: entries[name].options["expires"] for name in given} == given


def test_after_a_kill_the_tick_goes_at_once_again(sent: list[Any]) -> None:
    look(clock())
    look(clock())
    assert names(sent).count("tick") == 2


def test_a_turn_of_the_clock_writes_nothing(sent: list[Any]) -> None:
    running = clock()
    look(running)
    with CaptureQueriesContext(connection) as asked:
        running.tick()
    # The commit is of no transaction.
    assert {query["sql"].split()[0] for query in asked} - {"COMMIT"} == {"SELECT"}


def test_an_entry_that_the_settings_no_longer_have_is_gone_and_others_stay(sent: list[Any]) -> None:
    every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="old", task="fl_server.tasks.old", interval=every)
    PeriodicTask.objects.create(name="theirs", task="company.tasks.report", interval=every)
    made = schedules.create(
        person("rosa", roles.RESEARCHER), name="Nightly", spec=SPEC, kind="cron", cron="30 2 * * *"
    )
    clock()
    kept = set(PeriodicTask.objects.values_list("name", flat=True)) - set(settings.CELERY_BEAT_SCHEDULE)
    assert kept == {"theirs", f"schedule {made.pk}"}


def test_a_schedule_made_while_beat_runs_goes_off_at_its_time(sent: list[Any]) -> None:
    running = clock()
    look(running)
    made = schedules.create(
        person("rosa", roles.RESEARCHER),
        name="Soon",
        spec=SPEC,
        kind="once",
        at=timezone.now() + timedelta(seconds=0.4),
    )
    for _ in range(100):
        wait = running.tick()
        if f"schedule {made.pk}" in names(sent):
            break
        time.sleep(min(max(wait, 0), 0.05))
    assert names(sent).count(f"schedule {made.pk}") == 1
    assert timezone.now() >= made.at


def test_a_database_that_is_away_for_a_moment_does_not_stop_it(
    sent: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = clock()
    look(running)

    def away(self: Clock) -> Any:
        raise OperationalError("database is locked")

    monkeypatch.setattr(Clock, "enabled_models", away)
    running._last_full_sync -= timedelta(minutes=6)
    assert "tick" in running.schedule
    with pytest.raises(OperationalError):
        clock()
