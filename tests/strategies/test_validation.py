import numpy as np
import pytest

from strategies.exceptions import Rejected
from strategies.validation import CODES, Validator, first_non_finite

from .world import FENCE, RUN, model, reply, reply_content


def refusal(validator, candidate, max_examples=100):
    with pytest.raises(Rejected) as caught:
        validator.check(candidate, max_examples)
    assert caught.value.code in CODES
    return caught.value.code, str(caught.value)


@pytest.fixture
def validator():
    return Validator(model(), run=RUN, round=1, fence=FENCE)


def changed(name, array):
    return {**model(), name: array}


def test_a_sound_reply_passes(validator):
    validator.check(reply(model(3)), 100)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["zeta.weight", "alpha.half", "norm.scale"])
def test_a_number_that_is_not_finite_is_named(validator, name, value):
    array = model()[name].copy()
    array.reshape(-1)[-1] = value
    code, message = refusal(validator, reply(changed(name, array)))
    assert code == "non-finite"
    assert f"{name!r} has {value} at flat index {array.size - 1}" in message


def test_one_nan_among_many_blocks_is_found():
    array = np.zeros(300_000, dtype=np.float32)
    assert first_non_finite(array) is None
    array[[200_001, 250_000]] = np.nan
    assert first_non_finite(array) == 200_001


@pytest.mark.parametrize("shape", [(1,), (6,), (5, 1), (1, 5), ()], ids=str)
def test_a_wrong_shape_is_refused_even_if_it_would_broadcast(validator, shape):
    code, message = refusal(validator, reply(changed("alpha.half", np.zeros(shape, dtype=np.float16))))
    assert code == "shape"
    assert "'alpha.half'" in message
    assert str(shape) in message
    assert "(5,)" in message


def test_a_vector_of_one_is_no_scalar(validator):
    code, _ = refusal(validator, reply(changed("norm.scale", np.zeros(1, dtype=np.float32))))
    assert code == "shape"


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "bool"])
def test_a_wrong_dtype_is_refused(validator, dtype):
    code, message = refusal(validator, reply(changed("zeta.weight", np.zeros((4, 3), dtype=dtype))))
    assert code == "dtype"
    assert message == f"tensor 'zeta.weight' has dtype {dtype}, allowed is float32"


def test_a_missing_tensor_is_named(validator):
    arrays = model()
    del arrays["norm.scale"]
    assert refusal(validator, reply(arrays)) == ("missing-key", "tensor 'norm.scale' of 4 is missing")


def test_an_extra_tensor_is_named(validator):
    code, message = refusal(validator, reply(changed("backdoor", np.zeros(1))))
    assert code == "extra-key"
    assert "'backdoor'" in message


def test_many_extra_tensors_give_a_short_message(validator):
    extra = {f"{number:03d}" * 1000: np.zeros(1) for number in range(50)}
    code, message = refusal(validator, reply({**model(), **extra}))
    assert code == "extra-key"
    assert "and 47 more" in message
    assert len(message) < 400


@pytest.mark.parametrize("examples", [0, -1, 101, 10**12, 2**63, True, 5.0, float("nan"), "5", None])
def test_a_weight_that_the_device_cannot_have_is_refused(validator, examples):
    code, message = refusal(validator, reply(model(), examples=examples))
    assert code == "weight"
    assert "from 1 to 100" in message


@pytest.mark.parametrize("examples", [1, 100])
def test_the_smallest_and_the_largest_weight_pass(validator, examples):
    validator.check(reply(model(), examples=examples), 100)


@pytest.mark.parametrize("origin", [{"run": 11}, {"round": 2}, {"fence": 6}, {"fence": 8}])
def test_a_reply_for_another_run_round_or_lease_is_stale(validator, origin):
    code, message = refusal(validator, reply(model(), **origin))
    assert code == "stale"
    assert next(iter(origin)) in message


def test_a_message_is_read_and_checked_in_one_step(validator):
    assert validator.read(reply_content(model(4), examples=9), 100).examples == 9
    with pytest.raises(Rejected) as caught:
        validator.read(reply_content(model(), weights=b"nonsense"), 100)
    assert caught.value.code == "malformed"


def test_a_reply_much_larger_than_the_model_is_refused_unread(validator):
    padded = {**model(), "padding": np.zeros(1_000_000, dtype=np.float32)}
    with pytest.raises(Rejected, match="at most") as caught:
        validator.read(reply_content(padded), 100)
    assert caught.value.code == "malformed"
