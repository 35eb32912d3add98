"""An automatic cell cannot reach the reference by any path: one that sings when it is touched stays silent."""

import numpy as np
import pytest

from oncoseg.case import Case
from oncoseg.contracts import DatasetInfo, Entry
from oncoseg.experiments.doors import PromptDoor, ScoringDoor
from oncoseg.experiments.predicting import Predictor, score_entry
from oncoseg.experiments.specs import ModelSpec, PromptSpec
from oncoseg.volume import Volume


class TouchedError(Exception):
    """Nothing in oncoseg catches this one."""


class Canary(Volume):
    """A reference that nobody may look at before the scoring door opens; its grid may be known."""

    opened = False

    def __init__(self, mask):
        object.__setattr__(self, "_mask", mask)
        object.__setattr__(self, "affine", mask.affine)

    @property
    def shape(self):
        return self._mask.shape

    @property
    def voxels(self):
        if not Canary.opened:
            raise TouchedError
        return self._mask.voxels


class Aviary:
    """One phantom whose masks are canaries."""

    info = DatasetInfo("aviary", "Aviary", "Canaries.", "CC0", None, "CT", synthetic=True)

    def load(self, name):
        from oncoseg import registry

        dataset = registry.load("datasets", "phantom").build(cases=1, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
        whole = dataset.load(dataset.entries()[0].case)
        case = Case(name, "patient", whole.image)
        sealed = {roi: Canary(mask) for roi, mask in whole.masks.items()}
        object.__setattr__(case, "masks", sealed)  # a case checks the type of its masks when it is made
        return case


@pytest.fixture
def score(tmp_path, monkeypatch):
    """Run one case; the canaries may be looked at from the moment in which scores are asked for."""
    monkeypatch.setattr(Canary, "opened", False)
    scores = ScoringDoor.scores

    def opening(door, reference, *arguments, **named):
        monkeypatch.setattr(Canary, "opened", True)
        return scores(door, reference._mask, *arguments, **named)

    monkeypatch.setattr(ScoringDoor, "scores", opening)

    def run(model, prompt, **options):
        spec = PromptSpec(prompt, **options)
        door = PromptDoor(spec.build(), 0, spec.corrector(), spec.rounds)
        predictor = Predictor(ModelSpec(model).build(), door, 1, 0.5, "tumour")
        scoring = ScoringDoor("tumour", ("dice",), ("case3d",))
        (scored,) = score_entry(Entry("one", "patient"), Aviary(), predictor, door=scoring, folder=tmp_path)
        return scored

    return run


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        ("toy_bright", "none"),
        ("empty", "none"),
        ("filled_box", "whole_image"),
        ("region_growing", "whole_image"),
        ("toy_painter.session", "whole_image"),
        ("filled_box", "lung_box"),
        ("region_growing", "lung_box"),
    ],
)
def test_an_automatic_cell_never_touches_the_reference(score, model, prompt):
    scored = score(model, prompt)
    assert scored.prediction.error is None
    assert scored.prediction.level == 0
    assert [s.metric for s in scored.scores] == ["dice"]
    assert Canary.opened


@pytest.mark.parametrize(
    ("model", "prompt", "options"),
    [
        ("filled_box", "box", {}),
        ("toy_painter", "random_click", {}),
        ("toy_painter", "rough_mask", {}),
        ("toy_painter", "whole_image", {"then": "edt_error", "rounds": 1}),
    ],
)
def test_the_canary_sings_where_prompts_come_from_the_reference(score, model, prompt, options):
    with pytest.raises(TouchedError):
        score(model, prompt, **options)
    assert not Canary.opened


def test_a_model_is_given_the_image_and_nothing_that_leads_to_the_case(tmp_path, monkeypatch):
    """Neither the image nor a prompt holds the case, its masks, or an array that shares their memory."""
    seen = []

    class Looking:
        info = ModelSpec("filled_box").info

        def predict(self, image, prompts=()):
            seen.append((image, list(prompts)))
            return image.with_voxels(np.zeros(image.shape, np.float32))

    from oncoseg import registry

    dataset = registry.load("datasets", "phantom").build(cases=1, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
    case = dataset.load(dataset.entries()[0].case)
    list(Predictor(Looking(), PromptDoor(PromptSpec("lung_box").build(), 0), 1, 0.5, "tumour")(case))
    ((image, prompts),) = seen
    assert type(image) is Volume
    assert set(vars(image)) == {"voxels", "affine"}
    assert not any(np.shares_memory(image.voxels, mask.voxels) for mask in case.masks.values())
    assert all(isinstance(v, int | float | str | tuple) or v is None for p in prompts for v in vars(p).values())
