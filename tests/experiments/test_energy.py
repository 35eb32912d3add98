"""Energy counters of the processor: read, begun anew, forbidden, absent."""

import os

import pytest

from oncoseg.experiments.energy import Reading, joules_between, read_energy


@pytest.fixture
def powercap(tmp_path):
    def write(**counters):
        for package, value in counters.items():
            folder = tmp_path / package.replace("_", ":", 1).replace("intel", "intel-rapl")
            folder.mkdir(exist_ok=True)
            (folder / "energy_uj").write_text(f"{value}\n")
            (folder / "max_energy_range_uj").write_text("1000000\n")
        part = tmp_path / "intel-rapl:0:0"
        part.mkdir(exist_ok=True)
        (part / "energy_uj").write_text("77\n")
        return tmp_path

    return write


def test_packages_are_added_and_their_parts_are_not(powercap):
    root = powercap(intel_0=100, intel_1=200)
    before = read_energy(root)
    assert before.counters == {"intel-rapl:0": 100, "intel-rapl:1": 200}
    after = read_energy(powercap(intel_0=2_000_100, intel_1=500_200))
    assert joules_between(before, after, root) == pytest.approx(2.5)


def test_a_counter_that_began_anew(powercap):
    root = powercap(intel_0=900_000)
    before = read_energy(root)
    assert joules_between(before, read_energy(powercap(intel_0=100_000)), root) == pytest.approx(0.2)


def test_machines_without_counters_say_so(tmp_path):
    reading = read_energy(tmp_path)
    assert "no energy counters" in reading.reason
    assert joules_between(reading, reading) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_forbidden_counters_say_so(powercap):
    root = powercap(intel_0=1)
    (root / "intel-rapl:0" / "energy_uj").chmod(0)
    assert "administrators" in read_energy(root).reason


def test_damaged_counters_say_so(powercap):
    root = powercap(intel_0="none")
    assert "cannot be read" in read_energy(root).reason
    assert joules_between(Reading({"a": 1}), read_energy(root), root) is None
