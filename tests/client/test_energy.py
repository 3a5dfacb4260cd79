import pytest

from fl_client import energy, hardware
from fl_client.energy import Counter, Meter


class Driver:
    """A driver whose GPU 0 counts its energy, and whose GPU 1 is too old to."""

    class NVMLError(Exception):
        pass

    def __init__(self):
        self.millijoules = 5_000

    def nvmlDeviceGetHandleByIndex(self, index):
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        if handle == 1:
            raise self.NVMLError("not supported")
        return self.millijoules


def package(root, number=0, joules=10.0, name="package-0", span=100.0):
    folder = root / f"intel-rapl:{number}"
    folder.mkdir()
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(str(int(joules * 1e6)))
    (folder / "max_energy_range_uj").write_text(str(int(span * 1e6)))
    return folder / "energy_uj"


def test_only_what_was_used_between_start_and_stop_counts(tmp_path):
    file = package(tmp_path)
    meter = Meter(energy.packages(tmp_path))
    file.write_text("20000000")
    meter.start()
    file.write_text("56000000")
    meter.stop()
    file.write_text("90000000")
    meter.start()
    meter.start()
    meter.stop()
    assert meter.watt_hours == pytest.approx(36 / 3600)


def test_a_counter_that_began_anew_is_followed(tmp_path):
    file = package(tmp_path, joules=95.0)
    meter = Meter(energy.packages(tmp_path))
    meter.start()
    file.write_text("3000000")
    meter.stop()
    assert meter.watt_hours == pytest.approx(8 / 3600)


def test_parts_of_a_package_and_other_domains_are_not_counted_twice(tmp_path):
    package(tmp_path)
    package(tmp_path, "0:0", name="core")
    package(tmp_path, 1, name="psys")
    assert len(energy.packages(tmp_path)) == 1


def test_where_nothing_can_be_measured_energy_is_unknown_and_not_zero(tmp_path):
    meter = Meter(energy.packages(tmp_path))
    meter.start()
    meter.stop()
    assert meter.watt_hours is None


def test_counters_that_only_an_admin_may_read_are_left_out(tmp_path):
    file = package(tmp_path)
    file.unlink()
    assert energy.packages(tmp_path) == []


def test_a_gpu_counts_its_own_energy_and_an_older_one_none(monkeypatch):
    driver = Driver()
    monkeypatch.setattr(hardware, "nvml", lambda: driver)
    counters = energy.gpu_counters((0, 1))
    assert len(counters) == 1
    driver.millijoules = 12_200
    assert counters[0].advance() == pytest.approx(7.2)


def test_no_driver_is_no_counter(monkeypatch):
    monkeypatch.setattr(hardware, "nvml", lambda: None)
    assert energy.gpu_counters((0,)) == []


def test_a_counter_that_fails_on_the_way_makes_the_whole_unknown():
    readings = iter([1.0, 2.0])
    meter = Meter([Counter(lambda: next(readings))])
    meter.start()
    meter.stop()
    assert meter.watt_hours is None
