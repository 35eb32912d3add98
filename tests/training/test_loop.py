"""The training loop from the first step to the checkpoint, also when it is killed on the way."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch

from oncoseg.errors import ConfigError, InputError
from oncoseg.files import sha256
from oncoseg.models import unet
from oncoseg.training.loader import CasesOnDemand
from oncoseg.training.loop import Progress, train
from oncoseg.training.record import CHECKPOINT, LOG, SPEED, STATE
from oncoseg.training.settings import TrainConfig
from oncoseg.training.validating import tumour_dice
from oncoseg.weights.trained import read_checkpoint


def short(**changes):
    return TrainConfig(**{"steps": 6, "batch": 2, "validate_every": 2, "device": "cpu"} | changes)


def log(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


@pytest.fixture
def cases(make_case):
    return [make_case(n) for n in range(3)]


def test_overfits_one_case_in_seconds(make_model, make_case, tmp_path):
    case, model = make_case(), make_model(base=8, dropout=0.0, tumour_share=0.8)
    config = TrainConfig(steps=80, batch=4, learning_rate=3e-3, validate_every=40, device="cpu")
    train(model, training=[case], config=config, folder=tmp_path)
    assert tumour_dice(model, case) > 0.9
    lines = log(tmp_path)
    assert lines[-1]["loss"] < lines[0]["loss"]


def test_the_checkpoint_builds_the_trained_model(make_model, cases, tmp_path):
    model = make_model()
    result = train(model, training=cases, config=short(), folder=tmp_path, dataset="abc")
    about = read_checkpoint(result.checkpoint).about
    assert (about.model, about.variant, about.step, about.dataset) == ("unet", "ronneberger", 6, "abc")
    again = unet.build(weights=result.checkpoint)
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], tensor)


def test_the_folder_holds_checkpoint_and_log_and_no_leftovers(make_model, cases, tmp_path):
    train(make_model(), training=cases, validation=cases[:1], config=short(), folder=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint.safetensors",
        "speed.jsonl",
        "trained.json",
        "training.json",
        "training.jsonl",
    ]
    lines = log(tmp_path)
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert lines[-1]["epoch"] == pytest.approx(4.0)
    assert all(line["losses"].keys() == {"network"} and 0 <= line["validation"] <= 1 for line in lines)


def test_progress_is_told_after_every_step(make_model, cases, tmp_path):
    told = []
    train(make_model(), training=cases, config=short(), folder=tmp_path, progress=told.append)
    assert [(p.step, p.steps) for p in told] == [(n, 6) for n in range(1, 7)]
    assert all(isinstance(p, Progress) and p.loss > 0 for p in told)
    assert all(p.samples_per_second > 0 and p.memory_bytes > 0 and p.learning_rate > 0 for p in told)


def test_the_numbers_of_a_step_fit_one_line():
    told = Progress(
        3, 9, loss=0.4567, validation=0.8, learning_rate=0.00123, samples_per_second=51.23, memory_bytes=2**30
    )
    assert told.numbers == "loss 0.457  validation Dice 0.800  rate 0.0012  51.2 samples/s  1.1 GB"
    assert Progress(0, 9, message="damaged").numbers == ""


def test_the_best_weights_are_chosen(make_model, cases, tmp_path):
    scores = iter([0.1, 0.9, 0.3])
    snapshots = []

    def validate(model, case):
        snapshots.append({k: v.clone() for k, v in model.network.state_dict().items()})
        return next(scores)

    model = make_model()
    result = train(model, training=cases, validation=cases[:1], config=short(), folder=tmp_path, validate=validate)
    assert (result.chosen_step, result.steps, result.best) == (4, 6, 0.9)
    assert all(torch.equal(tensor, snapshots[1][k]) for k, tensor in model.network.state_dict().items())


def test_training_stops_when_patience_runs_out(make_model, cases, tmp_path):
    scores = iter([0.5, 0.4, 0.3, 0.9])
    result = train(
        make_model(),
        training=cases,
        validation=cases[:1],
        config=short(steps=20, patience=2),
        folder=tmp_path,
        validate=lambda model, case: next(scores),
    )
    assert result.stopped_early
    assert (result.steps, result.chosen_step, result.best) == (6, 2, 0.5)


def test_undefined_scores_are_left_out_of_the_mean(make_model, cases, tmp_path):
    scores = iter([None, 0.4, None, None, None, 0.8])
    config = short(validate_every=3)
    train(
        make_model(),
        training=cases,
        validation=cases,
        config=config,
        folder=tmp_path,
        validate=lambda m, c: next(scores),
    )
    assert [(line["validation"], line["validated"]) for line in log(tmp_path)] == [(0.4, 1), (0.8, 1)]


def test_a_finished_training_is_read_back(make_model, cases, tmp_path):
    first = make_model()
    result = train(first, training=cases, config=short(), folder=tmp_path)
    again = make_model()
    told = []
    assert train(again, training=cases, config=short(), folder=tmp_path, progress=told.append) == result
    assert told == []
    for one, other in zip(first.network.parameters(), again.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_workers_and_lazy_cases_do_not_change_the_weights(make_model, cases, tmp_path):
    lazy = CasesOnDemand(lambda name: cases[int(name)], ["0", "1", "2"])
    plain = train(make_model(), training=cases, config=short(), folder=tmp_path / "a")
    other = train(make_model(), training=lazy, config=short(workers=2), folder=tmp_path / "b")
    assert sha256(plain.checkpoint) == sha256(other.checkpoint)


def test_another_configuration_in_the_folder_is_an_error(make_model, make_case, cases, tmp_path):
    train(make_model(), training=cases, config=short(), folder=tmp_path)
    before = sha256(tmp_path / CHECKPOINT)
    with pytest.raises(ConfigError, match=r"config\.learning_rate is 0\.001, asked for 0\.01"):
        train(make_model(), training=cases, config=short(learning_rate=0.01), folder=tmp_path)
    with pytest.raises(ConfigError, match=r"options\.base is 4, asked for 8"):
        train(make_model(base=8), training=cases, config=short(), folder=tmp_path)
    with pytest.raises(ConfigError, match=r"holds another training: cases is"):
        train(make_model(), training=[*cases[:2], make_case(7)], config=short(), folder=tmp_path)
    with pytest.raises(ConfigError, match=r"start is None, asked for 'ab'"):
        train(make_model(), training=cases, config=short(), folder=tmp_path, start="ab")
    assert sha256(tmp_path / CHECKPOINT) == before


def test_a_checkpoint_says_which_weights_it_began_with(make_model, cases, tmp_path):
    for start in ("ab", None):
        result = train(make_model(), training=cases, config=short(), folder=tmp_path / str(start), start=start)
        assert read_checkpoint(result.checkpoint).about.began == start


def test_training_on_nothing_and_patience_without_validation_are_refused(make_model, cases, tmp_path):
    with pytest.raises(InputError, match="no case to train on"):
        train(make_model(), training=[], config=short(), folder=tmp_path)
    with pytest.raises(ConfigError, match="patience needs validation cases"):
        train(make_model(), training=cases, config=short(patience=1), folder=tmp_path)


def test_a_place_that_cannot_be_written_to_is_named(make_model, cases, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"Cannot write .*Choose another place"):
        train(make_model(), training=cases, config=short(), folder=tmp_path / "file" / "run")


def stop_at(step):
    def progress(told):
        if told.step == step:
            raise KeyboardInterrupt

    return progress


def test_a_full_disk_is_a_clear_error_and_keeps_the_old_state(make_model, cases, tmp_path):
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_the_disk(told):
        if told.step == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))

    try:
        with pytest.raises(InputError, match=r"Cannot write .*state-00000004.*free some space"):
            train(make_model(), training=cases, config=short(), folder=tmp_path, progress=fill_the_disk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert sorted(p.name for p in (tmp_path / STATE).glob("*.safetensors")) == [
        "state-00000000.safetensors",
        "state-00000002.safetensors",
    ]
    result = train(make_model(), training=cases, config=short(), folder=tmp_path)
    assert result.resumed_from == 2
    straight = train(make_model(), training=cases, config=short(), folder=tmp_path / "straight")
    assert sha256(result.checkpoint) == sha256(straight.checkpoint)


def test_a_damaged_state_is_reported_and_the_end_is_the_same(make_model, cases, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), training=cases, config=short(), folder=tmp_path / "a", progress=stop_at(5))
    newest = tmp_path / "a" / STATE / "state-00000004.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    told = []
    result = train(make_model(), training=cases, config=short(), folder=tmp_path / "a", progress=told.append)
    assert result.resumed_from == 2
    assert "state-00000004.safetensors is damaged" in result.notes[0]
    assert told[0].message == result.notes[0]
    straight = train(make_model(), training=cases, config=short(), folder=tmp_path / "b")
    assert sha256(result.checkpoint) == sha256(straight.checkpoint)
    assert log(tmp_path / "a") == log(tmp_path / "b")


def test_going_on_with_another_number_of_processes_is_noted(make_model, cases, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), training=cases, config=short(), folder=tmp_path, progress=stop_at(5))
    for manifest in (tmp_path / STATE).glob("*.json"):
        manifest.write_text(manifest.read_text().replace('"processes": 1', '"processes": 2'))
    result = train(make_model(), training=cases, config=short(), folder=tmp_path)
    assert result.notes == (
        "From step 4 on 1 processes train in place of 2: the last bits of the weights depend on that.",
    )


def test_the_averaged_weights_are_validated_and_kept(make_model, cases, tmp_path):
    seen = []

    def validate(model, case):
        seen.append({name: tensor.clone() for name, tensor in model.network.state_dict().items()})
        return float(len(seen) == 2)

    even = short(ema=0.5, schedule="constant")
    model = make_model()
    train(model, training=cases, validation=cases[:1], config=even, folder=tmp_path, validate=validate)
    kept = model.network.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in seen[1].items())
    own = make_model()
    train(own, training=cases, config=replace(even, steps=4, ema=0.0), folder=tmp_path / "own")
    assert not torch.equal(own.network.state_dict()["head.weight"], kept["head.weight"])
    last = make_model()
    train(last, training=cases, config=replace(even, steps=4), folder=tmp_path / "last")
    assert all(torch.equal(last.network.state_dict()[name], tensor) for name, tensor in seen[1].items())


def test_speed_and_memory_are_kept_apart_from_the_log(make_model, cases, tmp_path):
    train(make_model(), training=cases, validation=cases[:1], config=short(), folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / SPEED).read_text().splitlines()]
    assert [(line["step"], line["samples"]) for line in lines] == [(2, 4), (4, 4), (6, 4)]
    for line in lines:
        assert line["samples_per_second"] == pytest.approx(line["samples"] / line["seconds"])
        assert line["validation_seconds"] > 0
        assert 1e7 < line["memory_bytes"] < 1e11
        assert line["device_bytes"] is None


def test_event_files_hold_the_log(make_model, cases, tmp_path):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = short(tensorboard=True, save_every=4)
    with pytest.raises(KeyboardInterrupt):
        train(make_model(), training=cases, config=config, folder=tmp_path, progress=stop_at(3))
    train(make_model(), training=cases, config=config, folder=tmp_path)
    events = reading.EventAccumulator(str(tmp_path / "events")).Reload()
    written = [(event.step, event.value) for event in events.Scalars("loss")]
    assert written == [(line["step"], pytest.approx(line["loss"])) for line in log(tmp_path)]
    assert {"learning rate", "samples per second", "memory/process GB"} <= set(events.Tags()["scalars"])


def test_event_files_without_their_package_are_an_error_that_says_what_to_install(
    make_model, cases, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with pytest.raises(ConfigError, match=r"pip install 'oncoseg\[tensorboard\]'"):
        train(make_model(), training=cases, config=short(tensorboard=True), folder=tmp_path)


CHILD = """
    import sys
    from pathlib import Path
    import numpy as np
    import torch
    from oncoseg.case import Case
    from oncoseg.models import unet
    from oncoseg.training.loop import train
    from oncoseg.training.settings import TrainConfig
    from oncoseg.volume import Volume

    torch.set_num_threads(1)
    torch.manual_seed(int(sys.argv[2]))
    rng = np.random.default_rng(0)
    cases = []
    for n in range(4):
        mask = np.zeros((4, 32, 32), bool)
        mask[1:3, 8 + n : 16 + n, 10:20] = True
        image = Volume.from_spacing((rng.normal(-800, 40, mask.shape) + 800 * mask).astype(np.int16), (3, 1, 1))
        cases.append(Case(f"c{n}", f"p{n}", image, {"tumour": image.with_voxels(mask)}))
    model = unet.build(base=4, norm="batch", patch=32, spacing=None, dropout=0.2)
    config = TrainConfig(
        steps=40, batch=2, accumulate=2, validate_every=2, save_every=4, ema=0.95, schedule="multistep",
        milestones=(4, 8), rate_every="epoch", warm_up=2, clip=1.0, device="cpu", keep_state=True,
    )
    train(
        model, training=cases[:3], validation=cases[3:], config=config, folder=Path(sys.argv[1]),
        progress=lambda told: print(told.step, flush=True),
    )
"""


def run_child(script, folder, seed=0, kill_after_lines=None):
    """Train in a child process; gives the number of lines it printed."""
    with subprocess.Popen([sys.executable, script, folder, str(seed)], stdout=subprocess.PIPE, text=True) as child:
        lines = 0
        for _ in child.stdout:
            lines += 1
            if lines == kill_after_lines:
                os.kill(child.pid, signal.SIGKILL)
                break
        child.wait()
    assert child.returncode == (0 if kill_after_lines is None else -signal.SIGKILL)
    return lines


@pytest.mark.slow
def test_three_kills_change_no_bit_of_weights_optimiser_and_log(tmp_path):
    script = tmp_path / "child.py"
    script.write_text(textwrap.dedent(CHILD))
    assert run_child(script, tmp_path / "straight") == 40
    rng = random.Random(7)
    killed = tmp_path / "killed"
    for _ in range(3):
        # Another seed for the first weights: what was saved counts, not what a new process starts with.
        run_child(
            script, killed, seed=rng.randrange(100) if killed.exists() else 0, kill_after_lines=rng.randint(2, 12)
        )
    assert 0 < run_child(script, killed, seed=99) < 40
    final = f"{STATE}/state-00000040.safetensors"
    for name in (CHECKPOINT, LOG, final):
        assert sha256(tmp_path / "straight" / name) == sha256(killed / name), name
