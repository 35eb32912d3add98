"""Says it is automatic and looks at the reference all the same."""

from oncoseg.contracts import SimulatorInfo
from oncoseg.prompt import tight_box

INFO = SimulatorInfo("toy_peek", "Peeks.", ("box",), "automatic")


class ToyPeek:
    info = INFO

    def __call__(self, reference, rng, shown=None):
        return [tight_box(reference, source="automatic")]


def build():
    return ToyPeek()
