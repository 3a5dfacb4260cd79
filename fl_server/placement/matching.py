"""Whether a device can take a job, and if not, why: one reason, as the rest of a sentence about the device.

Some reasons pass by themselves (it is offline, its owner works on it), others last (it has no GPU). A job
that too few devices could take even if all were free waits in vain, and is told so.
"""

from collections import Counter
from collections.abc import Iterable

from fl_server import reasons
from fl_server.placement.facts import GB, Demand, DeviceFacts, older


def unfit(device: DeviceFacts, demand: Demand) -> str:
    """Why the device cannot take the job now; empty when it can. What lasts is said before what passes."""
    return lasting(device, demand) or busy(device) or passing(device, demand)


def fits_ever(device: DeviceFacts, demand: Demand) -> bool:
    """Whether it could take the job once it is free, with nothing changed in the machine."""
    return not lasting(device, demand)


def busy(device: DeviceFacts) -> str:
    """Why it cannot take any job now."""
    if device.status == "pending":
        return "waits for approval"
    if device.status == "revoked":
        return "was revoked"
    if device.quarantined:
        return "is in quarantine"
    if not device.node_id:
        return "is not yet registered with the engine"
    if not device.online:
        return "is offline"
    if not device.may_start:
        return reasons.general(device.decision_codes)
    return "works on another run" if device.reserved else ""


def lasting(device: DeviceFacts, demand: Demand) -> str:
    """Why it can never take this job as it is."""
    if demand.gpu and not device.gpus:
        return "has no GPU"
    if demand.gpu_bytes and max(gpu.total_bytes for gpu in device.gpus) < demand.gpu_bytes:
        return f"has no GPU with {_gb(demand.gpu_bytes)} of memory"
    if device.cores < demand.cores:
        return f"has fewer than {demand.cores} cores"
    if device.ram_bytes < demand.ram_bytes:
        return f"has less than {_gb(demand.ram_bytes)} of memory"
    # Nobody has told how much there is: that may change with the next hello.
    if device.ram_bytes and device.ram_bytes < demand.memory_bytes:
        return f"has less memory than the {_gb(demand.memory_bytes)} that training takes"
    if demand.labels and not set(demand.labels) <= (device.labels or {}).items():
        return "lacks a label that the job asks for"
    if demand.platforms and device.platform not in demand.platforms:
        return f"does not run {' or '.join(demand.platforms)}"
    if demand.client_version and older(device.client_version, demand.client_version):
        return f"has a client older than {demand.client_version}"
    if demand.private_data and demand.private_data not in device.private_data:
        return f"has no private data named {demand.private_data}"
    return ""


def passing(device: DeviceFacts, demand: Demand) -> str:
    """Why it cannot take this job at the moment, although it is free."""
    if demand.gpu_bytes and max(gpu.free_bytes for gpu in device.gpus) < demand.gpu_bytes:
        return f"has less than {_gb(demand.gpu_bytes)} of GPU memory free"
    free = device.free_ram_bytes
    if demand.memory_bytes and free is not None and free < demand.memory_bytes:
        return f"has less than {_gb(demand.memory_bytes)} of memory free"
    return ""


def fitting(devices: Iterable[DeviceFacts], demand: Demand) -> list[DeviceFacts]:
    """Those of free devices that can take the job now."""
    return [one for one in devices if not (lasting(one, demand) or passing(one, demand))]


def what_is_missing(devices: Iterable[DeviceFacts], demand: Demand) -> Counter[str]:
    """How many devices can never take the job, for each reason."""
    found = Counter(lasting(one, demand) for one in devices)
    found.pop("", None)
    return found


def _gb(amount: float) -> str:
    return f"{amount / GB:.3g} GB"
