import json
import logging
import sys

import pytest
import torch
from torch import nn

from oncoseg.config import plain
from oncoseg.errors import ConfigError, InputError
from oncoseg.inference import on_openvino, running, trial
from oncoseg.inference.running import Running, lowest_dice, measured_choice, runner
from oncoseg.inference.trial import WITHOUT_AMX, Trial, require_bfloat16


def network():
    torch.manual_seed(0)
    layers = [nn.Conv3d(1, 8, 3, padding=1), nn.InstanceNorm3d(8, affine=True), nn.LeakyReLU(), nn.Conv3d(8, 3, 1)]
    made = nn.Sequential(*layers)
    nn.init.normal_(made[1].weight)
    nn.init.normal_(made[1].bias)
    return made


def batch(size=2):
    return torch.randn(size, 1, 8, 12, 10, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("layout", ["channels-first", "channels-last"])
def test_float32_is_the_network_itself(layout):
    net = network().train()
    found = runner(net, Running(layout=layout))(batch())
    torch.testing.assert_close(found, net.eval()(batch()), atol=1e-5, rtol=1e-5)
    assert not found.requires_grad


def test_the_network_stays_as_it_was_and_its_weights_are_shared():
    net = network().train()
    run = runner(net, Running(layout="channels-last"))
    before = run(batch())
    assert net.training
    assert isinstance(net[1], nn.InstanceNorm3d)
    with torch.no_grad():
        net[3].bias += 1
    torch.testing.assert_close(run(batch()), before + 1)


def test_norms_with_running_statistics_keep_them():
    net = nn.Sequential(nn.InstanceNorm2d(3, track_running_stats=True)).eval()
    net[0].running_mean.fill_(0.5)
    x = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(runner(net)(x), net(x))


def logits(*labels):
    return nn.functional.one_hot(torch.tensor([labels]), 3).movedim(-1, 1).float()


def test_the_worst_class_counts():
    # Class 1: two voxels each, one in common: 2 * 1 / 4. Class 2: the same voxel.
    assert lowest_dice(logits(1, 1, 0, 2), logits(0, 1, 1, 2)) == 0.5
    assert lowest_dice(logits(0, 0), logits(0, 0)) is None
    assert lowest_dice(logits(0, 0), logits(0, 1)) == 0
    assert lowest_dice(torch.tensor([[[1.0, -1.0]]]), torch.tensor([[[2.0, -3.0]]])) == 1
    assert lowest_dice(logits(1, 1), logits(1, 1) * float("nan")) == 0


def test_a_way_that_fails_is_off_and_said_so(monkeypatch, caplog):
    def refused(backend):
        raise ConfigError("the trial was ended by SIGILL")

    monkeypatch.setattr(running, "require_bfloat16", refused)
    with caplog.at_level(logging.WARNING):
        choice = measured_choice(network(), batch(), candidates=[Running("bfloat16")], rounds=1)
    assert choice.running == Running()
    assert [m.off for m in choice.measured] == ["", "the trial was ended by SIGILL"]
    assert "torch bfloat16 is off: the trial was ended by SIGILL" in caplog.text
    assert choice.measured[1].seconds is None


def with_bfloat16(monkeypatch, wrong):
    """bfloat16 as plain float32 with an error, at no cost."""
    real = running.made

    def made(net, way):
        run = real(net, Running())
        fast = run(batch())
        return (lambda x: wrong(fast)) if way.precision == "bfloat16" else run

    monkeypatch.setattr(running, "made", made)
    monkeypatch.setattr(running, "require_bfloat16", lambda backend: None)


def test_a_faster_way_with_the_same_masks_is_chosen(monkeypatch):
    with_bfloat16(monkeypatch, lambda right: right + 1e-3 * torch.sign(right[:, :1]).roll(1))
    choice = measured_choice(network(), batch(), candidates=[Running("bfloat16")], tolerance=0.99)
    assert choice.running == Running("bfloat16")
    best, other = choice.measured[1], choice.measured[0]
    assert best.seconds < other.seconds
    assert best.difference == pytest.approx(1e-3, rel=1e-3)
    assert json.loads(json.dumps(plain(choice)))["running"]["precision"] == "bfloat16"


def test_other_masks_are_never_chosen(monkeypatch):
    with_bfloat16(monkeypatch, lambda right: right.roll(1, dims=2))
    choice = measured_choice(network(), batch(), candidates=[Running("bfloat16")])
    assert choice.running == Running()
    assert choice.measured[1].dice < 0.999
    assert "below 0.999" in choice.measured[1].off


def test_an_example_without_anything_proves_nothing(monkeypatch):
    with_bfloat16(monkeypatch, lambda right: right)
    net = network()
    nn.init.constant_(net[3].bias, 0)
    with torch.no_grad():
        net[3].bias[0] = 100
    choice = measured_choice(net, batch(), candidates=[Running("bfloat16")])
    assert choice.running == Running()
    assert "nothing is found" in choice.measured[1].off


def test_rounds_are_needed():
    with pytest.raises(InputError, match="rounds is 0"):
        measured_choice(network(), batch(), rounds=0)


def child(monkeypatch, tmp_path, script):
    """The trial's child is a shell script; True in it means that AMX is left out."""
    program = tmp_path / "child"
    program.write_text(f"#!/bin/sh\nlimited=$([ $ONEDNN_MAX_CPU_ISA = {WITHOUT_AMX} ] && echo true)\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(trial, "_FROM_OUTSIDE", None)
    monkeypatch.setattr(trial, "_limited", set())
    monkeypatch.setenv(trial.VARIABLE, "DEFAULT")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_bfloat16_that_works_is_used_as_it_is(monkeypatch, tmp_path):
    child(monkeypatch, tmp_path, """echo '{"error": 0.01}'""")
    assert trial.trial("torch") == Trial(True)
    require_bfloat16("torch")


def test_a_crash_is_contained_and_amx_is_left_out(monkeypatch, tmp_path):
    child(monkeypatch, tmp_path, """[ $limited ] && echo '{"error": 0.01}' || kill -ILL $$""")
    assert trial.trial("torch") == Trial(True, WITHOUT_AMX, "the trial was ended by SIGILL")
    monkeypatch.setattr(trial, "_computed_before", lambda backend: False)
    require_bfloat16("torch")
    assert trial.os.environ[trial.VARIABLE] == WITHOUT_AMX
    monkeypatch.setattr(trial, "_computed_before", lambda backend: True)
    require_bfloat16("torch")


def test_a_process_that_computed_with_amx_is_not_risked(monkeypatch, tmp_path):
    child(monkeypatch, tmp_path, """[ $limited ] && echo '{"error": 0.01}' || kill -ILL $$""")
    monkeypatch.setattr(trial, "_computed_before", lambda backend: True)
    with pytest.raises(ConfigError, match=f"Start it with ONEDNN_MAX_CPU_ISA={WITHOUT_AMX}"):
        require_bfloat16("torch")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -ILL $$", "ended by SIGILL"),
        ("echo RuntimeError: could not create a primitive >&2; exit 1", "could not create a primitive"),
        ("""echo '{"error": 0.9}'""", "wrong by 0.9"),
    ],
)
def test_bfloat16_that_does_not_work_is_refused_with_the_reason(monkeypatch, tmp_path, script, reason):
    child(monkeypatch, tmp_path, script)
    with pytest.raises(ConfigError, match=reason):
        require_bfloat16("torch")


def test_a_machine_is_tried_once(monkeypatch, tmp_path):
    child(monkeypatch, tmp_path, f"""echo x >> {tmp_path}/tries; echo '{{"error": 0.01}}'""")
    assert trial.trial("torch") == trial.trial("torch")
    assert (tmp_path / "tries").read_text() == "x\n"


@pytest.mark.slow
def test_the_real_trial_ends_with_an_answer():
    found = trial.trial("torch")
    assert found.works or found.reason


def test_without_openvino_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setattr(on_openvino.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"oncoseg\[openvino\]"):
        runner(network(), Running(backend="openvino"))


def test_openvino_gives_the_networks_logits_for_every_shape():
    pytest.importorskip("openvino")
    net = network().eval()
    run = runner(net, Running(backend="openvino"))
    for size in (2, 1):
        torch.testing.assert_close(run(batch(size)), net(batch(size)), atol=1e-4, rtol=1e-4)
    kept = run(batch())
    run(batch() + 1)
    torch.testing.assert_close(kept, net(batch()), atol=1e-4, rtol=1e-4)
