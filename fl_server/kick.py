"""A nudge to Celery after a commit. Losing a nudged tick costs one tick's period, nothing else."""

import logging
from typing import Any

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)


def tick() -> None:
    """Ask for a tick once the surrounding transaction is committed."""
    _after_commit("fl_server.tasks.tick", [], expires=2.0)


def evaluate(checkpoint_id: int) -> None:
    """Ask for the evaluation of a checkpoint once the surrounding transaction is committed."""
    _after_commit("fl_server.tasks.evaluate_checkpoint", [checkpoint_id])


def estimate(needs: dict[str, Any]) -> None:
    """Ask for the estimate of what a kind of training takes once the surrounding transaction is committed."""
    _after_commit("fl_server.tasks.estimate_memory", [needs], expires=30.0)


def learn(round_id: int) -> None:
    """Ask what a round tells of its devices once the surrounding transaction is committed."""
    _after_commit("fl_server.tasks.learn_from_round", [round_id], expires=600.0)


def deliver() -> None:
    """Ask for mails and webhooks to be sent once the surrounding transaction is committed."""
    _after_commit("fl_server.tasks.deliver", [], expires=30.0)


def make_room() -> None:
    """Ask for the files that may go to be removed now: the disk is full."""
    _after_commit("fl_server.tasks.make_room", [], expires=10.0)


def _after_commit(task: str, args: list[Any], **options: Any) -> None:
    def send() -> None:
        try:
            current_app.send_task(task, args, retry=False, **options)
        except Exception as exc:
            logger.warning("%s not sent to the queue: %s", task, exc)

    transaction.on_commit(send)
