import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from fl_server.platform.stopping import Stop

ROOT = Path(__file__).resolve().parents[2]
# Waits so often that a signal nearly always comes in the middle of it.
BUSY = """
from fl_server.platform import stopping
stop = stopping.on_signals()
print("ready", flush=True)
while not stop.wait(0.0):
    pass
"""


def test_it_stays_set_for_every_thread() -> None:
    stop = Stop()
    assert not stop.wait(0.0)
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(stop.wait(10.0))) for _ in range(3)]
    for thread in threads:
        thread.start()
    stop.set()
    for thread in threads:
        thread.join()
    assert seen == [True, True, True]
    assert stop.is_set()


def test_a_signal_in_the_middle_of_a_wait_stops_it() -> None:
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", BUSY], cwd=ROOT, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(10) == 0
        process.stdout.close()
