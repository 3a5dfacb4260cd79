"""What this machine is made of. Read without loading any framework."""

import contextlib
import importlib
import os
import platform
import subprocess
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
# The operating system's id identifies the machine everywhere, so only this digest of it leaves the machine.
MACHINE_CONTEXT = "constellation-machine-v1:"
COMMAND_SECONDS = 5.0


def read() -> dict[str, Any]:
    return {
        "cores": psutil.cpu_count(logical=False) or os.cpu_count() or 1,
        "ram_bytes": psutil.virtual_memory().total,
        "gpus": gpus(),
    }


def gpus() -> list[dict[str, Any]]:
    """NVIDIA GPUs with their total and free memory; empty where there is no driver."""
    library = nvml()
    if library is None:
        return []
    found: list[dict[str, Any]] = []
    with contextlib.suppress(library.NVMLError):
        for index in range(library.nvmlDeviceGetCount()):
            handle = library.nvmlDeviceGetHandleByIndex(index)
            memory = library.nvmlDeviceGetMemoryInfo(handle)
            found.append(
                {
                    "name": str(library.nvmlDeviceGetName(handle)),
                    "total_bytes": int(memory.total),
                    "free_bytes": int(memory.free),
                }
            )
    return found


def machine_id() -> str:
    """A digest that stays the same when the client is installed again; empty when the system gives no id."""
    raw = _raw_machine_id()
    return sha256((MACHINE_CONTEXT + raw).encode()).hexdigest() if raw else ""


@cache
def nvml() -> Any:
    """The driver's library, started once; None without a driver."""
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    return library


def _raw_machine_id() -> str:
    for path in MACHINE_ID_FILES:
        with contextlib.suppress(OSError):
            if text := path.read_text().strip():
                return text
    if platform.system() == "Darwin":
        return _after(_output("ioreg", "-rd1", "-c", "IOPlatformExpertDevice"), "IOPlatformUUID")
    if platform.system() == "Windows":
        query = _output("reg", "query", r"HKLM\SOFTWARE\Microsoft\Cryptography", "/v", "MachineGuid")
        return _after(query, "MachineGuid")
    return ""


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _after(text: str, key: str) -> str:
    """The last word of the line that names `key`."""
    line = next((line for line in text.splitlines() if key in line), "")
    return line.split()[-1].strip('"') if line else ""
