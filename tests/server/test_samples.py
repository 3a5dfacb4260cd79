import pytest

from fl_server import samples
from fl_server.device_messages import Telemetry
from fl_server.samples import Summary
from tests.server.machines import TELEMETRY


def test_a_sample_keeps_the_numbers_that_the_machine_told_and_no_others() -> None:
    gpu = {"name": "G", "total_bytes": 8, "free_bytes": 3, "load": 40.0}
    said = Telemetry.model_validate(TELEMETRY | {"battery": 80.0, "gpus": [gpu]})
    assert samples.numbers(said) == {
        "cpu": 3.5,
        "ram_free_bytes": 4_000_000_000,
        "battery": 80.0,
        "gpu0.load": 40.0,
        "gpu0.free_bytes": 3,
    }


def test_a_summary_has_mean_highest_and_lowest_of_each_number() -> None:
    found = samples.summary([{"cpu": 1.0}, {"cpu": 4.0, "temperature": 50.0}])
    assert found == Summary(
        2,
        {"cpu": 2.5, "temperature": 50.0},
        {"cpu": 4.0, "temperature": 50.0},
        {"cpu": 1.0, "temperature": 50.0},
    )


def test_a_summary_of_summaries_weighs_each_by_its_samples() -> None:
    one = Summary(3, {"cpu": 10.0}, {"cpu": 20.0}, {"cpu": 5.0})
    other = Summary(
        1, {"cpu": 50.0, "battery": 90.0}, {"cpu": 50.0, "battery": 90.0}, {"cpu": 50.0, "battery": 90.0}
    )
    found = samples.merged([one, other])
    assert (found.count, found.means) == (4, {"cpu": 20.0, "battery": 90.0})
    assert (found.highest["cpu"], found.lowest["cpu"]) == (50.0, 5.0)


def test_nothing_is_summed_up_to_nothing() -> None:
    assert samples.merged([]) == Summary(0, {}, {}, {})


@pytest.mark.parametrize(
    "timed", [[(0.5, {"cpu": 1.0}), (5.5, {"cpu": 2.0, "battery": 7.0})], [(3.0, {})]], ids=["two", "empty"]
)
def test_columns_give_back_what_was_put_in(timed: list) -> None:
    assert samples.from_columns(samples.in_columns(timed)) == timed
