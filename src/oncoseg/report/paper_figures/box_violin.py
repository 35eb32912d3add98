"""Dice of every model as violin, box and points, with stars for differences: over patients, or over epochs of one run.

Drawn as Fig. 7 of Yi et al. 2026 (doi 10.21037/qims-2025-370): violin = kernel density, box = middle half, whiskers to
the last value within 1.5 times its height, white dot = mean. The paper's points are the epochs of one training, which
are neither independent nor patients; `over = "epochs"` repeats it under that name, the default looks at patients.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from oncoseg.errors import InputError
from oncoseg.evaluation.comparison.multiplicity import CORRECTION_WORDS, adjust, stars
from oncoseg.evaluation.comparison.paired import paired_test
from oncoseg.evaluation.comparison.table import score_table
from oncoseg.evaluation.comparison.trajectory import LABEL, training_trajectory
from oncoseg.experiments.store import CellResult
from oncoseg.report.drawing import FAINT, INK, PaperFigure, Selection, from_zero, note
from oncoseg.report.figures import PALETTE
from oncoseg.report.groups import PRIMARY, Entrant, Group, make_groups
from oncoseg.report.tables import number
from oncoseg.report.trajectories import WORDS, Values, by_model, trajectories
from oncoseg.report.views import require_known

TITLE = "Dice of every model as violin, box and points, with stars for differences"
Floats = Sequence[float]


@dataclass(frozen=True)
class Choices(Selection):
    """What may be chosen.

    Attributes:
        over: `patients`, paired tests corrected by Holm; or `epochs` of one training, Welch's t-tests, not corrected,
            as the paper has it.
        against: label of the model that every other one is compared with; "" for the one of the highest mean.
        values: what the epochs were scored by, see `oncoseg.report.trajectories`.
    """

    over: Literal["patients", "epochs"] = "patients"
    against: str = ""
    values: Values = "auto"


@dataclass(frozen=True)
class Panel:
    """One set of models that may be compared.

    Attributes:
        dataset: id.
        prompt: label, "" where prompts play no part.
        values: model -> values that are drawn.
        against: the model that the others are compared with.
        p: model -> p, corrected where that is said; None where there is no test.
        test: what was tested, in words.
    """

    dataset: str
    prompt: str
    values: Mapping[str, Floats]
    against: str
    p: Mapping[str, float | None]
    test: str


def draw(results: Sequence[CellResult], choices: Choices) -> PaperFigure:
    """One panel a data set (and, over patients, a prompt).

    Raises:
        InputError: when no model has two values, or `against` is in no panel.
        UnknownNameError: for an unknown data set, model or prompt.
    """
    panels = _of_epochs(results, choices) if choices.over == "epochs" else _of_patients(results, choices)
    if choices.against and not any(p.against == choices.against for p in panels):
        known = sorted({name for p in panels for name in p.values})
        raise InputError(f"figure box-violin: no panel holds the model '{choices.against}', but {', '.join(known)}.")
    widest = max(len(p.values) for p in panels)
    figure = PaperFigure(figsize=(max(4.6, 1.25 + 1.3 * widest), 0.75 + 3.0 * len(panels)), layout="constrained")
    grid = figure.subplots(len(panels), 1, squeeze=False).ravel()
    for panel, axes in zip(panels, grid, strict=True):
        for place, (label, values) in enumerate(panel.values.items()):
            _violin(axes, place, values, colour=PALETTE[place % len(PALETTE)])
            _stars(axes, place, values, stars(panel.p.get(label)))
        axes.set_xticks(range(len(panel.values)), [_tick(label, panel, choices) for label in panel.values])
        axes.set_xlim(-0.6, len(panel.values) - 0.4)
        from_zero(axes)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + 0.1 * (high - low))  # room for stars
        axes.set_ylabel(_ylabel(results, choices))
        prompt = f" · prompt: {panel.prompt}" if panel.prompt else ""
        axes.set_title(choices.named(panel.dataset) + (prompt if choices.over == "patients" else ""))
        axes.grid(axis="y")
        axes.tick_params(axis="x", length=0)
    _legend(figure, choices)
    said = _said(panels, choices)
    note(figure, said)
    figure.numbers = [
        {"dataset": p.dataset, "prompt": p.prompt, "over": choices.over, "model": label, "value": value,
         "against": p.against, "p": p.p.get(label)}
        for p in panels for label, values in p.values.items() for value in values
    ]  # fmt: skip
    figure.words = " ".join([said, *(_in_words(p, choices) for p in panels)])
    return figure


def _of_epochs(results: Sequence[CellResult], choices: Choices) -> list[Panel]:
    held = trajectories(results, dataset=choices.dataset, models=choices.models, values=choices.values)
    panels = []
    for dataset in dict.fromkeys(t.dataset for t in held):
        runs = by_model(t for t in held if t.dataset == dataset)
        # Of several seeds the first: the paper has one training a model.
        values = {label: trainings[0].scores for label, trainings in runs.items() if len(trainings[0].scores) > 1}
        if not values:
            continue
        panels.append(_epochs_panel(dataset, values, choices))
    if not panels:
        raise InputError(
            "No training of the run has scores of two epochs. Give train = { keep_every_epoch = true } and a "
            "validation share in the split."
        )
    return panels


def _epochs_panel(dataset: str, values: Mapping[str, Floats], choices: Choices) -> Panel:
    """As published: pairs are tested when the ANOVA is significant, and their p is not corrected."""
    against = _against(values, choices)
    if len(values) < 2:
        return Panel(dataset, "", values, against, {}, "one training alone, so nothing was tested")
    found = training_trajectory(values)
    pairs = {frozenset((pair.test.first, pair.test.second)): pair for pair in found.pairs}
    p = {label: pairs[frozenset((against, label))].p for label in values if label != against}
    overall = f"{found.groups.classic.test}: {_p(found.groups.classic.p)}"
    if not found.pairs_follow:
        return Panel(dataset, "", values, against, {}, f"{overall}, so no pair was tested")
    test = f"{overall}; Welch's t-test against {choices.named(against)}, {CORRECTION_WORDS['none']}"
    return Panel(dataset, "", values, against, p, test)


def _of_patients(results: Sequence[CellResult], choices: Choices) -> list[Panel]:
    groups = make_groups(results)
    require_known("data set", [choices.dataset] if choices.dataset else [], {g.key.dataset for g in groups})
    require_known("model", choices.models, {e.label for g in groups for e in g.entrants})
    require_known("prompt", choices.prompts, {g.key.prompt for g in groups})
    panels = []
    for group in groups:
        if choices.dataset in ("", group.key.dataset) and (not choices.prompts or group.key.prompt in choices.prompts):
            panel = _patients_panel(group, _entrants(group, choices), choices)
            panels += [panel] if panel else []
    if not panels:
        raise InputError("No model of the run has Dice of two patients. A violin needs several values.")
    return panels


def _entrants(group: Group, choices: Choices) -> list[Entrant]:
    wanted = [e for e in group.entrants if not choices.models or e.label in choices.models]
    return sorted(wanted, key=lambda e: choices.models.index(e.label)) if choices.models else wanted


def _patients_panel(group: Group, entrants: Sequence[Entrant], choices: Choices) -> Panel | None:
    held = {e.label: e.by_case(PRIMARY) for e in entrants}
    patients = {case: name for e in entrants for case, name in e.patients().items()}
    means = {label: _by_patient(cases, patients) for label, cases in held.items()}
    values = {label: found for label, found in means.items() if len(found) > 1}
    if not values:
        return None
    against = _against(values, choices)
    others = [label for label in values if label != against]
    tests = [
        paired_test(score_table({against: held[against], label: held[label]}, patients=patients), against, label)
        for label in others if held[against].keys() & held[label].keys()
    ]  # fmt: skip
    corrected = adjust([test.p for test in tests], "holm")
    kinds = " or ".join(sorted({test.test for test in tests}))
    test = f"paired with {choices.named(against)}: {kinds}, p corrected by {CORRECTION_WORDS['holm']}" if tests else ""
    p = {one.second: found for one, found in zip(tests, corrected, strict=True)}
    return Panel(group.key.dataset, "" if group.key.prompt == "none" else group.key.prompt, values, against, p, test)


def _by_patient(cases: Mapping[str, float], patients: Mapping[str, str]) -> tuple[float, ...]:
    grouped: dict[str, list[float]] = {}
    for case, value in cases.items():
        grouped.setdefault(patients[case], []).append(value)
    return tuple(float(np.mean(values)) for values in grouped.values())


def _against(values: Mapping[str, Floats], choices: Choices) -> str:
    if choices.against in values:
        return choices.against
    return max(values, key=lambda label: (float(np.mean(values[label])), label))


def _violin(axes: Axes, place: int, values: Floats, *, colour: str) -> None:
    held = np.asarray(values)
    if np.ptp(held) > 1e-9:
        body = axes.violinplot(held, [place], widths=0.8, showextrema=False)["bodies"]
        for part in body:  # type: ignore[attr-defined]
            part.set(facecolor=colour, edgecolor="none", alpha=0.3)
    axes.boxplot(held, positions=[place], widths=0.22, whis=1.5, showfliers=False, manage_ticks=False,
                 medianprops={"color": INK, "linewidth": 1.4}, boxprops={"color": INK, "linewidth": 0.9},
                 whiskerprops={"color": INK, "linewidth": 0.9}, capprops={"color": INK, "linewidth": 0.9})  # fmt: skip
    order = np.argsort(np.argsort(held, kind="stable"), kind="stable")
    aside = 0.17 + 0.05 * (order % 3)
    axes.scatter(place + aside, held, s=9, color=colour, alpha=0.8, linewidths=0, rasterized=held.size > 300)
    axes.plot([place], [held.mean()], "o", color="white", markeredgecolor=INK, markersize=5, zorder=5)


def _stars(axes: Axes, place: int, values: Floats, text: str) -> None:
    if text:
        axes.annotate(text, (place, max(values)), xytext=(0, 9), textcoords="offset points", ha="center", fontsize=11)


def _tick(label: str, panel: Panel, choices: Choices) -> str:
    """Name and number of values, broken where it is long."""
    name = "\n".join(textwrap.wrap(choices.named(label).replace(".", ". "), 15)).replace(". ", ".")
    return f"{name}\nn = {len(panel.values[label])}"


def _ylabel(results: Sequence[CellResult], choices: Choices) -> str:
    if choices.over == "patients":
        return "Dice of each patient"
    held = trajectories(results, dataset=choices.dataset, models=choices.models, values=choices.values)
    return WORDS[held[0].values].replace(" of ", " of\n", 1)


def _legend(figure: Figure, choices: Choices) -> None:
    point = "patient" if choices.over == "patients" else "epoch"
    handles = [
        Patch(facecolor=FAINT, alpha=0.35, label="kernel density"),
        Line2D([], [], color=INK, marker="s", markerfacecolor="none", linestyle="", markersize=8, label="middle half"),
        Line2D([], [], color="white", marker="o", markeredgecolor=INK, linestyle="", markersize=5, label="mean"),
        Line2D([], [], color=FAINT, marker="o", linestyle="", markersize=3, label=point),
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=4, handletextpad=0.4, columnspacing=1.2)


def _said(panels: Sequence[Panel], choices: Choices) -> str:
    what = (
        "One point a patient (draws, folds and seeds averaged)."
        if choices.over == "patients"
        else f"{LABEL[0].upper()}{LABEL[1:]}. Epochs of one training follow from each other, so these p-values say "
        "nothing about new patients."
    )
    tests = "; ".join(dict.fromkeys(p.test for p in panels if p.test))
    tests = f"{tests[:1].upper()}{tests[1:]}"
    tested = f" {tests}. * P < .05, ** P < .01, *** P < .001." if tests else ""
    return f"{what} Whiskers: last value within 1.5 box heights.{tested}"


def _in_words(panel: Panel, choices: Choices) -> str:
    means = []
    for label, values in panel.values.items():
        p = panel.p.get(label)
        tested = "" if p is None else f", {_p(p)}"
        means.append(f"{choices.named(label)} mean {number(float(np.mean(values)))} (n = {len(values)}{tested})")
    prompt = f", {panel.prompt}" if panel.prompt else ""
    return f"{choices.named(panel.dataset)}{prompt}: {'; '.join(means)}."


def _p(value: float | None) -> str:
    return "no p" if value is None else "p < .001" if value < 0.001 else f"p = {value:.3f}"
