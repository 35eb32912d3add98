"""A run made of result files only: models that answer as their skill says, on cases that do not exist."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oncoseg.config import content_key
from oncoseg.evaluation.interactive import interactive_scores
from oncoseg.experiments.store import (
    ATTEMPTS,
    PREDICTIONS,
    ROUNDS,
    SCORES,
    SLICES,
    SPEED,
    TRAINING,
    CellRecord,
    GallerySlice,
    PlannedCell,
    write_cost,
    write_plan,
    write_record,
    write_slice,
)
from oncoseg.files import write_json, write_text
from oncoseg.score import Cost, Ledger, Prediction, Provenance, Round, Score, write_jsonl

METRICS: dict[str, tuple[str, bool | None]] = {
    "dice": ("", True),
    "iou": ("", True),
    "hd95_pooled": ("mm", False),
    "nsd_border@2": ("", True),
    "sensitivity": ("", True),
    "precision": ("", True),
    "rel_volume_diff": ("", None),
    "assd": ("mm", False),
}
PROVENANCE = Provenance(
    versions={"oncoseg": "0.1.0", "python": "3.12.3", "torch": "2.10.0"},
    hashes={"manifest": "ab" * 32},
    seeds={"cell": 0},
    machine={"cpu": "an 8-core CPU", "cores": 8, "memory_gib": 32.0},
    started="2026-11-20T10:00:00Z",
    finished="2026-11-20T10:04:31Z",
    seconds=271.0,
    command="oncoseg bench demo.toml",
)
BOX = Ledger(prompt_source="oracle", boxes=1, prompted_slices=9, z_extent_known=False)


@dataclass
class Planned:
    """A cell to write; the defaults are an untrained promptable model with one exact box."""

    model: str = "lite_medsam"
    skill: float = 0.8
    dataset: str = "phantom"
    prompt: str = "box"
    jitter_mm: float | None = 0.0
    ledger: Ledger = BOX
    cases: tuple[str, ...] = ("c1", "c2", "c3", "c4")
    draws: int = 1
    fidelity: str = "verified"
    trained: bool = False
    fraction: float = 1.0
    parameters: int = 9_791_000
    macs: int | None = None
    missed: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    pictures: bool = False
    notes: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()
    dataset_info: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, Any] | None = None
    curve: tuple[float, ...] = ()
    seed: int = 0
    seen: dict[str, Any] | None = None
    source: str = ""
    configured: dict[str, Any] = field(default_factory=dict)


def make_cell(run: Path, plan: Planned) -> Path:
    """Write one finished cell."""
    rng = np.random.default_rng([plan.seed, len(plan.model), int(1000 * plan.skill), int(plan.jitter_mm or 0)])
    configuration: dict[str, Any] = {"model": plan.model, "dataset": plan.dataset, "seed": plan.seed}
    configuration["prompt"] = plan.asked or plan.prompt
    configuration |= {"fraction": plan.fraction, **({"source": plan.source} if plan.source else {}), **plan.configured}
    key = content_key(configuration)
    folder = run / f"{plan.model}-{plan.dataset}-{key[:8]}"
    human = "reader_" if plan.ledger.prompt_source == "human reader" else ""
    draws = [f"~{human}{n}" for n in range(1, plan.draws + 1)] if plan.draws > 1 else [""]
    names = [case + draw for case in plan.cases for draw in draws]
    predictions, scores = [], []
    for name in names:
        base = name.partition("~")[0]
        prediction, dice = _predict(name, plan, rng)
        predictions.append(prediction)
        if prediction.error is None:
            scores += _scores(name, base, None if base in plan.missed else dice, rng)
            if plan.pictures:
                write_slice(folder / SLICES / f"{name}.npz", picture(dice, rng))
    write_record(folder, _record(plan, key, configuration, len(names)))
    write_jsonl(folder / PREDICTIONS, predictions)
    if plan.macs is not None:
        write_cost(folder, _cost(plan))
    if plan.trained:
        write_text(folder / TRAINING, "".join(json.dumps(line) + "\n" for line in _training(rng)))
        write_text(folder / SPEED, "".join(json.dumps(line) + "\n" for line in _speed(rng)))
    if plan.curve:
        rounds = [_rounds(name, plan.curve, shift=0.02 * n) for n, name in enumerate(names)]
        write_jsonl(folder / ROUNDS, [one for own in rounds for one in own])
        scores += [score for own in rounds for score in interactive_scores(own)]
    write_jsonl(folder / SCORES, scores)
    return folder


def _rounds(name: str, curve: tuple[float, ...], shift: float) -> list[Round]:
    """A prediction whose Dice follows a curve, one click a round."""
    patient = name.partition("~")[0]
    return [
        Round(name, patient, "tumour", n, [{"type": "click"}], n + 1, dice - shift, None, 0.2)
        for n, dice in enumerate(curve)
    ]


def picture(dice: float, rng: np.random.Generator) -> GallerySlice:
    """A bright ball in dark lung, the prediction displaced the more the lower the Dice."""
    rows, columns = np.mgrid[:72, :72]
    distance = np.hypot(rows - 36, columns - 34 + 3 * np.sin(rows / 5))
    image = np.where(distance < 14, 30.0, -820.0) + rng.normal(0, 45, (72, 72))
    image[:, :9] = 20.0
    moved = np.hypot(rows - 36 - 10 * (1 - dice), columns - 34 - 12 * (1 - dice)) < 14 * (0.5 + dice / 2)
    box = ((20.0, 18.0, 52.0, 52.0),)
    return GallerySlice(image.astype(np.float32), distance < 14, moved, (0.7, 0.7), 41, box)


def _predict(name: str, plan: Planned, rng: np.random.Generator) -> tuple[Prediction, float]:
    base = name.partition("~")[0]
    volume = float(np.exp(np.random.default_rng(list(base.encode())).normal(8.6, 1.3)))
    hard = 0.06 * (np.log(volume) - 8.6)
    dice = float(np.clip(plan.skill + hard + rng.normal(0, 0.07) - 0.012 * (plan.jitter_mm or 0.0), 0.02, 0.98))
    error = "the prompt box lies outside the image" if base in plan.failed else None
    prediction = Prediction(
        case=name,
        patient=base.split("-scan")[0],
        roi="tumour",
        ledger=plan.ledger,
        level=plan.ledger.level,
        prompts=[],
        seconds=1.4,
        mask=None if error else f"masks/{name}.nii.gz",
        volume_reference_mm3=volume,
        volume_prediction_mm3=volume * 0.9,
        error=error,
    )
    return prediction, dice


def _scores(name: str, base: str, dice: float | None, rng: np.random.Generator) -> list[Score]:
    missed, d = dice is None, dice or 0.0
    values = {
        "dice": d,
        "iou": d / (2 - d),
        "hd95_pooled": None if missed else 1.0 + 22 * (1 - d) ** 1.5,
        "nsd_border@2": d**1.2,
        "sensitivity": min(1.0, d * 1.04),
        "precision": None if missed else min(1.0, d * 0.98),
        "rel_volume_diff": -1.0 if missed else float(rng.normal(-0.06, 0.15)),
        "assd": None if missed else 0.4 + 6 * (1 - d) ** 1.5,
    }
    patient = base.split("-scan")[0]
    return [
        Score(name, patient, "tumour", m, "case3d", v, None if v is not None else "prediction_empty", *METRICS[m])
        for m, v in values.items()
    ]


def _record(plan: Planned, key: str, configuration: dict[str, Any], cases: int) -> CellRecord:
    info = {"name": plan.model, "title": plan.model.replace("_", " ").title(), "parameters": plan.parameters}
    return CellRecord(
        key=key,
        configuration=configuration,
        model=plan.model,
        variant="",
        dataset=plan.dataset,
        prompt=plan.prompt,
        fraction=plan.fraction,
        seed=plan.seed,
        fold=0,
        jitter_mm=plan.jitter_mm,
        model_info={**info, "fidelity": plan.fidelity, "weights": None},
        dataset_info={"title": plan.dataset, "synthetic": plan.dataset == "phantom", **plan.dataset_info},
        cases=cases,
        notes=list(plan.notes),
        provenance=replace(PROVENANCE, seeds={"cell": plan.seed}),
        parameters_built=plan.parameters if not plan.trained else plan.parameters // 16,
        trained_here=plan.trained,
        recipe=list(plan.recipe),
        seen=plan.seen,
        source=plan.source,
    )


def _cost(plan: Planned) -> Cost:
    return Cost(
        parameters=plan.parameters,
        trainable_parameters=plan.parameters,
        macs=plan.macs,
        mac_counter="torch FlopCounterMode: matmul, convolution, attention",
        seconds_median=plan.macs / 4e11 if plan.macs else None,
        repeats=3,
        peak_memory_bytes=640 << 20,
        case="c1",
        shape=(100, 256, 256),
        device="cpu",
        threads=2,
    )


def _training(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {
            "step": 20 * n,
            "epoch": n / 4,
            "learning_rate": 1e-3 * (1 - n / 16) ** 0.9,
            "loss": float(1.1 * np.exp(-n / 6) + rng.normal(0, 0.01)),
            "losses": {"segmentation": 1.0},
            "validation": float(0.8 - 0.7 * np.exp(-n / 5)) if n > 1 else None,
            "validated": 5,
        }
        for n in range(1, 16)
    ]


def _speed(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {
            "step": 20 * n,
            "samples": 160,
            "seconds": 160 / 41,
            "samples_per_second": float(41 + rng.normal(0, 1)),
            "validation_seconds": 2.0,
            "memory_bytes": 2_100_000_000,
            "device_bytes": None,
        }
        for n in range(1, 16)
    ]


@pytest.fixture(scope="session")
def write_cell() -> Callable[[Path, Planned], Path]:
    """`write_cell(run, planned)` writes one finished cell and returns its folder."""
    return make_cell


@pytest.fixture(scope="session")
def planned() -> Callable[..., Planned]:
    """`planned(**fields)` is a cell to write."""
    return Planned


def showcase(run: Path, cases: int = 26) -> Path:
    """A run with everything a report can show: two data sets, three levels, training, cost, pictures, failures."""
    many = tuple(f"phantom-{n:03d}" for n in range(cases))
    jittered = replace(BOX, prompt_source="jittered")
    for jitter in (0.0, 5.0, 10.0):
        prompt = f"box jitter {jitter:g} mm" if jitter else "box"
        ledger = replace(jittered, jitter_mm=jitter) if jitter else BOX
        draws = 3 if jitter else 1
        shared: dict[str, Any] = {
            "prompt": prompt,
            "jitter_mm": jitter,
            "ledger": ledger,
            "draws": draws,
            "cases": many,
        }
        make_cell(run, Planned(skill=0.79, macs=4_100_000_000_000, pictures=True, **shared))
        make_cell(run, Planned("region_growing", 0.66, fidelity="baseline", parameters=0, missed=many[:2], **shared))
        make_cell(run, Planned("ellipsoid", 0.72 - 0.02 * jitter, fidelity="baseline", parameters=0, **shared))
        make_cell(run, Planned("filled_box", 0.61 - 0.02 * jitter, fidelity="baseline", parameters=0, **shared))
        real = shared | {"dataset": "lidc_demo", "cases": ("LIDC-IDRI-0001",)}
        real["dataset_info"] = {"title": "LIDC-IDRI-0001 with four readers", "licence": "CC BY 3.0", "modality": "CT"}
        make_cell(run, Planned(skill=0.78, pictures=True, **real))
        make_cell(run, Planned("ellipsoid", 0.74, fidelity="baseline", parameters=0, **real))
    free: dict[str, Any] = {"prompt": "none", "jitter_mm": None, "ledger": Ledger(), "cases": many}
    trained: dict[str, Any] = free | {"trained": True, "pictures": True, "fidelity": "paper"}
    make_cell(run, Planned("unet", 0.7, fraction=1.0, parameters=31_031_685, macs=2_300_000_000_000, **trained))
    make_cell(
        run, Planned("unet.primakov", 0.74, fraction=0.5, parameters=7_800_000, macs=6_100_000_000_000, **trained)
    )
    make_cell(run, Planned("empty", 0.0, fidelity="baseline", parameters=0, missed=many, **free))
    note = "MedSAM 2 (Bowang): phantom in its training data is listed: a thread."
    make_cell(run, Planned("medsam2", 0.83, prompt="click", jitter_mm=None, notes=(note,), failed=many[:1], cases=many))
    reader = Ledger(prompt_source="human reader")
    human = {"dataset": "lidc_demo", "prompt": "none", "jitter_mm": None, "ledger": reader, "draws": 4}
    make_cell(run, Planned("human reader", 0.87, fidelity="", parameters=0, cases=("LIDC-IDRI-0001",), **human))
    finished = [PlannedCell(p.name, "finished", folder=p.name) for p in sorted(run.iterdir())]
    failed = PlannedCell("unet on lidc_demo", "quarantined", "not enough memory", folder="unet-lidc_demo-0badcafe")
    senseless = PlannedCell("unet on phantom, box", "skipped", "unet takes no prompt, and box makes box")
    write_plan(run, "demo", [*finished, failed, senseless])
    write_json(run / "provenance.json", asdict(PROVENANCE))
    write_text(run / "unet-lidc_demo-0badcafe" / ATTEMPTS, json.dumps({"error": "not enough memory"}) + "\n")
    return run


@pytest.fixture(scope="session")
def full_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The showcase on disk."""
    return showcase(tmp_path_factory.mktemp("run"))
