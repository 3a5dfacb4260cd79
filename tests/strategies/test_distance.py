import numpy as np
import pytest

from strategies import distance
from strategies.distance import LayoutsDiffer, between
from tests.strategies.world import model


def test_the_distance_is_that_of_the_floating_tensors_as_one_vector(monkeypatch):
    monkeypatch.setattr(distance, "BLOCK", 5)
    first, second = model(1), model(2)
    names = [name for name in first if first[name].dtype.kind == "f"]
    a = np.concatenate([first[name].astype(np.float64).reshape(-1) for name in names])
    b = np.concatenate([second[name].astype(np.float64).reshape(-1) for name in names])
    found = between(first, second)
    assert found.parameters == a.size == 18
    assert found.l2 == pytest.approx(np.linalg.norm(b - a))
    assert found.relative == pytest.approx(np.linalg.norm(b - a) / np.linalg.norm(a))
    assert found.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_tensor_that_moved_most_comes_first():
    first = {name: np.ones(4, np.float32) for name in "abcdefg"}
    second = first | {"c": np.full(4, 3, np.float32), "e": np.full(4, 2, np.float32)}
    found = between(first, second).tensors
    assert [(t.name, t.l2, t.relative) for t in found[:2]] == [("c", 4.0, 2.0), ("e", 2.0, 1.0)]
    assert len(found) == distance.SHOWN


def test_a_model_is_at_no_distance_from_itself():
    found = between(model(1), model(1))
    assert (found.l2, found.relative) == (0.0, 0.0)
    assert found.cosine == pytest.approx(1.0)


def test_a_model_of_zeros_has_neither_angle_nor_relative_distance():
    found = between({"a": np.zeros(2, np.float32)}, {"a": np.ones(2, np.float32)})
    assert (found.relative, found.cosine, found.tensors[0].relative) == (None, None, None)
    assert found.l2 == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"b": np.ones(2, np.float32)}, "only one of the two has a tensor 'a'"),
        ({"a": np.ones(3, np.float32)}, r"shape \(2,\) in one and \(3,\) in the other"),
    ],
)
def test_different_layouts_are_said_to_be_different(second, said):
    with pytest.raises(LayoutsDiffer, match=said):
        between({"a": np.ones(2, np.float32)}, second)
