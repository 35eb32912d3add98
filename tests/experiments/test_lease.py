"""One worker a cell, until its lease runs out or its process is gone."""

import json
import os
import subprocess
import sys
import time

from oncoseg.experiments import lease
from oncoseg.experiments.lease import LEASE, leased, wait_for


def test_a_leased_folder_is_not_leased_again(tmp_path):
    with leased(tmp_path) as first, leased(tmp_path) as second:
        assert (first, second) == (True, False)
    with leased(tmp_path) as again:
        assert again
    assert not (tmp_path / LEASE).exists()


def _leave_behind(folder, **changes):
    held = {"owner": "x", "process": os.getpid(), "machine": lease._machine(), "expires": time.time() + 60, **changes}
    (folder / LEASE).write_text(json.dumps(held))


def test_the_lease_of_a_dead_process_is_taken_over(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    _leave_behind(tmp_path, process=gone.pid)
    with leased(tmp_path) as ours:
        assert ours


def test_an_expired_lease_of_another_machine_is_taken_over(tmp_path):
    _leave_behind(tmp_path, machine="elsewhere", process=1, expires=time.time() - 1)
    with leased(tmp_path) as ours:
        assert ours


def test_a_valid_lease_of_another_machine_is_respected(tmp_path):
    _leave_behind(tmp_path, machine="elsewhere", process=-1)
    with leased(tmp_path) as ours:
        assert not ours


def test_a_lease_is_renewed_while_the_work_goes_on(tmp_path):
    with leased(tmp_path, duration_s=0.3):
        before = json.loads((tmp_path / LEASE).read_text())["expires"]
        time.sleep(0.5)
        assert json.loads((tmp_path / LEASE).read_text())["expires"] > before


def test_waiting_ends_when_the_lease_does(tmp_path):
    _leave_behind(tmp_path, machine="elsewhere", expires=time.time() + 0.3)
    started = time.monotonic()
    wait_for(tmp_path, poll_s=0.05)
    assert 0.1 < time.monotonic() - started < 5
