"""A batch that does not fit goes through in portions; the mathematics stay the same."""

import numpy as np
import pytest
import torch

from fl_client import assignment as assignments
from fl_client import memory, models
from fl_client.memory import Portions, affordable
from fl_client.training import Trainer
from tests.client.assignments import assignment

CPU = torch.device("cpu")
CPU_SAYS = "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried 1 bytes"


def trainer(**training):
    torch.set_num_threads(1)
    made = Trainer(assignments.read(assignment(training={"batch_size": 100, **training})), CPU)
    made.prepare()
    return made


def start():
    return models.initial_weights("2nn", {}, seed=42)


def narrow(made, most, error):
    """Give the model an allocator that fails for more than `most` rows at once."""

    def refuse(module, args):
        if len(args[0]) > most:
            raise error

    made._prepared.model.register_forward_pre_hook(refuse)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(CPU_SAYS), MemoryError()]
)
def test_a_round_goes_on_in_smaller_portions_with_the_same_result(error):
    whole = trainer().train(1, start(), {})
    made = trainer()
    narrow(made, 30, error)
    result = made.train(1, start(), {})
    assert (result.metrics["memory-shortages"], result.metrics["rows-at-once"]) == (2, 25)
    assert result.examples == whole.examples
    for name, array in whole.arrays.items():
        np.testing.assert_allclose(result.arrays[name], array, atol=1e-6)
    assert result.metrics["train-loss"] == pytest.approx(whole.metrics["train-loss"], abs=1e-5)


def test_what_was_learnt_about_the_memory_holds_for_the_next_rounds():
    made = trainer()
    narrow(made, 30, MemoryError())
    first = made.train(1, start(), {})
    second = made.train(2, first.arrays, {})
    assert second.metrics["memory-shortages"] == 2


def test_portions_that_do_not_divide_the_batch_weigh_by_their_rows():
    whole, made = trainer().train(1, start(), {}), trainer()
    made.portions.limit(33)
    for name, array in made.train(1, start(), {}).arrays.items():
        np.testing.assert_allclose(array, whole.arrays[name], atol=1e-6)


def test_another_error_is_not_taken_for_a_shortage():
    made = trainer()
    narrow(made, 30, RuntimeError("expected scalar type"))
    with pytest.raises(RuntimeError, match="scalar type"):
        made.train(1, start(), {})


def test_a_shortage_for_a_single_row_is_told():
    made = trainer()
    narrow(made, 0, MemoryError("not even one"))
    with pytest.raises(MemoryError, match="not even one"):
        made.train(1, start(), {})
    assert made.portions.most == 1


def test_a_limit_only_ever_gets_lower():
    portions = Portions(CPU)
    portions.limit(40)
    portions.limit(60)
    assert portions.most == 40


class Machine:
    def __init__(self, free, base, a_row):
        self._free, self._base, self._a_row = free, base, a_row

    def free(self):
        return self._free

    def peak(self, rows):
        return self._base + rows * self._a_row


@pytest.mark.parametrize(
    ("free", "fits"),
    [(10_000, 64), (5_000, 37), (1_010, 5), (500, 1), (0, 1)],
)
def test_the_rows_that_fit_follow_from_the_free_memory_and_what_a_row_takes(free, fits):
    assert affordable(Machine(free, base=300, a_row=100), 64) == fits


def test_one_row_needs_no_measuring():
    assert affordable(Machine(0, 1, 1), 1) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_on_a_gpu_with_little_memory_left_the_round_goes_on():
    device = torch.device("cuda:0")
    torch.cuda.set_per_process_memory_fraction(0.01, device)
    made = Trainer(assignments.read(assignment(model={"name": "cnn"}, training={"batch_size": 0})), device)
    made.prepare()
    result = made.train(1, models.initial_weights("cnn", {}, 42), {})
    assert result.examples == 400
    assert memory.CudaMeter(device, lambda rows: None).free() >= 0
