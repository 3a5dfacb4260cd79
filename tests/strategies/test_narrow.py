import numpy as np
import pytest

from strategies.document import pack, unpack
from strategies.exceptions import PackingError
from strategies.narrow import narrow, widen
from tests.strategies.world import model


def mixed():
    return model() | {"deep": np.linspace(-1, 1, 100, dtype=np.float64)}


def test_floats_take_half_or_less_and_counters_stay():
    document = pack(mixed())
    small = narrow(document)
    assert len(small) < len(document)
    arrays = unpack(small)
    assert {name: str(array.dtype) for name, array in arrays.items()} == {
        "zeta.weight": "float16",
        "alpha.half": "float16",
        "norm.scale": "float16",
        "norm.batches": "int64",
        "deep": "float16",
    }


def test_widening_gives_the_types_back_and_three_digits():
    before = mixed()
    after = widen(narrow(pack(before)))
    for name, array in before.items():
        assert after[name].dtype == array.dtype
        assert after[name].shape == array.shape
        np.testing.assert_allclose(after[name], array, rtol=1e-3)


def test_another_document_is_widened_as_it_is():
    before = model()
    for name, array in widen(pack(before)).items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(
    "arrays",
    [{"a": np.array([1e5], np.float32)}, {"a": np.zeros(3, np.int64)}, {"a": np.zeros(3, np.float16)}, {}],
    ids=["beyond the range", "integers", "already narrow", "empty"],
)
def test_what_gains_nothing_or_does_not_fit_is_left_alone(arrays):
    assert narrow(pack(arrays)) is None


def test_metadata_that_make_no_sense_are_an_error_of_ours():
    document = narrow(pack({"a": np.ones(3, np.float32)})).replace(b"float32", b"float99")
    with pytest.raises(PackingError, match="which types"):
        widen(document)
