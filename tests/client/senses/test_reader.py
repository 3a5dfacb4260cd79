import os
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from fl_client.policy.facts import Facts, GpuFacts, Session
from fl_client.senses.gpus import Gpu
from fl_client.senses.idle.reading import Reading
from fl_client.senses.load import Memory
from fl_client.senses.network import Network
from fl_client.senses.power import Power
from fl_client.senses.reader import Reader, Row, Senses
from fl_client.senses.sense import Sense, Unknown

ROOT = Path(__file__).resolve().parents[3]
GIB = 2**30
CARD = GpuFacts(0, "NVIDIA RTX A4000", 16 * GIB, 10 * GIB, 30.0, GIB, 61)

SAID: dict[str, Any] = {
    "idle": Reading(12.0, Session.ACTIVE, 1000),
    "power": Power(True, 81.0),
    "cpu": 7.5,
    "memory": Memory(16 * GIB, 9 * GIB),
    "our_memory": GIB,
    "gpus": (Gpu(CARD, "550.54", 71.5),),
    "heat": 55.0,
    "network": Network("wlan0", False, "Office"),
    "programs": frozenset({"zoom"}),
}
NOT_KNOWN: dict[str, Any] = {
    "idle": Reading(),
    "power": Power(),
    "cpu": None,
    "memory": Memory(),
    "our_memory": 0,
    "gpus": (),
    "heat": None,
    "network": Network(),
    "programs": frozenset(),
}


def senses(said: dict[str, Any]) -> Senses:
    def reads(value: Any) -> Any:
        def read() -> Any:
            if isinstance(value, Exception):
                raise value
            return value

        return read

    return Senses(
        **{name: Sense(name, "test", reads(value), NOT_KNOWN[name]) for name, value in said.items()}
    )


def reader(said: dict[str, Any]) -> Reader:
    return Reader(lambda: [1], clock=lambda: 0.0, senses=senses(said))


def test_every_sense_finds_its_place_among_the_facts():
    facts = reader(SAID).read()
    assert facts == Facts(
        input_idle_seconds=12.0,
        session=Session.ACTIVE,
        on_ac=True,
        battery_percent=81.0,
        cpu_by_others=7.5,
        cores=facts.cores,
        ram_total_bytes=16 * GIB,
        ram_available_bytes=9 * GIB,
        ram_by_us_bytes=GIB,
        gpus=(CARD,),
        temperature=55.0,
        network_metered=False,
        network_name="Office",
        programs=frozenset({"zoom"}),
    )
    assert facts.cores >= 1


@pytest.mark.parametrize("fault", [Unknown("cannot tell"), ZeroDivisionError("broken")])
def test_a_reader_whose_senses_all_fail_knows_nothing_and_does_not_raise(fault):
    broken = reader(dict.fromkeys(SAID, fault))
    facts = broken.read()
    assert facts == Facts(cores=facts.cores)
    rows = broken.describe()
    assert len(rows) == len(SAID)
    assert all(row.value == "" and str(fault) in row.why for row in rows)


def test_what_the_driver_says_beyond_the_facts_is_kept():
    assert reader(SAID).gpus()[0].power_watts == 71.5


def test_each_sense_has_a_row():
    assert reader(SAID).describe()[2] == Row("cpu", "test", "7.5", "")


def test_this_machine_can_be_read_and_described():
    here = Reader(lambda: [os.getpid()])
    first, second = here.read(), here.read()
    assert first.cpu_by_others is None
    assert second.ram_total_bytes > second.ram_available_bytes > 0
    assert second.ram_by_us_bytes > 0
    assert second.programs
    rows = here.describe()
    assert len(rows) == len(fields(Senses))
    assert all(row.value or row.why for row in rows)


def test_processes_of_ours_that_cannot_be_told_cost_only_what_depends_on_them():
    def broken() -> list[int]:
        raise RuntimeError("no session")

    facts = Reader(broken).read()
    assert (facts.cpu_by_others, facts.ram_by_us_bytes) == (None, 0)
    assert facts.ram_total_bytes > 0


def test_reading_every_second_costs_little():
    now = [time.monotonic()]
    here = Reader(lambda: [os.getpid()], clock=lambda: now[0])
    here.read()
    started = time.process_time()
    for _ in range(60):
        now[0] += 1.0
        here.read()
    # A generous bound for a slow machine with many programs; on an ordinary one it is a millisecond or two.
    assert (time.process_time() - started) / 60 < 0.02


LOADS_EVERYWHERE = """
import os, pkgutil, importlib, socket, subprocess, sys
import psutil
for name in ("jeepney", "pynvml", "pwd", "grp", "fcntl", "termios", "resource"):
    sys.modules[name] = None
del socket.AF_UNIX, os.getuid
import fl_client.senses
found = [m.name for m in pkgutil.walk_packages(fl_client.senses.__path__, "fl_client.senses.")]
for name in found:
    importlib.import_module(name)
print(len(found), *({"torch", "flwr", "numpy", "django"} & set(sys.modules)))
"""


def test_every_module_loads_where_what_only_linux_has_is_missing():
    done = subprocess.run(
        [sys.executable, "-c", LOADS_EVERYWHERE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    (count,) = done.stdout.split()
    assert int(count) >= 23
