"""Energy that a computation took, where the machine tells: Linux' powercap counters of Intel's and AMD's RAPL."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
#: Whole processor packages; their parts (core, dram) are named intel-rapl:0:0 and are in them.
_PACKAGES = "intel-rapl:[0-9]*"
NOTE = "of the whole processor, all that ran on the machine meanwhile included"


@dataclass(frozen=True)
class Reading:
    """Counters at one time, in microjoules, by package; `reason` where they cannot be read."""

    counters: dict[str, int]
    reason: str | None = None


def read_energy(root: Path = POWERCAP) -> Reading:
    """The energy counters of the processor packages, or why there are none."""
    packages = [p for p in sorted(root.glob(_PACKAGES)) if p.name.count(":") == 1 and (p / "energy_uj").exists()]
    if not packages:
        return Reading({}, f"this machine has no energy counters under {root}")
    try:
        return Reading({p.name: int((p / "energy_uj").read_text(encoding="ascii")) for p in packages})
    except PermissionError:
        return Reading({}, f"the energy counters under {root} are for administrators only on this machine")
    except (OSError, ValueError) as error:
        return Reading({}, f"the energy counters under {root} cannot be read: {error}")


def joules_between(before: Reading, after: Reading, root: Path = POWERCAP) -> float | None:
    """Joules between two readings, counters that began anew allowed for; None where they cannot be read."""
    if before.reason or after.reason or not before.counters:
        return None
    total = 0
    for package, start in before.counters.items():
        stop = after.counters.get(package, start)
        if stop < start:
            stop += int((root / package / "max_energy_range_uj").read_text(encoding="ascii"))
        total += stop - start
    return total / 1e6
