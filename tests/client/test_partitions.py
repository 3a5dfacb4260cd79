import numpy as np
import pytest

from fl_client import partitions
from fl_client.errors import BadOptions, PartitionError

LABELS = np.repeat(np.arange(10), 100)
SCHEMES = [("iid", {}), ("dirichlet", {"alpha": 0.5, "min_size": 5}), ("shards", {"shards_per_partition": 2})]


def deal(scheme, options, count=5, seed=1, labels=LABELS):
    return [partitions.indices(scheme, options, labels, count, index, seed) for index in range(count)]


@pytest.mark.parametrize(("scheme", "options"), SCHEMES)
def test_every_row_is_dealt_exactly_once(scheme, options):
    assert np.array_equal(np.sort(np.concatenate(deal(scheme, options))), np.arange(1000))


@pytest.mark.parametrize(("scheme", "options"), SCHEMES)
def test_the_sizes_are_those_of_the_partitions(scheme, options):
    assert partitions.sizes(scheme, options, LABELS, 5, 1) == [len(rows) for rows in deal(scheme, options)]


@pytest.mark.parametrize(("scheme", "options"), SCHEMES)
def test_the_same_seed_deals_the_same_rows_whatever_the_process_drew_before(scheme, options):
    first = deal(scheme, options)
    np.random.default_rng().random(10)
    np.random.seed(5)
    again, other = deal(scheme, options), deal(scheme, options, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_iid_partitions_are_even_and_mixed_although_the_rows_are_sorted_by_class():
    dealt = deal("iid", {})
    assert [len(rows) for rows in dealt] == [200] * 5
    assert all(len(np.unique(LABELS[rows])) == 10 for rows in dealt)


def test_a_small_alpha_is_less_even_than_a_large_one():
    def spread(alpha):
        dealt = deal("dirichlet", {"alpha": alpha, "min_size": 1})
        return np.mean([np.std(np.bincount(LABELS[rows], minlength=10)) for rows in dealt])

    assert spread(0.3) > 2 * spread(1000.0)


def test_two_shards_show_a_partition_at_most_two_classes():
    dealt = deal("shards", {"shards_per_partition": 2})
    assert max(len(np.unique(LABELS[rows])) for rows in dealt) <= 2


def test_rows_of_a_class_are_not_dealt_in_the_order_of_the_file():
    rows = deal("shards", {"shards_per_partition": 4}, count=5)[0]
    assert not np.array_equal(np.sort(rows), rows)
    assert np.ptp(np.sort(rows[LABELS[rows] == LABELS[rows[0]]])) > 60


@pytest.mark.parametrize(
    ("scheme", "options", "count", "complaint"),
    [
        ("iid", {}, 1001, "cannot be dealt to 1001"),
        ("dirichlet", {"min_size": 300}, 5, "at least 300"),
        ("dirichlet", {"alpha": 0.001, "min_size": 100}, 9, "No dirichlet partition"),
        ("shards", {"shards_per_partition": 201}, 5, "1005 shards"),
    ],
)
def test_a_deal_that_is_impossible_says_why(scheme, options, count, complaint):
    with pytest.raises(PartitionError, match=complaint) as caught:
        partitions.indices(scheme, options, LABELS, count, 0, 1)
    assert caught.value.code == "partition-impossible"


def test_a_partition_beyond_the_last_does_not_exist():
    with pytest.raises(PartitionError, match="does not exist"):
        partitions.indices("iid", {}, LABELS, 3, 3, 1)


@pytest.mark.parametrize(
    ("scheme", "options"),
    [("dirichlet", {"alpha": 0}), ("shards", {"shards_per_partition": 0}), ("iid", {"alpha": 1})],
)
def test_options_out_of_range_are_refused(scheme, options):
    with pytest.raises(BadOptions):
        partitions.sizes(scheme, options, LABELS, 3, 1)
