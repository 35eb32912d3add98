"""nnU-Net in a process of its own; what it does itself is tested where its environment is set up (`make nnunet`)."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from oncoseg import registry
from oncoseg.case import Case
from oncoseg.contracts import FitStep, SelfTraining
from oncoseg.errors import ConfigError, FetchError, InputError, NotApplicableError, OncosegError, UnsafeFileError
from oncoseg.experiments.cost import CostJob, measure_here
from oncoseg.experiments.specs import ModelSpec
from oncoseg.models.nnunet import checkpoint, environment, fitting, plans, process, raw
from oncoseg.models.nnunet.child import predicting
from oncoseg.models.nnunet.options import NnunetOptions
from oncoseg.training.delegated import train_model
from oncoseg.training.settings import TrainConfig
from oncoseg.volume import Volume

try:
    PYTHON = environment.interpreter()  # before the tests' own cache folder hides the user's
except FetchError:
    PYTHON = None
needs_nnunet = pytest.mark.skipif(PYTHON is None, reason="nnU-Net is not set up: make nnunet")
TINY = {"iterations": 2, "validation_iterations": 1, "memory_gb": 0.5, "processes": 1, "python": PYTHON}


def nnunet(variant="2d", **options):
    return registry.load("models", "nnunet").build(variant, **options)


def case(number, shape=(24, 48, 48)):
    """A bright ellipsoid in noise, 3 x 1 x 1 mm."""
    rng = np.random.default_rng(number)
    centre = rng.uniform([8, 14, 14], [16, 34, 34])
    tumour = (((np.indices(shape).transpose(1, 2, 3, 0) - centre) / (4, 7, 7)) ** 2).sum(axis=-1) <= 1
    voxels = np.rint(np.where(tumour, 40, -800) + rng.normal(0, 20, shape)).astype(np.int16)
    image = Volume.from_spacing(voxels, (3.0, 1.0, 1.0))
    return Case(f"patient {number}", f"patient {number}", image, {"tumour": image.with_voxels(tumour)})


def with_lungs(number=0):
    plain = case(number)
    left, right = (np.zeros(plain.image.shape, bool) for _ in range(2))
    right[:, :, :24], left[:, :, 24:] = True, True
    lungs = {"lung_right": plain.image.with_voxels(right), "lung_left": plain.image.with_voxels(left)}
    return Case(plain.name, plain.patient, plain.image, {**plain.masks, **lungs})


def stored(path):
    """Voxels in the order in which nnU-Net's reader has them: slowest axis of the file first."""
    return np.asarray(nibabel.load(path).dataobj).T


# The cases that nnU-Net reads


def test_cases_are_written_as_nnunet_reads_them(tmp_path):
    told = []
    names = raw.write_cases(tmp_path, [case(0), case(1)], NnunetOptions(), told.append)
    assert names == ["case_0000", "case_0001"]
    assert told == [1, 2]
    described = json.loads((tmp_path / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "tumour": 1}
    assert described["channel_names"] == {"0": "CT"}
    assert described["numTraining"] == 2
    assert nibabel.load(tmp_path / "imagesTr/case_0001_0000.nii.gz").header.get_zooms() == pytest.approx((1, 1, 3))
    np.testing.assert_array_equal(stored(tmp_path / "imagesTr/case_0001_0000.nii.gz"), case(1).image.voxels)
    np.testing.assert_array_equal(stored(tmp_path / "labelsTr/case_0001.nii.gz"), case(1).mask().voxels)


def test_tumour_overrides_the_lungs(tmp_path):
    given = with_lungs()
    raw.write_cases(tmp_path, [given], NnunetOptions(labels="lungs+tumour"))
    label = stored(tmp_path / "labelsTr/case_0000.nii.gz")
    tumour = given.mask().voxels
    assert (label[tumour] == 3).all()
    assert set(np.unique(label[..., :24][~tumour[..., :24]])) == {1}
    assert set(np.unique(label[..., 24:][~tumour[..., 24:]])) == {2}


def test_case_without_lungs_is_named(tmp_path):
    with pytest.raises(InputError, match=r"patient 0.*lung_right"):
        raw.write_cases(tmp_path, [case(0)], NnunetOptions(labels="lungs+tumour"))


def test_written_cases_are_not_read_again(tmp_path):
    asked = []

    class Reading(list):
        def __getitem__(self, place):
            asked.append(place)
            return super().__getitem__(place)

    raw.write_cases(tmp_path, [case(0)], NnunetOptions())
    raw.write_cases(tmp_path, Reading([case(0), case(1)]), NnunetOptions())
    assert asked == [1]


def test_voxels_stored_the_other_way_reach_nnunet_the_same(tmp_path):
    image = case(0).image
    affine = image.affine.copy()
    affine[:3, 0] *= -1
    affine[:3, 3] = image.index_to_mm((image.shape[0] - 1, 0, 0))
    turned = Volume(np.ascontiguousarray(image.voxels[::-1]), affine)
    expected = raw.image_for(image, NnunetOptions())
    np.testing.assert_array_equal(raw.image_for(turned, NnunetOptions()).voxels, expected.voxels)


def test_window_and_spacing_are_applied_before_nnunet_sees_an_image():
    given = raw.image_for(case(0).image, NnunetOptions(window=(-700, 0), spacing=(3.0, 2.0, 2.0)))
    assert given.shape == (24, 24, 24)
    assert given.spacing == (3.0, 2.0, 2.0)
    assert given.voxels.min() >= -700
    assert given.voxels.max() <= 0


def test_split_holds_ours_and_the_parts_of_the_first_stage():
    ours, *parts = raw.split_of(["a", "b", "c", "d", "e"], 3, 2)
    assert ours == {"train": ["a", "b", "c"], "val": ["d", "e"]}
    assert [part["val"] for part in parts] == [["a", "c", "e"], ["b", "d"]]
    assert all(not set(part["train"]) & set(part["val"]) for part in parts)


# Plans and fingerprints in words


def planned(patch, median, **others):
    """The parts of nnU-Net 2.8's plans.json that are read; the transposition puts the last axis first."""
    network = {"n_stages": 2, "features_per_stage": [32, 64], "kernel_sizes": [[1, 3, 3]] * 2, "strides": [[1, 2, 2]]}
    full = {
        "patch_size": patch,
        "median_image_size_in_voxels": median,
        "spacing": [5.0, 1.0, 0.9],
        "batch_size": 2,
        "batch_dice": False,
        "normalization_schemes": ["CTNormalization"],
        "architecture": {"network_class_name": "x.PlainConvUNet", "arch_kwargs": network},
    }
    seen = {"percentile_00_5": -900.4, "percentile_99_5": 120.2, "mean": -300.0, "std": 250.0}
    return {
        "transpose_backward": [1, 2, 0],
        "foreground_intensity_properties_per_channel": {"0": seen},
        "configurations": {"3d_fullres": full, **others},
    }


def test_plan_is_told_in_the_order_of_our_axes():
    words = plans.plan_words(planned([20, 64, 48], [100, 200, 200]), "2.8.1", 8.0)
    assert words["configurations"]["3d_fullres"]["spacing_mm"] == [1.0, 0.9, 5.0]
    assert words["configurations"]["3d_fullres"]["patch_voxels"] == [64, 48, 20]
    assert words["configurations"]["3d_fullres"]["kernels"] == ["3 x 3 x 1"] * 2
    assert words["configurations"]["3d_fullres"]["normalisation"].startswith("clip to -900 .. 120 HU, subtract -300")


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ([50, 100, 100], "the 3d_fullres patch already covers 50% of the median volume"),
        ([20, 100, 100], "a coarser volume would be less than half as large"),
    ],
)
def test_says_why_there_is_no_coarser_stage(patch, reason):
    made = planned(patch, [100, 100, 100])
    assert plans.why_not(made, "3d_lowres") == f"3d_lowres not applicable: {reason}"
    assert "the cascade needs 3d_lowres" in plans.why_not(made, "3d_cascade_fullres")
    assert plans.why_not(made, "3d_fullres") is None


def test_configuration_that_is_left_away_ends_the_training_as_not_applicable(tmp_path, monkeypatch):
    monkeypatch.setenv(environment.VARIABLE, sys.executable)
    course = fitting.Fitting("3d_lowres", NnunetOptions(), tmp_path, device="cpu", progress=lambda told: None)
    seen = {"mean": 1, "std": 1, "median": 1, "percentile_00_5": 1, "percentile_99_5": 1, "min": 1, "max": 1}
    fingerprint = {
        "spacings": [[3, 1, 1]],
        "shapes_after_crop": [[9, 9, 9]],
        "foreground_intensity_properties_per_channel": {"0": seen},
    }
    with pytest.raises(NotApplicableError, match="already covers 100%"):
        course._surface({"plans": planned([9, 9, 9], [9, 9, 9]), "fingerprint": fingerprint, "version": "2.8.1"})
    assert json.loads((tmp_path / "fingerprint.json").read_text())["cases"] == 1
    told = json.loads((tmp_path / "plans.json").read_text())
    assert "already covers" in told["configurations"]["3d_lowres"]["not_applicable"]


# The child and its errors


@pytest.mark.parametrize(
    ("kind", "error", "said"),
    [
        ("RuntimeError", "CUDA out of memory. Tried", "lower --set memory_gb"),
        ("RuntimeError", "Some background worker is 6 feet under. Yuck.", "Memory was short"),
        ("KeyError", "'x'", "failed while planning: 'x'"),
        ("", "", "no reason was given"),
    ],
)
def test_errors_of_the_child_are_one_message_with_the_log(tmp_path, kind, error, said):
    found = process.failure(kind, error, "planning", tmp_path / "log.txt")
    assert type(found) is OncosegError
    assert said in str(found)
    assert str(tmp_path / "log.txt") in str(found)


def test_a_python_without_nnunet_is_one_message(tmp_path):
    child = process.Child(Path(sys.executable), tmp_path / "log.txt", processes=1)
    with pytest.raises(OncosegError, match=r"No module named 'nnunetv2'.*log\.txt"):
        child.ask("plan", dataset="x", number=1, memory_gb=1, processes=1)
    assert "Traceback" in (tmp_path / "log.txt").read_text()


def test_a_child_that_is_killed_is_said_to_be(tmp_path):
    child = process.Child(Path(sys.executable), tmp_path / "log.txt", processes=1)
    os.kill(child._process.pid, signal.SIGKILL)
    with pytest.raises(OncosegError, match=r"SIGKILL \(often: out of memory\)"):
        child.ask("plan", dataset="x", number=1, memory_gb=1, processes=1)


def test_users_own_variables_do_not_reach_the_child(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_raw", "/elsewhere")
    monkeypatch.setenv("nnUNet_extTrainer", "/elsewhere")
    held = process._environment(2, {"nnUNet_results": tmp_path}, False)
    assert "nnUNet_raw" not in held
    assert "nnUNet_extTrainer" not in held
    assert held["nnUNet_results"] == str(tmp_path)
    assert (held["nnUNet_n_proc_DA"], held["nnUNet_compile"]) == ("2", "false")


def test_a_numbered_accelerator_is_the_only_one_the_child_sees(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert process._visible("cuda:1") == {"CUDA_VISIBLE_DEVICES": "6"}
    assert process._visible("cpu") == {}
    with pytest.raises(ConfigError, match="shows 2"):
        process._visible("cuda:2")


def test_without_nnunet_the_command_that_sets_it_up_is_said(monkeypatch):
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(FetchError, match="oncoseg fetch nnunet"):
        environment.interpreter()


def test_interpreter_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match="no_python"):
        environment.interpreter(tmp_path / "no_python")


# Training by the model itself


class Fake:
    """A model with a training of its own: three epochs of two steps, killed before the last one."""

    info = registry.load("models", "nnunet").INFOS[0]
    begin = 0
    stop = 3

    def options(self):
        return {}

    def predict(self, image, prompts=()):
        return image

    def fit(self, *, training, validation, epochs, seed, device, folder, dataset=None, progress):
        progress(FitStep(0, 0, message="planning"))
        for epoch in range(self.begin):
            progress(FitStep(2 * epoch + 2, 6, epoch=epoch + 1, losses={"training": 0.75}, earlier=True))
        for epoch in range(self.begin, self.stop):
            progress(FitStep(2 * epoch + 1, 6, loss=1.0))
            progress(FitStep(2 * epoch + 2, 6, epoch=epoch + 1, learning_rate=0.1, losses={"training": 0.5}))
        if self.stop < epochs:
            raise KeyboardInterrupt
        (folder / "checkpoint.safetensors").write_bytes(b"x")
        return folder / "checkpoint.safetensors"


def test_own_training_leaves_the_folder_of_any_training(tmp_path):
    assert isinstance(Fake(), SelfTraining)
    told, config = [], TrainConfig(epochs=3)
    killed = Fake()
    killed.stop = 2
    with pytest.raises(KeyboardInterrupt):
        train_model(killed, training=[case(0)], config=config, folder=tmp_path, progress=told.append)
    assert [t.message for t in told][:1] == ["planning"]
    again = Fake()
    again.begin = 1  # the last epoch had not been saved
    result = train_model(again, training=[case(0)], config=config, folder=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert [line["loss"] for line in lines] == [0.75, 0.5, 0.5], "what is told of finished epochs is what stands"
    assert (result.steps, result.resumed_from) == (6, 2)
    assert not (tmp_path / "state").exists()
    assert train_model(Fake(), training=[case(0)], config=config, folder=tmp_path) == result


@pytest.mark.parametrize(("setting", "value"), [("learning_rate", 0.1), ("batch", 4), ("precision", "bfloat16")])
def test_settings_that_would_change_nothing_are_refused(tmp_path, setting, value):
    config = TrainConfig(epochs=1, **{setting: value})
    with pytest.raises(ConfigError, match=setting):
        train_model(Fake(), training=[case(0)], config=config, folder=tmp_path)


def test_steps_are_refused_in_favour_of_epochs(tmp_path):
    with pytest.raises(ConfigError, match="--epochs"):
        train_model(Fake(), training=[case(0)], config=TrainConfig(steps=5), folder=tmp_path)


# Folders that nnU-Net trained


def trained_folder(root, content=None, weights=None):
    """A folder of nnU-Net's with one small checkpoint."""
    folder = root / "nnUNetTrainer__nnUNetPlans__2d"
    (folder / "fold_0").mkdir(parents=True)
    (folder / "plans.json").write_text(json.dumps({"configurations": {"2d": {}, "3d_cascade_fullres": {}}}))
    labels = {"background": 0, "liver": 1, "liver tumor": 2}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    held = {
        "network_weights": weights or {"a.weight": torch.ones(2)},
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": [{"lr": 0.01}]},
        "logging": {"mean_fg_dice": [np.float64(0.5)], "dice": [[np.float32(0.25)]], "lrs": [0.01]},
        "init_args": {"configuration": "2d", "device": torch.device("cpu"), "fold": 0},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1),
    }
    torch.save(held if content is None else content, folder / "fold_0/checkpoint_final.pth")
    return folder


def test_folder_of_nnunet_is_known_and_its_tumour_found(tmp_path):
    folder = trained_folder(tmp_path)
    assert registry.load("models", "nnunet").trained_variant(folder) == "2d"
    model = registry.load("models", "nnunet").build(weights=folder)
    assert model.info.full_name == "nnunet.2d"
    assert model.trained["output"] == 2
    stage = {"configuration": "2d", "trainer": "nnUNetTrainer", "mirror_axes": [0, 1], "folds": ["0"], "shared": {}}
    assert model.trained["stages"] == [stage]


def test_tensors_under_two_names_are_kept_once(tmp_path):
    weight = torch.ones(3)
    folder = trained_folder(tmp_path, weights={"encoder.a": weight, "decoder.encoder.a": weight, "b": torch.ones(3)})
    network = checkpoint.read_network(folder / "fold_0/checkpoint_final.pth", "0")
    assert list(network.state) == ["encoder.a", "b"]
    assert network.shared == {"decoder.encoder.a": "encoder.a"}


def test_other_folders_are_not_taken_for_trained_ones(tmp_path):
    assert registry.load("models", "nnunet").trained_variant(tmp_path) is None
    with pytest.raises(InputError, match=r"plans\.json"):
        registry.load("models", "nnunet").build(weights=tmp_path)


class Harmful:
    def __reduce__(self):
        return (os.system, ("true",))


def test_checkpoint_that_could_run_code_is_refused(tmp_path):
    folder = trained_folder(tmp_path, {"network_weights": {}, "harm": Harmful()})
    with pytest.raises(UnsafeFileError, match=r"system.*trust=true"):
        registry.load("models", "nnunet").build(weights=folder)


def test_damaged_checkpoint_is_named(tmp_path):
    folder = trained_folder(tmp_path)
    place = folder / "fold_0/checkpoint_final.pth"
    place.write_bytes(place.read_bytes()[:300])
    with pytest.raises(InputError, match=r"checkpoint_final\.pth is damaged"):
        registry.load("models", "nnunet").build(weights=folder)
    place.write_bytes(pickle.dumps([1]))
    with pytest.raises(InputError, match=r"checkpoint_final\.pth"):
        registry.load("models", "nnunet").build(weights=folder)


def test_missing_fold_is_named_with_those_there_are(tmp_path):
    with pytest.raises(InputError, match=r"fold_3.*folds with one: 0"):
        registry.load("models", "nnunet").build(weights=trained_folder(tmp_path), folds=[3])


def test_second_stage_without_its_first_is_named(tmp_path):
    folder = trained_folder(tmp_path)
    (folder / "plans.json").write_text(json.dumps({"configurations": {"2d": {"previous_stage": "3d_lowres"}}}))
    with pytest.raises(InputError, match="nnUNetTrainer__nnUNetPlans__3d_lowres"):
        registry.load("models", "nnunet").build(weights=folder)


def test_options_of_training_are_refused_for_a_trained_folder(tmp_path):
    with pytest.raises(ConfigError, match="iterations"):
        registry.load("models", "nnunet").build(weights=trained_folder(tmp_path), iterations=5)


@pytest.mark.parametrize(
    ("labels", "label", "output"),
    [
        ({"background": 0, "lesion": 1}, None, 1),
        ({"background": 0, "lung": 1, "Cancer": 2, "node": 3}, None, 2),
        ({"background": 0, "a": 1, "b": 2}, "b", 2),
        ({"background": 0, "whole": [1, 2], "tumour core": [2]}, None, 1),
    ],
)
def test_tumour_is_found_among_labels_and_regions(labels, label, output):
    assert checkpoint.output_of({"labels": labels}, label) == output


def test_structures_are_named_by_label():
    assert checkpoint.classes_of({"labels": {"background": 0, "b": 2, "a": 1}}) == ("a", "b")
    assert checkpoint.classes_of({"labels": {"background": 0, "whole": [1, 2], "core": 2}}) == ("label 1", "label 2")
    assert nnunet(labels="lungs+tumour").classes == ("lung_right", "lung_left", "tumour")


def test_labels_that_name_no_tumour_are_listed():
    with pytest.raises(InputError, match=r"--set label=NAME.*spleen"):
        checkpoint.output_of({"labels": {"background": 0, "liver": 1, "spleen": 2}})


def test_untrained_model_says_how_to_train():
    with pytest.raises(InputError, match=r"oncoseg train nnunet\.2d"):
        nnunet().predict(case(0).image)


def test_second_stage_is_given_the_segmentation_of_the_first_as_numbers_with_a_sign(tmp_path):
    """nnU-Net marks what lies outside with -1."""

    class Stage:
        def predict_single_npy_array(self, image, properties, previous, target, probabilities):
            self.previous = previous
            labels = (image[0] > 0).astype(np.uint8)
            return (labels, np.stack([1.0 - labels, labels])) if probabilities else labels

    first, second = Stage(), Stage()
    np.save(tmp_path / "image.npy", case(0).image.voxels.astype(np.float32))
    predicting.predict([first, second], tmp_path / "image.npy", [3.0, 1.0, 1.0], tmp_path)
    assert first.previous is None
    assert second.previous.dtype == np.float32
    np.testing.assert_array_equal(second.previous[0] > 0, np.load(tmp_path / "labels.npy") > 0)
    assert np.load(tmp_path / "probabilities.npy").shape == (2, *case(0).image.shape)


# The real nnU-Net


def stored_image(folder):
    """A case's image as the measurement of costs takes it."""
    np.savez(folder / "image.npz", voxels=case(9).image.voxels, affine=case(9).image.affine)
    return folder / "image.npz"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A 2d training of two steps, its state kept; and what it told."""
    folder, told = tmp_path_factory.mktemp("trained"), []
    torch.set_num_threads(1)
    result = train_model(
        nnunet(**TINY),
        training=[case(n) for n in range(3)],
        validation=[case(3)],
        config=TrainConfig(epochs=1, device="cpu", keep_state=True),
        folder=folder,
        dataset="phantoms",
        progress=told.append,
    )
    return folder, result, told


@needs_nnunet
@pytest.mark.slow
def test_real_training_leaves_plans_log_and_a_checkpoint(trained):
    folder, result, told = trained
    assert result.steps == 2
    assert [t.step for t in told if t.loss is not None] == [1, 2]
    (line,) = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
    assert line["learning_rate"] == pytest.approx(0.01)
    assert line["losses"].keys() == {"training", "validation"}
    words = json.loads((folder / "plans.json").read_text())
    assert words["configurations"]["2d"]["spacing_mm"] == [1.0, 1.0]
    assert words["parameters"] > 1_000_000
    assert json.loads((folder / "fingerprint.json").read_text())["spacing_mm"]["median"] == [3.0, 1.0, 1.0]
    model = registry.load("models", "nnunet").build(weights=result.checkpoint, python=PYTHON)
    assert model.info.full_name == "nnunet.2d"
    assert model.options()["iterations"] == 2


@needs_nnunet
@pytest.mark.slow
def test_cost_is_measured_where_the_network_is(trained):
    """9 convolutions of 3 x 3 a slice would be far less: every flip of every slice counts."""
    spec = ModelSpec("nnunet.2d", {"python": str(PYTHON)}, trained[1].checkpoint)
    cost = measure_here(CostJob(spec, stored_image(trained[0]), [], "case", 1, 1.0))
    assert cost.parameters == json.loads((trained[0] / "plans.json").read_text())["parameters"]
    assert cost.macs > 24 * 4 * 9 * 32 * 48 * 48
    assert "windows and flips" in cost.mac_counter
    assert cost.device == "cpu"
    assert cost.peak_memory_bytes > 200e6


@needs_nnunet
@pytest.mark.slow
def test_prediction_is_that_of_nnunets_own_command(trained, tmp_path):
    """`nnUNetPredictor.predict_from_files` on the file that nnU-Net would be given, against our `predict`."""
    folder, result, _ = trained
    own = next((folder / "state/results").rglob("nnUNetTrainer__*"))
    source, target = tmp_path / "in", tmp_path / "out"
    raw.write_cases(tmp_path / "raw", [case(9)], NnunetOptions())
    source.mkdir()
    shutil.copy(tmp_path / "raw/imagesTr/case_0000_0000.nii.gz", source)
    script = (
        "import torch\nfrom nnunetv2.inference.predict_from_raw_data import nnUNetPredictor as P\n"
        "if __name__ == '__main__':\n"
        "    p = P(device=torch.device('cpu'), allow_tqdm=False)\n"
        f"    p.initialize_from_trained_model_folder({str(own)!r}, (0,))\n"
        f"    p.predict_from_files({str(source)!r}, {str(target)!r}, num_processes_preprocessing=1, "
        "num_processes_segmentation_export=1)\n"
    )
    (tmp_path / "own.py").write_text(script)
    subprocess.run([PYTHON, tmp_path / "own.py"], check=True, capture_output=True)
    expected = stored(target / "case_0000.nii.gz")
    for weights in (result.checkpoint, own):
        model = registry.load("models", "nnunet").build(weights=weights, python=PYTHON)
        probability = model.predict(case(9).image)
        assert probability.same_grid(case(9).image)
        assert probability.voxels.dtype == np.float32
        np.testing.assert_array_equal(probability.voxels > 0.5, expected == 1)
        np.testing.assert_array_equal(model.predict_labels(case(9).image).voxels, expected)
        model.close()
    assert 0 < expected.mean() < 1


@needs_nnunet
@pytest.mark.slow
def test_killed_training_goes_on(tmp_path):
    """Killed in the second epoch, the same call goes on after the first and does nothing twice before it."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_nnunet as t\n"
        "t.train_model(t.nnunet(**t.TINY), training=[t.case(0), t.case(1)], "
        "config=t.TrainConfig(epochs=3, device='cpu'), folder=t.Path(sys.argv[2]), progress=print)\n"
    )
    environ = {**os.environ, environment.VARIABLE: str(PYTHON)}
    running = subprocess.Popen(
        [sys.executable, "-c", script, Path(__file__).parent, tmp_path], env=environ, stdout=subprocess.DEVNULL
    )
    log = tmp_path / "training.jsonl"
    until = time.monotonic() + 300
    while not (log.exists() and log.read_text()) and time.monotonic() < until and running.poll() is None:
        time.sleep(0.05)
    running.kill()
    running.wait()
    assert len(log.read_text().splitlines()) in (1, 2)
    log.write_text("")  # as if the kill had come between an epoch's weights and its line
    told = []
    result = train_model(
        nnunet(**TINY),
        training=[case(0), case(1)],
        config=TrainConfig(epochs=3, device="cpu"),
        folder=tmp_path,
        progress=told.append,
    )
    assert result.resumed_from >= 2
    assert [json.loads(line)["epoch"] for line in log.read_text().splitlines()] == [1, 2, 3]
    assert not any("measuring" in (t.message or "") for t in told)
