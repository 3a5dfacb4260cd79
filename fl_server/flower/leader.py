"""Leading one run from its first round to its last, inside the ServerApp."""

import logging
import threading
import traceback
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from flwr.app import Array, ArrayRecord
from flwr.serverapp import Grid

from fl_server import spec
from fl_server.flower import engine, room
from fl_server.flower.grid import EngineLost, QuickGrid
from fl_server.flower.lease import Lease, persist
from fl_server.flower.link import SocketLink
from fl_server.models import Participation, Run
from fl_server.selectors import runs as selectors
from fl_server.services import checkpoints, participations, rounds, runs
from strategies import catalog, checkpoint
from strategies.document import pack, unpack
from strategies.exceptions import DiskFull, Diverged, TooFewReplies
from strategies.federated import FederatedStrategy, ReplyOutcome, RoundOutcome
from strategies.grid import DeviceGrid
from strategies.link import Stopped, Waiting
from strategies.norms import ROUNDS, NormWatch, PastNorm

logger = logging.getLogger(__name__)

Status = Participation.Status
# A message outlives its round a little, so that a late reply is seen as late and not as unknown. Seconds.
MESSAGE_MARGIN = 60.0


class NotPrepared(Exception):
    """The first weights or the rows of the partitions did not come in time."""


def lead(grid: Grid, run_id: int, fence: int) -> None:
    """Train until the last round, and leave the run with a reason however it ends."""
    run = Run.objects.select_related("job").get(pk=run_id, fence=fence)
    stop = threading.Event()
    engine.quicken_pulls()
    runs.start(run)
    logger.info("%s starts with round %s", run, run.first_round)
    with Lease(run, stop):
        try:
            Leader(grid, run, stop).train()
            persist(lambda: runs.complete(run))
            logger.info("%s is complete", run)
        except (Stopped, runs.Superseded) as exc:
            logger.info("%s ends early: %s", run, exc)
        except TooFewReplies as exc:
            reason = " ".join([str(exc), *selectors.problems(run, exc.round)])
            if selectors.diverged_on_devices(run, exc.round):
                _fail(run, "diverged", reason)
            else:
                _fail(run, "too-few-replies", reason)
        except Diverged as exc:
            _fail(run, "diverged", str(exc))
        except NotPrepared as exc:
            _fail(run, "preparation-timeout", str(exc))
        except EngineLost as exc:
            _fail(run, "engine-lost", str(exc))
        except DiskFull as exc:
            _fail(run, "disk-full", f"The server's disk is full: {exc}.")
        except (OperationalError, InterfaceError) as exc:
            if room.is_full(exc):
                _fail(run, "disk-full", f"The server's disk is full: {exc}.")
            else:
                _fail(run, "database-lost", f"The database was away for too long: {exc}.")
        except Exception as exc:
            logger.exception("%s failed", run)
            said = str(exc).rstrip(".") or type(exc).__name__
            code = "disk-full" if room.is_full(exc) else "error"
            _fail(run, code, f"The process that led the run met a fault: {said}.", traceback.format_exc())
            raise


def _fail(run: Run, code: str, reason: str, trace: str = "") -> None:
    logger.warning("%s fails: %s", run, reason)
    persist(lambda: runs.fail(run, code, reason, trace))


def waiting_for(wanted: spec.Participation) -> Waiting:
    """More devices may be asked than answers are wanted; then these close the round, after the grace."""
    enough = wanted.quorum or wanted.target_devices
    return Waiting(deadline=wanted.round_deadline_seconds, quorum=enough, grace=wanted.grace_seconds)


class Leader:
    def __init__(self, grid: Grid, run: Run, stop: threading.Event) -> None:
        self._run = run
        self._spec = spec.parse(run.job.spec)
        self._link = SocketLink(run, stop)
        wait = self._spec.participation
        self._grid = DeviceGrid(QuickGrid(grid, stop), self._link, waiting_for(wait))
        self._needed = wait.quorum or 1
        self._started = timezone.now()
        self._planned: list[int] = []
        self._model_bytes = 0
        self._bytes_up = 0
        self._rows: dict[int, int] = {}

    def train(self) -> None:
        self._wait_until_prepared()
        self._inner = catalog.build(self._spec.strategy.name, self._spec.strategy.options)
        arrays = self._initial_arrays()
        strategy = FederatedStrategy(
            self._inner,
            run=self._run.pk,
            fence=self._run.fence,
            max_examples=self._rows,
            plan=self._plan,
            first_round=self._run.first_round,
            quorum=self._needed,
            on_reply=self._on_reply,
            on_round=self._on_round,
            ttl=self._spec.participation.round_deadline_seconds + MESSAGE_MARGIN,
            watch=self._watch(),
        )
        left = self._spec.rounds - self._run.first_round + 1
        strategy.start(self._grid, arrays, num_rounds=left)

    def _watch(self) -> NormWatch:
        check = self._spec.update_check
        past = persist(lambda: selectors.past_norms(self._run, ROUNDS)) if check.action != "off" else []
        return NormWatch(check.action, check.factor, [PastNorm(*row) for row in past])

    def _wait_until_prepared(self) -> None:
        give_up = timezone.now() + timedelta(seconds=settings.LAUNCH_SECONDS)
        while True:
            persist(lambda: self._run.refresh_from_db(fields=["prepared_at"]))
            if self._run.prepared_at:
                return
            if self._link.stop.is_set():
                raise Stopped("the run was stopped")
            if timezone.now() > give_up:
                raise NotPrepared(f"The first weights were not ready after {settings.LAUNCH_SECONDS:.0f} s.")
            self._link.prepared.wait(0.5)

    def _initial_arrays(self) -> ArrayRecord:
        """The newest checkpoint's weights; the strategy gets back the state that it had then."""
        newest = persist(lambda: selectors.latest_checkpoint(self._run))
        if newest is None:
            raise FileNotFoundError(f"There is no checkpoint of round {self._run.first_round - 1}.")
        data = persist(lambda: checkpoints.document(newest))
        if newest.state_sha256:
            state = checkpoint.read(self._folder() / checkpoint.state_path(newest.path), newest.state_sha256)
            checkpoint.restore_state(self._inner, unpack(state))
        self._model_bytes = len(data)
        return ArrayRecord({name: Array(array) for name, array in unpack(data).items()})

    def _folder(self) -> Path:
        return Path(settings.CHECKPOINTS_DIR)

    def _plan(self, round_number: int, _: Grid) -> list[int]:
        """Whoever is there; between two rounds others may have come in the place of those that went."""
        nodes = self._grid.gather(self._link.reserved, self._needed)
        self._rows.update(persist(lambda: selectors.rows_dealt(self._run)))
        self._planned = [node for node in nodes if node in self._rows]
        self._started = timezone.now()
        self._bytes_up = 0
        devices = [self._link.device(node) for node in self._planned]
        persist(lambda: rounds.begin(self._run, round_number, devices))
        return self._planned

    def _on_reply(self, outcome: ReplyOutcome) -> None:
        self._bytes_up += outcome.nbytes
        if not outcome.accepted and outcome.code != "client-error":
            self._grid.discount()
        persist(
            lambda: participations.settle(
                self._run,
                outcome.round,
                self._link.device(outcome.node_id),
                Status.ACCEPTED if outcome.accepted else Status.REJECTED,
                reason_code=outcome.code or ("norm" if outcome.warning else ""),
                reason=outcome.message or outcome.warning,
                update_norm=outcome.norm,
                examples=outcome.examples,
                seconds=outcome.seconds,
                bytes_up=outcome.nbytes,
                bytes_down=self._model_bytes,
                metrics=dict(outcome.metrics),
            )
        )

    def _on_round(self, outcome: RoundOutcome) -> None:
        file = room.write(lambda: self._write(outcome), self._link.stop)
        report = rounds.RoundReport(
            number=outcome.round,
            started_at=self._started,
            finished_at=timezone.now(),
            examples=outcome.examples,
            accepted=outcome.accepted,
            rejected=outcome.rejected,
            bytes_down=self._model_bytes * len(self._planned),
            bytes_up=self._bytes_up,
            metrics=dict(outcome.metrics),
        )
        persist(lambda: rounds.commit(self._run, report, file, evaluate=self._evaluates(outcome.round)))
        logger.info(
            "round %s of job %s: %s accepted, %s rejected, %.2f s",
            *(outcome.round, self._run.job_id, outcome.accepted, outcome.rejected, outcome.seconds),
        )

    def _write(self, outcome: RoundOutcome) -> rounds.CheckpointFile:
        job, number = self._run.job_id, self._run.number
        path = checkpoint.model_path(job, number, outcome.round)
        data = pack(outcome.arrays)
        self._model_bytes = len(data)
        state = checkpoint.state_of(self._inner)
        state_sha256 = ""
        if state:
            state_sha256 = checkpoint.write(self._folder() / checkpoint.state_path(path), pack(state)).sha256
        written = checkpoint.write(self._folder() / path, data)
        return rounds.CheckpointFile(path, written.sha256, written.size, state_sha256)

    def _evaluates(self, round_number: int) -> bool:
        when = self._spec.evaluation
        return when == "every-round" or (when == "last-round" and round_number == self._spec.rounds)
