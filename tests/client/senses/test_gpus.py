from types import SimpleNamespace
from typing import Any

import pytest

from fl_client import hardware
from fl_client.policy.facts import GpuFacts
from fl_client.senses import gpus
from fl_client.senses.gpus import Gpu, Said
from fl_client.senses.sense import Unknown

GIB = 2**30
BASIC = {"name": "NVIDIA RTX A4000", "total_bytes": 16 * GIB, "free_bytes": 10 * GIB}
OURS, GAME, DESKTOP = 4321, 900, 700


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Said(loads=[(OURS, 90), (GAME, 30), (DESKTOP, 5)]), 35.0),
        (Said(loads=[(OURS, 90)]), 0.0),
        (Said(loads=[]), 0.0),
        (Said(loads=[(GAME, 80), (DESKTOP, 60)]), 100.0),
        # The driver tells only the load of all together.
        (Said(load=55, memory={GAME: GIB}), 55.0),
        (Said(load=97, memory={OURS: GIB}), 0.0),
        (Said(load=97, memory={OURS: GIB, GAME: GIB}), None),
        (Said(load=97), None),
        (Said(), None),
    ],
)
def test_our_own_load_is_not_that_of_others(said, expected):
    assert gpus.load_by_others(said, {OURS}) == expected


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({OURS: 4 * GIB, GAME: GIB, DESKTOP: GIB // 2}, GIB + GIB // 2),
        ({OURS: 4 * GIB}, 0),
        ({}, 0),
        ({OURS: None}, 0),
        # Windows does not tell the memory of a process.
        ({GAME: None}, 6 * GIB),
        ({OURS: None, GAME: None}, None),
        (None, None),
    ],
)
def test_our_own_memory_is_not_that_of_others(memory, expected):
    assert gpus.memory_by_others(Said(memory=memory), {OURS}, used=6 * GIB) == expected


def test_the_last_sample_of_each_process_counts_and_unused_places_do_not():
    samples = [(GAME, 20, 40), (GAME, 10, 99), (OURS, 15, 80), (0, 0, 0), (DESKTOP, 5, 4294967295)]
    assert gpus.latest(samples) == [(GAME, 40), (OURS, 80)]


def test_all_that_the_driver_says_comes_together():
    said = Said(temperature=61, milliwatts=71500, memory={GAME: GIB}, loads=[(GAME, 30)])
    expected = GpuFacts(0, "NVIDIA RTX A4000", 16 * GIB, 10 * GIB, 30.0, GIB, 61)
    assert gpus.gpu(0, BASIC, said, {OURS}, "550.54") == Gpu(expected, "550.54", 71.5)


class NVMLError(Exception):
    pass


class NotFound(NVMLError):
    pass


class Driver:
    """Answers as NVML does. What is not given raises, as on a card that does not support it."""

    NVMLError = NVMLError
    NVMLError_NotFound = NotFound
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, **answers: Any) -> None:
        self._answers = answers

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        answer = self._answers.get(name, NVMLError("Not Supported"))

        def ask(*_: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


def process(pid: int, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


FULL = {
    "nvmlSystemGetDriverVersion": "550.54",
    "nvmlDeviceGetHandleByIndex": object(),
    "nvmlDeviceGetTemperature": 61,
    "nvmlDeviceGetPowerUsage": 71500,
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=95, memory=20),
    "nvmlDeviceGetComputeRunningProcesses": [process(OURS, 4 * GIB), process(GAME, GIB)],
    "nvmlDeviceGetGraphicsRunningProcesses": [process(GAME, GIB)],
    "nvmlDeviceGetProcessUtilization": [SimpleNamespace(pid=GAME, timeStamp=5, smUtil=30)],
}


def read(monkeypatch, driver: Any, found: list[dict[str, Any]]) -> tuple[Gpu, ...]:
    monkeypatch.setattr(hardware, "nvml", lambda: driver)
    monkeypatch.setattr(hardware, "gpus", lambda: found)
    return gpus.read({OURS})


def test_a_driver_that_knows_all_is_asked_for_all(monkeypatch):
    (gpu,) = read(monkeypatch, Driver(**FULL), [BASIC])
    assert gpu == Gpu(GpuFacts(0, "NVIDIA RTX A4000", 16 * GIB, 10 * GIB, 30.0, GIB, 61), "550.54", 71.5, 95)


def test_a_gpu_on_which_nothing_ran_is_without_load(monkeypatch):
    driver = Driver(**FULL | {"nvmlDeviceGetProcessUtilization": NotFound("Not Found")})
    (gpu,) = read(monkeypatch, driver, [BASIC])
    assert gpu.facts.load_by_others == 0.0


@pytest.mark.parametrize("handle", [{}, {"nvmlDeviceGetHandleByIndex": object()}])
def test_a_card_that_tells_little_leaves_the_rest_open(monkeypatch, handle):
    (gpu,) = read(monkeypatch, Driver(**handle), [BASIC])
    assert gpu == Gpu(GpuFacts(0, "NVIDIA RTX A4000", 16 * GIB, 10 * GIB))


@pytest.mark.parametrize(("driver", "found"), [(None, []), (Driver(), [])])
def test_without_driver_or_gpu_nothing_is_known(monkeypatch, driver, found):
    with pytest.raises(Unknown, match="no NVIDIA driver"):
        read(monkeypatch, driver, found)
