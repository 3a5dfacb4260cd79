"""Kill -9 of each process of the server, in turn, while a job runs."""

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.kill, pytest.mark.timeout(400)]


@pytest.mark.parametrize(
    ("what", "words", "goal"),
    [
        ("Celery worker", ("celery", "worker", "control@"), 10),
        ("beat", ("celery", "beat"), 10),
        ("web", ("manage.py", "web"), 10),
        ("SuperLink", ("fl_server.flower.superlink",), 10),
        ("Redis, back empty", ("redis-server",), 10),
        ("ServerApp", ("flwr-serverapp",), 20),
    ],
    ids=["worker", "beat", "web", "superlink", "redis", "serverapp"],
)
def test_a_job_survives_the_death_of(cluster, noted, what, words, goal) -> None:
    outcome = cluster.with_fault(what, lambda _: cluster.kill(*words))
    seconds = noted(what, outcome)
    assert outcome.same_as_undisturbed() > len(outcome.rounds)
    # The goal is for a machine with nothing else to do; a test only says that nothing waits for a timeout.
    assert seconds < goal * 3
