"""Which devices fit a job. Facts are read from rows, as the scheduler reads them."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fl_server import reasons
from fl_server.models import Device
from fl_server.placement import facts, matching
from fl_server.placement.facts import DeviceFacts, Gpu
from fl_server.placement.fleet import Fleet
from fl_server.selectors import placement
from tests.server import cluster
from tests.server.cluster import idle, wanted

GB = 10**9
SAMPLE = {"ram_free_bytes": 4 * GB, "gpus": [{"total_bytes": 8 * GB, "free_bytes": 2 * GB}]}


def ago(seconds: float) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def needs(**requirements: Any) -> dict[str, Any]:
    return {"requirements": requirements}


def read() -> DeviceFacts:
    (one,) = placement.devices()
    return one


@pytest.mark.services
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("row", "asked", "reason"),
    [
        ({}, {}, ""),
        ({"status": Device.Status.PENDING}, {}, "waits for approval"),
        ({"quarantined_at": ago(60)}, {}, "is in quarantine"),
        ({"node_id": ""}, {}, "is not yet registered with the engine"),
        ({"last_seen": None}, {}, "is offline"),
        ({"last_seen": ago(3600)}, {}, "is offline"),
        ({"disconnected_at": timezone.now() + timedelta(hours=1)}, {}, "is offline"),
        ({"disconnected_at": ago(60)}, {}, ""),
        ({"may_train": False, "decision_codes": ["paused"]}, {}, "is paused by its owner"),
        ({"may_train": False, "decision_reason": "Doom is running"}, {}, reasons.UNKNOWN),
        ({"may_start": False, "decision_codes": ["no-new-work"]}, {}, reasons.GENERAL["no-new-work"]),
        ({"hardware": {**cluster.HARDWARE, "gpus": []}}, needs(gpu=True), "has no GPU"),
        ({"hardware": {}}, needs(gpu=True), "has no GPU"),
        ({}, needs(gpu=True), ""),
        ({}, needs(min_gpu_memory_gb=7), ""),
        ({}, needs(min_gpu_memory_gb=9), "has no GPU with 9 GB of memory"),
        ({"hardware": {}}, needs(min_gpu_memory_gb=1), "has no GPU"),
        ({"telemetry": SAMPLE}, needs(min_gpu_memory_gb=2), ""),
        ({"telemetry": SAMPLE}, needs(min_gpu_memory_gb=7), "has less than 7 GB of GPU memory free"),
        ({}, needs(min_cores=8), ""),
        ({}, needs(min_cores=9), "has fewer than 9 cores"),
        ({}, needs(min_ram_gb=16), ""),
        ({}, needs(min_ram_gb=16.5), "has less than 16.5 GB of memory"),
        ({}, needs(memory_gb=16), ""),
        ({}, needs(memory_gb=17), "has less memory than the 17 GB that training takes"),
        ({"telemetry": SAMPLE}, needs(memory_gb=4), ""),
        ({"telemetry": SAMPLE}, needs(memory_gb=4.5), "has less than 4.5 GB of memory free"),
        ({"hardware": {}}, needs(memory_gb=4), ""),
        ({}, needs(labels={"room": "lab"}), "lacks a label that the job asks for"),
        ({"labels": {"room": "hall"}}, needs(labels={"room": "lab"}), "lacks a label that the job asks for"),
        ({"labels": {"room": "lab", "floor": "2"}}, needs(labels={"room": "lab"}), ""),
        ({"platform": "Linux-6.8-x86_64"}, needs(platforms=["linux"]), ""),
        ({"platform": "Darwin-24.1"}, needs(platforms=["macos", "linux"]), ""),
        ({"platform": "Windows-11"}, needs(platforms=["macos", "linux"]), "does not run macos or linux"),
        ({"platform": ""}, needs(platforms=["linux"]), "does not run linux"),
        ({"client_version": "0.10.0"}, needs(min_client_version="0.9.1"), ""),
        ({"client_version": "0.9.0"}, needs(min_client_version="0.9.1"), "has a client older than 0.9.1"),
        ({"client_version": "mine"}, needs(min_client_version="0.1"), "has a client older than 0.1"),
        ({"private_data": [{"name": "scans"}]}, needs(private_data="scans"), ""),
        ({"private_data": [{"name": "x"}]}, needs(private_data="scans"), "has no private data named scans"),
        ({"hardware": {}}, {}, ""),
    ],
)
def test_a_device_that_cannot_take_a_job_has_a_reason(row: Any, asked: Any, reason: str) -> None:
    idle("desk", **row)
    assert matching.unfit(read(), facts.demand(wanted(**asked))) == reason


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        ({"reserved": True}, "has no GPU"),
        ({"quarantined": True}, "has no GPU"),
        ({"quarantined": True, "reserved": True, "gpus": (Gpu(GB, GB),)}, "is in quarantine"),
        ({"reserved": True, "gpus": (Gpu(GB, GB),)}, "works on another run"),
    ],
)
def test_what_lasts_is_said_before_what_passes(device: Any, reason: str) -> None:
    demand = facts.demand(wanted(**needs(gpu=True)))
    one = free(name="desk", **device)
    assert matching.unfit(one, demand) == reason
    assert Fleet([one]).reasons(demand, 20) == ({"desk": reason}, 0)


@pytest.mark.services
@pytest.mark.django_db
def test_a_device_is_read_with_everything_that_was_measured() -> None:
    device = idle(
        "desk",
        platform="Linux-6.8",
        client_version="0.1.0",
        telemetry=SAMPLE,
        relative_speed=1.5,
        network_bytes_a_second=2e6,
        reputation=0.8,
        labels={"room": "lab"},
    )
    one = read()
    assert (one.pk, one.name, one.owner_id, one.online) == (device.pk, "desk", device.owner_id, True)
    assert (one.relative_speed, one.network, one.reputation) == (1.5, 2e6, 0.8)
    assert (one.platform, one.labels, one.free_ram_bytes) == ("linux", {"room": "lab"}, 4 * GB)
    assert one.gpus == (Gpu(8 * GB, 2 * GB),)


@pytest.mark.services
@pytest.mark.django_db
def test_a_revoked_device_is_not_even_read() -> None:
    idle("gone", status=Device.Status.REVOKED)
    assert placement.devices() == []


def free(**more: Any) -> DeviceFacts:
    return DeviceFacts(
        more.pop("pk", 1), node_id="1", online=True, cores=4, ram_bytes=8 * GB, free_ram_bytes=GB, **more
    )


@pytest.mark.parametrize(
    ("device", "asked", "ever"),
    [
        (free(reserved=True), {}, True),
        (free(quarantined=True), {}, True),
        (free(status="pending"), {}, True),
        (free(), needs(memory_gb=2), True),
        (free(), needs(memory_gb=9), False),
        (free(), needs(gpu=True), False),
        (free(gpus=(Gpu(8 * GB, 0),)), needs(min_gpu_memory_gb=8), True),
    ],
)
def test_what_passes_by_itself_is_told_from_what_lasts(device: Any, asked: Any, ever: bool) -> None:
    demand = facts.demand(wanted(**asked))
    assert matching.unfit(device, demand)
    assert matching.fits_ever(device, demand) is ever


def test_what_the_specification_says_of_memory_goes_before_the_estimate() -> None:
    assert facts.demand(wanted(), 3 * GB).memory_bytes == 3 * GB
    assert facts.demand(wanted(**needs(memory_gb=2)), 3 * GB).memory_bytes == 2 * GB
    assert facts.demand(wanted()).memory_bytes == 0
