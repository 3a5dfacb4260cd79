import math
import os

import pytest

from fl_client.senses import load
from fl_client.senses.load import OtherLoad, Sample

CORES = 4


def samples(*steps: tuple[float, dict[int, float]], seconds: float = 1.0) -> list[Sample]:
    """Samples one step apart out of (busy cores, {process of ours: its busy cores})."""
    made = [Sample(0.0, 0.0, 0.0, dict.fromkeys(steps[0][1], 0.0))]
    for busy, ours in steps:
        last = made[-1]
        counters = {pid: last.ours.get(pid, 0.0) + cores * seconds for pid, cores in ours.items()}
        made.append(
            Sample(last.at + seconds, last.busy + busy * seconds, last.total + CORES * seconds, counters)
        )
    return made


def fed(made: list[Sample], smoothing: float = 0.0) -> list[float | None]:
    other = OtherLoad(smoothing)
    return [other.feed(each) for each in made]


def test_one_sample_tells_nothing():
    assert fed(samples((1.0, {}))[:1]) == [None]


@pytest.mark.parametrize(
    ("busy", "ours", "expected"),
    [
        (0.0, {}, 0.0),
        (1.0, {}, 25.0),
        (4.0, {7: 4.0}, 0.0),
        (4.0, {7: 2.0, 8: 1.0}, 25.0),
        # Counters of processes run a little ahead of the machine's.
        (3.9, {7: 4.0}, 0.0),
    ],
)
def test_what_we_use_is_taken_off_the_load_of_the_whole_machine(busy, ours, expected):
    assert fed(samples((busy, ours)))[-1] == pytest.approx(expected)


def test_a_worker_that_has_just_started_is_ours_from_the_first_moment():
    assert fed(samples((2.0, {1: 0.0}), (4.0, {1: 0.0, 2: 4.0})))[-1] == pytest.approx(0.0)


def test_a_number_that_went_to_another_process_counts_what_that_one_used():
    assert load.our_seconds({5: 100.0, 6: 1.0}, {5: 0.5, 6: 3.0}) == 2.5


def test_a_worker_that_has_ended_is_no_longer_counted():
    assert load.our_seconds({5: 100.0}, {}) == 0.0


def test_a_spike_of_a_second_does_not_pass_for_load():
    smoothed = fed(samples((0.0, {}), (4.0, {}), (0.0, {})), load.SMOOTHING_SECONDS)
    assert smoothed[2] == pytest.approx(100 * (1 - math.exp(-0.1)))
    assert smoothed[2] < 10
    assert smoothed[3] < smoothed[2]


def test_lasting_load_is_seen_after_the_time_constant():
    smoothed = fed(samples((0.0, {}), *[(2.0, {})] * 30), load.SMOOTHING_SECONDS)
    assert smoothed[11] == pytest.approx(50 * (1 - math.exp(-1)))
    assert smoothed[31] > 47


def test_the_smoothing_does_not_depend_on_how_often_one_looks():
    every_second = fed(samples((0.0, {}), *[(2.0, {})] * 10), load.SMOOTHING_SECONDS)
    every_fifth = fed(
        [Sample(0, 0, 0), Sample(1, 0, 4), Sample(6, 10, 24), Sample(11, 20, 44)], load.SMOOTHING_SECONDS
    )
    assert every_fifth[-1] == pytest.approx(every_second[-1])


def test_two_looks_within_one_tick_keep_the_last_load():
    other = OtherLoad(0.0)
    still = Sample(1.0, 2.0, 4.0)
    assert [other.feed(each) for each in (Sample(0, 0, 0), still, still)] == [None, 50.0, 50.0]


def test_a_real_sample_knows_this_process_and_forgets_one_that_is_gone():
    taken = load.sample([os.getpid(), 2**22 + 1], 5.0)
    assert list(taken.ours) == [os.getpid()]
    assert taken.ours[os.getpid()] > 0
    assert 0 < taken.busy < taken.total


def test_memory_is_told_and_ours_is_part_of_it():
    memory = load.memory()
    assert 0 < load.our_memory([os.getpid(), 2**22 + 1]) < memory.total_bytes
    assert 0 < memory.available_bytes <= memory.total_bytes


ROLLUP = """\
00400000-7ffd6a5f1000 ---p 00000000 00:00 0                              [rollup]
Rss:              412348 kB
Pss:              301022 kB
Pss_Dirty:        287512 kB
Shared_Clean:     121004 kB
"""


def test_memory_that_processes_share_counts_once():
    assert load.proportional(ROLLUP) == 301022 * 1024


def test_a_kernel_without_proportions_is_noticed():
    with pytest.raises(ValueError, match="no Pss"):
        load.proportional("Rss: 12 kB\n")
