"""Which checkpoint files stay on the disk, and how those that no resume needs are stored.

A job's rule (`spec.checkpoints`) keeps the last n rounds and each m-th one. Whatever it says, these stay as
they are: the best, the pinned and the newest one, what an active run or another job begins with, and what
waits for its evaluation. A delta is based on one whole file directly, never on another delta, so restoring
reads two files; that whole one stays as long as a delta needs it. Rows stay for ever; `removed_at` says that
the file is gone.

A file is replaced in this order: the new file, the row, then the old file. A crash in between leaves a file
that no row names, which goes a day later.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Case, F, PositiveBigIntegerField, Q, QuerySet, When
from django.utils import timezone

from fl_server import spec, weight_files
from fl_server.models import Checkpoint, Run, TrainingJob
from fl_server.services import checkpoints

logger = logging.getLogger(__name__)

Storage = Checkpoint.Storage

# The evaluator reads a checkpoint soon after it was written, or not at all.
EVALUATION_PATIENCE = timedelta(minutes=10)
FORGOTTEN_AFTER = timedelta(days=1)
DELTAS_OF_ONE = 8
# The rest has its turn with the next sweep.
STORED_AT_ONCE = 20
STORING_SECONDS = 10.0  # of a sweep; the evaluator has other work


@dataclass(frozen=True)
class Kept:
    """A checkpoint whose file is there. `needed` ones are neither removed nor stored in another way."""

    pk: int
    round: int
    storage: str = Storage.FULL
    base: int | None = None
    pinned: bool = False
    needed: bool = False


@dataclass(frozen=True)
class Plan:
    """What to remove, and what to store anew: with the base of its delta, or None for float16."""

    remove: list[int] = field(default_factory=list)
    store: list[tuple[int, int | None]] = field(default_factory=list)


@dataclass(frozen=True)
class Swept:
    removed: int = 0
    stored: int = 0
    bytes_freed: int = 0


def plan(there: Iterable[Kept], rule: spec.Checkpoints) -> Plan:
    """What the rule makes of one job's checkpoints."""
    rows = sorted(there, key=lambda row: row.round)
    stays = {row.pk for row in rows[-rule.keep_last :]}
    stays |= {row.pk for row in rows if row.pinned or row.needed or row is rows[-1]}
    if rule.keep_every:
        stays |= {row.pk for row in rows if row.round % rule.keep_every == 0}
    stays |= {row.base for row in rows if row.pk in stays and row.base is not None}
    kept = [row for row in rows if row.pk in stays]
    return Plan([row.pk for row in rows if row.pk not in stays], _to_store(kept, rule.storage))


def _to_store(kept: list[Kept], storage: str) -> list[tuple[int, int | None]]:
    bases = {row.base for row in kept}
    free = [
        row
        for row in kept[:-1]
        if row.storage == Storage.FULL and not row.needed and not row.pinned and row.pk not in bases
    ]
    if storage == Storage.FLOAT16:
        return [(row.pk, None) for row in free]
    return _to_deltas(kept, {row.pk for row in free}) if storage == Storage.DELTA else []


def _to_deltas(kept: list[Kept], free: set[int]) -> list[tuple[int, int | None]]:
    """Each on the nearest whole one before it that has not its number of deltas yet."""
    store: list[tuple[int, int | None]] = []
    deltas: dict[int | None, int] = defaultdict(int)
    for row in kept:
        deltas[row.base] += 1
    base: int | None = None
    for row in kept:
        if row.storage != Storage.FULL:
            continue
        if row.pk in free and base is not None and deltas[base] < DELTAS_OF_ONE:
            deltas[base] += 1
            store.append((row.pk, base))
        else:
            base = row.pk
    return store


def sweep(job_id: int | None = None, now: datetime | None = None, *, store: bool = True) -> Swept:
    """Apply the rules of all jobs, or of one; without `store` only remove, which is quick."""
    now = now or timezone.now()
    removed = stored = freed = 0
    give_up = time.monotonic() + STORING_SECONDS
    for job, rows in _there(job_id, now).items():
        wanted = plan(rows, spec.Checkpoints.model_validate(job.spec["checkpoints"]))
        if wanted.remove:
            freed += _remove(job.pk, wanted.remove, now)
            removed += len(wanted.remove)
        for pk, base in wanted.store[:STORED_AT_ONCE] if store else ():
            if time.monotonic() > give_up:
                break
            saved = _store(pk, base)
            stored += saved > 0
            freed += saved
    if removed or stored:
        # After each round of each job nobody needs to read it.
        level = logging.INFO if job_id is None else logging.DEBUG
        logger.log(level, "%s checkpoints removed, %s stored anew, %s bytes freed", removed, stored, freed)
    return Swept(removed, stored, freed)


def _there(job_id: int | None, now: datetime) -> dict[TrainingJob, list[Kept]]:
    """Every job with the checkpoints whose files are there, in a constant number of queries."""
    alive = Checkpoint.objects.filter(removed_at__isnull=True)
    if job_id is not None:
        alive = alive.filter(job=job_id)
    begun = TrainingJob.objects.filter(start_checkpoint__isnull=False)
    begins = set(begun.values_list("start_checkpoint_id", flat=True))
    first = set(Run.objects.filter(status__in=Run.ACTIVE).values_list("job_id", "first_round"))
    jobs = {job.pk: job for job in TrainingJob.objects.filter(pk__in=alive.values("job"))}
    waits = {row.pk for row in alive.filter(created_at__gt=now - EVALUATION_PATIENCE) if _waits(row, jobs)}
    found: dict[TrainingJob, list[Kept]] = defaultdict(list)
    for row in alive.values_list("pk", "job_id", "round_number", "storage", "base_id", "pinned", named=True):
        job = jobs.get(row.job_id)
        # Jobs from before there were rules keep everything.
        if job is None or "checkpoints" not in job.spec:
            continue
        needed = (
            row.pk in begins
            or row.pk in waits
            or row.pk == job.best_checkpoint_id
            or (row.job_id, row.round_number + 1) in first
        )
        found[job].append(Kept(row.pk, row.round_number, row.storage, row.base_id, row.pinned, needed))
    return found


def _waits(row: Checkpoint, jobs: dict[int, TrainingJob]) -> bool:
    """Whether the evaluator may still come for it."""
    wanted = jobs[row.job_id].spec if row.job_id in jobs else {}
    return wanted.get("evaluation") != "off" and wanted.get("metric", {}).get("name") not in row.metrics


def _free(job_id: int) -> Q:
    """Asked again in each UPDATE: it was neither pinned nor became the best since the plan was made."""
    best = TrainingJob.objects.filter(best_checkpoint__isnull=False).values("best_checkpoint")
    begins = TrainingJob.objects.filter(start_checkpoint__isnull=False).values("start_checkpoint")
    return Q(job=job_id, removed_at__isnull=True, pinned=False) & ~Q(pk__in=best) & ~Q(pk__in=begins)


def _remove(job_id: int, pks: list[int], now: datetime) -> int:
    """Mark the rows first: a file that outlives its row is swept later, a row without its file misleads."""
    with transaction.atomic():
        checkpoints.lock(job_id)
        gone = Checkpoint.objects.filter(_free(job_id), pk__in=pks).exclude(pk__in=_bases(job_id, pks))
        files = [path for row in gone for path in _files(row)]
        # What float16 saved has been counted; a delta's row still tells the size of the whole.
        counted = When(storage=Storage.FLOAT16, then=F("bytes_saved") + F("size"))
        saved = Case(counted, default=F("size"), output_field=PositiveBigIntegerField())
        gone.update(removed_at=now, bytes_saved=saved, base=None)
    return weight_files.remove(_root(), files)


def _bases(job_id: int, going: list[int]) -> QuerySet[Any]:
    """What deltas other than those that go are built on."""
    deltas = Checkpoint.objects.filter(job=job_id, removed_at__isnull=True, base__isnull=False)
    return deltas.exclude(pk__in=going).values("base")


def _files(row: Checkpoint) -> list[str]:
    return [row.path, *([weight_files.state_path(row.path)] if row.state_sha256 else [])]


def _store(pk: int, base_pk: int | None) -> int:
    """Write the smaller file and let the row name it; the bytes that this freed."""
    row = Checkpoint.objects.select_related("job").get(pk=pk)
    try:
        if base_pk is None:
            return _store_float16(row)
        return _store_delta(row, Checkpoint.objects.get(pk=base_pk))
    except (OSError, weight_files.Damaged) as exc:
        logger.warning("%s stays as it is: %s", row, exc)
        return 0


def _store_float16(row: Checkpoint) -> int:
    path = weight_files.float16_path(row.path)
    written = weight_files.write_float16(_root() / row.path, _root() / path, row.sha256)
    if written is None:
        return 0
    sha256, size = written
    # Its state belongs to weights that are no longer there to the last bit.
    return _replace(row, Storage.FLOAT16, path, sha256=sha256, size=size, state_sha256="")


def _store_delta(row: Checkpoint, base: Checkpoint) -> int:
    path = weight_files.delta_path(row.path, base.round_number)
    size = weight_files.write_delta(_root() / base.path, _root() / row.path, _root() / path, row.sha256)
    return 0 if size is None else _replace(row, Storage.DELTA, path, base=base)


def _replace(row: Checkpoint, storage: str, path: str, base: Checkpoint | None = None, **facts: Any) -> int:
    """Let the row name the new file and remove the old one; undone when the row changed meanwhile."""
    old = [row.path] if storage == Storage.DELTA else _files(row)
    saved = sum(_size(name) for name in old) - _size(path)
    with transaction.atomic():
        checkpoints.lock(row.job_id)
        mine = Checkpoint.objects.filter(_free(row.job_id), pk=row.pk, storage=Storage.FULL)
        mine = mine.exclude(pk__in=_bases(row.job_id, []))
        lasts = (
            base is None
            or Checkpoint.objects.filter(pk=base.pk, storage=Storage.FULL, removed_at__isnull=True).exists()
        )
        done = lasts and mine.update(
            storage=storage, path=path, base=base, bytes_saved=max(0, saved), **facts
        )
        # Another sweep may have been faster, and written the same file.
        useless = not done and not Checkpoint.objects.filter(pk=row.pk, path=path).exists()
    weight_files.remove(_root(), old if done else [path] if useless else [])
    return saved if done else 0


def sweep_forgotten(now: datetime | None = None) -> int:
    """Remove files of jobs that no row names and nobody has written to for a day; the bytes freed."""
    before = (now or timezone.now()) - FORGOTTEN_AFTER
    rows = Checkpoint.objects.filter(removed_at__isnull=True)
    named = {path for row in rows.only("path", "state_sha256").iterator() for path in _files(row)}
    found = weight_files.forgotten(_root(), before.timestamp(), named.__contains__)
    freed = weight_files.remove(_root(), found)
    if found:
        logger.info("%s files that belong to no checkpoint removed, %s bytes freed", len(found), freed)
    return freed


def _size(path: str) -> int:
    return (_root() / path).stat().st_size


def _root() -> Path:
    return Path(settings.CHECKPOINTS_DIR)
