import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from strategies.aggregation import BLOCK, MAX_TOTAL_WEIGHT, MeanOfMetrics, WeightedMean

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]


def mean_of(pairs):
    fold = WeightedMean()
    for arrays, weight in pairs:
        fold.add(arrays, weight)
    return fold.mean()


def exact_mean(values, weights):
    total = sum(Fraction(value) * weight for value, weight in zip(values, weights, strict=True))
    return total / sum(weights)


def test_the_mean_is_weighted():
    pairs = [({"x": np.array([1.0, 4.0])}, 1), ({"x": np.array([5.0, 8.0])}, 3)]
    assert mean_of(pairs)["x"].tolist() == [4.0, 7.0]


def test_total_and_count_are_kept():
    fold = WeightedMean()
    fold.add({"x": np.zeros(2)}, 3)
    fold.add({"x": np.zeros(2)}, 4)
    assert (fold.total, fold.count) == (7, 2)


def test_a_mean_of_one_model_is_that_model_to_the_bit():
    draw = np.random.default_rng(0)
    arrays = {
        "x": draw.standard_normal(100_000).astype(np.float32),
        "n": draw.integers(-(2**63), 2**63 - 1, 9),
    }
    mean = mean_of([(arrays, 601)])
    assert mean["x"].tobytes() == arrays["x"].tobytes()
    assert mean["n"].tolist() == arrays["n"].tolist()


def test_the_order_of_arrival_does_not_change_a_float32_model():
    draw = np.random.default_rng(11)
    pairs = [
        ({"x": draw.standard_normal(200_000).astype(np.float32)}, int(draw.integers(1, 2000)))
        for _ in range(10)
    ]
    first = mean_of(pairs)["x"]
    for _ in range(5):
        draw.shuffle(pairs)
        np.testing.assert_array_equal(mean_of(pairs)["x"], first)


def test_within_the_stated_condition_the_sum_is_exact():
    draw = np.random.default_rng(2)
    weights = [int(weight) for weight in draw.integers(1, 5_000, 20)]
    # a factor of 2^10 between the entries, weights that sum to less than 2^17
    vectors = [(draw.uniform(1, 1024, 50) * draw.choice([-1, 1], 50)).astype(np.float32) for _ in weights]
    mean = mean_of([({"x": vector}, weight) for vector, weight in zip(vectors, weights, strict=True)])["x"]
    expected = [exact_mean([float(vector[i]) for vector in vectors], weights) for i in range(50)]
    assert mean.tolist() == [float(np.float32(float(value))) for value in expected]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", *INTEGERS, "bool"])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 3), (4, 1, 5)], ids=str)
def test_dtypes_and_shapes_are_kept(dtype, shape):
    draw = np.random.default_rng(7)
    arrays = {"x": draw.integers(0, 2, shape).astype(dtype)}
    mean = mean_of([(arrays, 2), (arrays, 5)])["x"]
    assert (mean.dtype, mean.shape) == (np.dtype(dtype), shape)
    np.testing.assert_array_equal(mean, arrays["x"])


def test_a_tensor_longer_than_a_block_is_folded_to_its_end():
    draw = np.random.default_rng(3)
    size = 2 * BLOCK + 17
    vectors = [draw.standard_normal(size).astype(np.float32) for _ in range(3)]
    counts = [draw.integers(-1000, 1000, size) for _ in range(3)]
    pairs = [({"x": x, "n": n}, 1) for x, n in zip(vectors, counts, strict=True)]
    mean = mean_of(pairs)
    np.testing.assert_allclose(mean["x"], np.mean(vectors, axis=0, dtype=np.float64), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(mean["n"], np.rint(np.sum(counts, axis=0) / 3))


def test_views_that_are_not_contiguous_are_folded_by_their_values():
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(mean_of([({"x": base.T}, 2), ({"x": base.T}, 1)])["x"], base.T)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_over_their_whole_range_are_averaged_exactly_and_rounded_half_to_even(dtype):
    draw = np.random.default_rng(5)
    limits = np.iinfo(dtype)
    weights = [int(weight) for weight in draw.integers(1, 200_000_000, 8)]
    models = [draw.integers(limits.min, limits.max, 200, dtype=dtype, endpoint=True) for _ in weights]
    models[0][:2], models[1][:2] = limits.max, limits.max
    mean = mean_of([({"n": model}, weight) for model, weight in zip(models, weights, strict=True)])["n"]
    assert mean.dtype == dtype
    expected = [round(exact_mean([int(model[i]) for model in models], weights)) for i in range(200)]
    assert [int(value) for value in mean] == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [((0, 1), 0), ((1, 2), 2), ((2, 3), 2), ((-1, 0), 0), ((-2, -1), -2), ((-3, -2), -2)],
)
def test_a_tie_between_two_integers_goes_to_the_even_one(values, expected):
    pairs = [({"n": np.array(value)}, 3) for value in values]
    assert mean_of(pairs)["n"] == expected


def test_the_extremes_of_int64_stay_exact_at_the_largest_total_weight():
    for value in (2**63 - 1, -(2**63)):
        arrays = {"n": np.array([value])}
        assert mean_of([(arrays, MAX_TOTAL_WEIGHT - 1), (arrays, 1)])["n"].tolist() == [value]
    arrays = {"n": np.array([2**64 - 1], dtype=np.uint64)}
    assert mean_of([(arrays, MAX_TOTAL_WEIGHT - 1), (arrays, 1)])["n"].tolist() == [2**64 - 1]


def test_a_bool_takes_the_side_of_the_greater_weight():
    yes, no = {"b": np.array([True])}, {"b": np.array([False])}
    assert mean_of([(yes, 3), (no, 2)])["b"].tolist() == [True]
    assert mean_of([(yes, 2), (no, 2)])["b"].tolist() == [False]


def test_float16_is_summed_without_overflow_or_loss():
    arrays = {"h": np.full(4, 60_000, dtype=np.float16)}
    assert mean_of([(arrays, 1_000)] * 50)["h"].tolist() == arrays["h"].tolist()


@pytest.mark.parametrize("weight", [0, -1, True, 1.0, float("nan"), "3"])
def test_a_weight_that_is_no_positive_integer_is_refused(weight):
    with pytest.raises(ValueError, match="positive integer"):
        WeightedMean().add({"x": np.zeros(1)}, weight)


def test_weights_beyond_the_exact_range_are_refused():
    fold = WeightedMean()
    fold.add({"x": np.zeros(1)}, MAX_TOTAL_WEIGHT)
    with pytest.raises(ValueError, match=str(MAX_TOTAL_WEIGHT)):
        fold.add({"x": np.zeros(1)}, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"x": np.zeros(1)},
        {"x": np.zeros((2, 1))},
        {"x": np.zeros(2, dtype=np.float32)},
        {"y": np.zeros(2)},
        {"x": np.zeros(2), "y": np.zeros(2)},
    ],
)
def test_a_model_that_does_not_fit_is_refused_and_leaves_the_mean_as_it_was(other):
    fold = WeightedMean()
    fold.add({"x": np.ones(2)}, 2)
    with pytest.raises(ValueError, match="first model"):
        fold.add(other, 1)
    assert (fold.count, fold.total) == (1, 2)
    assert fold.mean()["x"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dtype", ["complex64", "longdouble", "U3", "datetime64[s]"])
def test_a_dtype_without_a_mean_is_refused(dtype):
    with pytest.raises(ValueError, match="no weighted mean"):
        WeightedMean().add({"x": np.zeros(2, dtype=dtype)}, 1)


def test_the_mean_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="not defined"):
        WeightedMean().mean()


def test_a_mean_begun_anew_knows_nothing_of_the_last_one():
    fold = WeightedMean()
    fold.add({"x": np.full(3, 7.0), "n": np.full(3, 7)}, 5)
    for arrays in ({"x": np.ones(3), "n": np.ones(3, dtype=int)}, {"y": np.ones(1)}):
        fold.reset()
        assert (fold.count, fold.total) == (0, 0)
        fold.add(arrays, 2)
        assert {name: array.tolist() for name, array in fold.mean().items()} == {
            name: array.tolist() for name, array in arrays.items()
        }


def peak_of_folding(clients, size=500_000):
    draw = np.random.default_rng(0)
    tracemalloc.start()
    fold = WeightedMean()
    for _ in range(clients):
        fold.add({"x": draw.standard_normal(size, dtype=np.float32), "n": np.arange(1000)}, 5)
    fold.mean()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_number_of_models():
    few, many = peak_of_folding(2), peak_of_folding(40)
    assert many < 1.02 * few
    # the float64 sum, the result, one model and a block
    assert many < 500_000 * (8 + 4 + 4) + 8 * BLOCK + 200_000


def test_metrics_are_averaged_over_those_who_report_them():
    mean = MeanOfMetrics()
    mean.add({"loss": 1.0, "accuracy": 0.5}, 1)
    mean.add({"loss": 3.0}, 3)
    assert mean.mean() == {"accuracy": 0.5, "loss": 2.5}
    assert MeanOfMetrics().mean() == {}
