"""Several processes train as one; a killed one is replaced and the end is the same."""

import json
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.utils.data import default_collate

from oncoseg.errors import ConfigError
from oncoseg.files import sha256
from oncoseg.training.descent import Descent
from oncoseg.training.loader import Samples, batches
from oncoseg.training.loop import train
from oncoseg.training.ranks import ALONE, Ranks, attempt_name
from oncoseg.training.record import CHECKPOINT, LOG, STATE
from oncoseg.training.settings import TrainConfig
from oncoseg.weights.trained import read_checkpoint


def test_a_process_alone_changes_nothing():
    gradient = torch.nn.Parameter(torch.ones(2))
    gradient.grad = torch.tensor([1.0, 2.0])
    ALONE.add_up_gradients([gradient])
    assert gradient.grad.tolist() == [1.0, 2.0]
    assert ALONE.total(0.3) == 0.3
    assert ALONE.gather([0.5, None]) == [0.5, None]
    assert ALONE.share({"a": 1}) == {"a": 1}


def test_the_shares_of_all_processes_are_the_batches_of_one(make_model, make_case):
    samples = Samples(make_model(), [make_case(n) for n in range(3)], seed=0)
    whole = list(batches(samples, size=4, first=1, stop=4))
    shares = [list(batches(samples, size=4, first=1, stop=4, ranks=Ranks(rank, 2))) for rank in range(2)]
    assert len(whole) == 3
    for batch, left, right in zip(whole, *shares, strict=True):
        assert all(torch.equal(batch[key], torch.cat([left[key], right[key]])) for key in batch)


def test_a_batch_that_cannot_be_divided_is_refused(make_model, make_case, tmp_path):
    with pytest.raises(ConfigError, match="batch of 3 cannot be divided among 2 processes"):
        train(
            make_model(),
            training=[make_case()],
            config=TrainConfig(steps=1, batch=3, device="cpu"),
            folder=tmp_path,
            ranks=Ranks(0, 2),
        )


def test_an_attempt_gets_a_name_of_its_own_whatever_dead_processes_left_in_the_store(tmp_path):
    def meet():
        names = {}
        store = [dist.FileStore(str(tmp_path / "store"), 3) for _ in range(3)]
        met = [threading.Thread(target=lambda r=r: names.update({r: attempt_name(store[r], r, 3)})) for r in range(3)]
        for thread in met:
            thread.start()
        for thread in met:
            thread.join(timeout=20)
        return names

    # A process of an earlier attempt asked, was answered, and died before it said so.
    left = dist.FileStore(str(tmp_path / "store"), 3)
    left.set("asks/1", "dead")
    left.set("name/dead", "earlier")
    first, second = meet(), meet()
    assert len(first) == len(second) == 3
    assert len(set(first.values())) == len(set(second.values())) == 1
    assert {"earlier"} | set(first.values()) | set(second.values()) == {"earlier", first[0], second[0]}
    assert first[0] != second[0]


class Twin(Ranks):
    """The first of two processes, whose twin has gradients and statistics that are all 1."""

    def __init__(self):
        super().__init__(0, 2)

    def total(self, number):
        return 2 * number

    def add_up(self, tensors):
        for tensor in tensors:
            tensor += 1

    def add_up_gradients(self, parameters):
        self.add_up([p.grad for p in parameters])


def test_running_statistics_become_the_mean_of_all_processes_and_frozen_ones_stay(make_model, make_case):
    def stepped(ranks):
        model = make_model(norm="batch", dropout=0.0)
        model.network.down[0].eval()
        model.network.train = lambda mode=True: model.network  # frozen layers stay so
        batch = default_collate([next(model.samples(model.prepare(make_case()), np.random.default_rng(0)))])
        Descent(model, TrainConfig(steps=1, device="cpu"), ranks).step([batch], 0, 0.1)
        return {name: t for name, t in model.network.named_buffers() if name.endswith("running_mean")}

    alone, together = stepped(ALONE), stepped(Twin())
    frozen = [name for name in alone if name.startswith("down.0.")]
    assert frozen
    assert len(frozen) < len(alone)
    for name, mean in alone.items():
        expected = mean if name in frozen else (mean + 1) / 2
        torch.testing.assert_close(together[name], expected, rtol=0, atol=0)


CHILD = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    import torch
    from oncoseg.case import Case
    from oncoseg.models import unet
    from oncoseg.training.loop import train
    from oncoseg.training.ranks import joined
    from oncoseg.training.settings import TrainConfig
    from oncoseg.volume import Volume

    folder, batch, accumulate, kill_at = Path(sys.argv[1]), *map(int, sys.argv[2:])
    torch.set_num_threads(1)
    torch.manual_seed(int(os.environ.get("RANK", "0")))  # other first weights in every process
    rng = np.random.default_rng(0)
    cases = []
    for n in range(6):
        mask = np.zeros((4, 32, 32), bool)
        mask[1:3, 8 + n : 16 + n, 10:20] = True
        image = Volume.from_spacing((rng.normal(-800, 40, mask.shape) + 800 * mask).astype(np.int16), (3, 1, 1))
        cases.append(Case(f"c{n}", f"p{n}", image, {"tumour": image.with_voxels(mask)}))
    model = unet.build(base=4, norm="instance", patch=32, spacing=None, dropout=0.2)
    config = TrainConfig(
        steps=12, batch=batch, accumulate=accumulate, validate_every=2, save_every=4, ema=0.9, clip=1.0,
        schedule="multistep", milestones=(5,), device="cpu", keep_state=True,
    )

    def tell(told):
        marker = folder.with_suffix(".killed")
        if told.step == kill_at and os.environ["RANK"] == "1" and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    with joined() as ranks:
        train(
            model, training=cases[:3], validation=cases[3:], config=config, folder=folder,
            progress=tell if ranks.count > 1 else lambda told: None, ranks=ranks,
        )
"""


@pytest.fixture
def run(tmp_path):
    """Train in child processes, with torchrun where there are several; gives the folder."""
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(CHILD))

    def start(name, *, batch=4, accumulate=1, processes=2, kill_at=0):
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "--max-restarts=3"]
        before = [sys.executable, *(launcher if processes > 1 else [])]
        command = [*before, script, tmp_path / name, *map(str, (batch, accumulate, kill_at))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=150)
        assert done.returncode == 0, done.stderr[-3000:]
        return tmp_path / name

    return start


@pytest.mark.slow
def test_a_killed_process_changes_no_bit_and_two_train_as_one_that_sees_their_batches_in_turn(run):
    two, killed, one = run("two"), run("killed", kill_at=7), run("one", batch=2, accumulate=2, processes=1)
    assert killed.with_suffix(".killed").exists()
    assert json.loads((killed / "trained.json").read_text())["resumed_from"] == 4
    for name in (CHECKPOINT, LOG, f"{STATE}/state-00000012.safetensors"):
        assert sha256(two / name) == sha256(killed / name), name
    found, expected = (read_checkpoint(folder / CHECKPOINT).state for folder in (two, one))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    lines = [[json.loads(text) for text in (folder / LOG).read_text().splitlines()] for folder in (two, one)]
    for ours, theirs in zip(*lines, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"])
        assert ours["validation"] == theirs["validation"]
