"""Dice and IoU over the share of the training patients, one line a model and prompt, one row a data set.

After experiment B of Mulero Ayllon et al. 2025 (arXiv 2505.01239): 0, 25, 50, 75 and 100 % with boxes and points.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.ticker import PercentFormatter

from oncoseg.config import content_key
from oncoseg.errors import InputError
from oncoseg.evaluation.statistics import Summary
from oncoseg.experiments.store import CellResult
from oncoseg.report.drawing import PaperFigure, Selection, draw_means, from_zero, line_style, note
from oncoseg.report.estimates import summary_of
from oncoseg.report.groups import Entrant, Group, make_groups, model_label
from oncoseg.report.tables import number
from oncoseg.report.views import require_known

TITLE = "Scores over the share of the training patients, for each prompt and data set, with intervals"
WORDS = {"dice": "Dice", "iou": "IoU"}
#: What a model is before it is trained.
_START = ("code", "model", "variant", "options", "weights", "source")


@dataclass(frozen=True)
class Choices(Selection):
    """What may be chosen.

    Attributes:
        metrics: one column of panels each.
        structure: another structure than the one that is ranked, e.g. `lung_left`.
    """

    metrics: tuple[str, ...] = ("dice", "iou")
    structure: str = ""


#: (model, prompt) -> share -> entrant.
Curves = Mapping[tuple[str, str], Mapping[float, Entrant]]


def draw(results: Sequence[CellResult], choices: Choices) -> PaperFigure:
    """Means over patients with BCa intervals; a line needs at least two shares.

    Raises:
        InputError: when no model was trained on several shares of the same patients.
        UnknownNameError: for an unknown data set, model, prompt or metric.
    """
    held = curves(results, choices)
    present = {s.metric for e in _entrants(held) for s in e.scores}
    require_known("metric", choices.metrics, present)
    keys = list(dict.fromkeys(key for lines in held.values() for key in lines))
    size = (3.4 * len(choices.metrics) + 0.6, 2.5 * len(held) + 0.5 + 0.17 * len(keys))
    figure = PaperFigure(figsize=size, layout="constrained")
    grid = figure.subplots(len(held), len(choices.metrics), squeeze=False, sharex=True, sharey="col")
    numbers: list[dict[str, Any]] = []
    for (name, lines), row in zip(held.items(), grid, strict=True):
        for metric, axes in zip(choices.metrics, row, strict=True):
            for position, key in enumerate(keys):
                if key in lines:
                    summaries = {share: summary_of(e, metric) for share, e in lines[key].items()}
                    label = f"{choices.named(key[0])}, {key[1]}"
                    # Set apart a little, so that the intervals of two lines do not cover each other.
                    places = [100 * share + 0.9 * (position - (len(keys) - 1) / 2) for share in summaries]
                    draw_means(axes, places, list(summaries.values()), label=label, style=line_style(position))
                    numbers += [_number(name, key, metric, share=x, summary=s) for x, s in summaries.items()]
            word = WORDS.get(metric, metric)
            axes.set_title(choices.named(name) if metric == choices.metrics[0] else "")
            axes.set_ylabel(f"mean {word}" + (f" of {choices.structure}" if choices.structure else ""))
            axes.grid(axis="y")
    for column in grid.T:  # panels of a column share their axis, so the one that reaches highest decides
        from_zero(max(column, key=lambda axes: axes.dataLim.y1))
    for axes in grid[-1]:
        axes.set_xlabel("share of the training patients")
        axes.set_xticks([0, 25, 50, 75, 100])
        axes.xaxis.set_major_formatter(PercentFormatter())
    handles, labels = next(h for h in (a.get_legend_handles_labels() for a in grid.flat) if len(h[0]) == len(keys))
    figure.legend(handles, labels, loc="outside upper left", ncols=1 if len(keys) < 4 else 2)
    figure.words = f"{_said(held, choices)} {_values(numbers)}"
    note(figure, _said(held, choices))
    figure.numbers = numbers
    return figure


def curves(results: Sequence[CellResult], choices: Choices) -> dict[str, Curves]:
    """Data set -> curves of what was trained here, with the weights it started from at share 0; raises as `draw`."""
    groups = make_groups(results)
    require_known("data set", [choices.dataset] if choices.dataset else [], {g.key.dataset for g in groups})
    several = {
        name: lines
        for name in dict.fromkeys(g.key.dataset for g in groups)
        if choices.dataset in ("", name)
        and (lines := _curves_of([g for g in groups if g.key.dataset == name], choices))
    }
    require_known("model", choices.models, {label for lines in several.values() for label, _ in lines})
    require_known("prompt", choices.prompts, {prompt for lines in several.values() for _, prompt in lines})
    kept = {name: found for name, lines in several.items() if (found := _wanted(lines, choices))}
    if not kept:
        raise InputError(
            "No model of the run was trained on several shares of the patients. Give fraction = [0.0, 0.25, 0.5, 0.75, "
            "1.0] and train = {...} in its [[cells]] table."
        )
    return kept


def _curves_of(groups: Sequence[Group], choices: Choices) -> Curves:
    """Of one data set: a curve for every model, prompt and way of training with at least two shares."""
    trained: defaultdict[tuple[str, str, str, str], dict[float, Entrant]] = defaultdict(dict)
    untrained = {}
    for group in groups:
        for entrant in group.entrants:
            record, prompt = entrant.record, "no prompt" if group.key.prompt == "none" else group.key.prompt
            shown = entrant.structure(choices.structure) if choices.structure else entrant
            start = content_key({name: record.configuration.get(name) for name in _START})
            label = model_label(record) + (f", trained on {record.source}" if record.source else "")
            if record.trained_here:
                way = content_key(record.configuration.get("train"))[:4]
                trained[label, prompt, start, way][record.fraction] = shown
            elif record.fraction == 0:
                untrained[prompt, start] = shown
    several = {key: at for key, at in trained.items() if len(at) > 1}
    # A training on all patients alone is a curve only with its untrained weights, and beside no longer one.
    rest = {key: at for key, at in trained.items() if not any(key[:3] == longer[:3] for longer in several)}
    found: dict[tuple[str, str, str], dict[float, Entrant]] = {}
    for (label, prompt, start, way), at in {**several, **rest}.items():
        whole = {0.0: untrained[prompt, start], **at} if (prompt, start) in untrained else at
        if len(whole) > 1:
            found[label, prompt, way] = dict(sorted(whole.items()))
    holders = Counter(key[:2] for key in found)
    return {
        (label if holders[label, prompt] == 1 else f"{label} #{way}", prompt): at
        for (label, prompt, way), at in found.items()
    }


def _wanted(lines: Curves, choices: Choices) -> Curves:
    keys = [k for k in lines if (not choices.models or k[0] in choices.models)]
    keys = [k for k in keys if not choices.prompts or k[1] in choices.prompts]
    order = {label: place for place, label in enumerate(choices.models)}
    return {key: lines[key] for key in sorted(keys, key=lambda k: order.get(k[0], 0))}


def _entrants(held: Mapping[str, Curves]) -> list[Entrant]:
    return [e for lines in held.values() for at in lines.values() for e in at.values()]


def _number(name: str, key: tuple[str, str], metric: str, *, share: float, summary: Summary) -> dict[str, Any]:
    return {"dataset": name, "model": key[0], "prompt": key[1], "metric": metric, "share": share, "mean": summary.mean,
            "low": summary.low, "high": summary.high, "patients": summary.patients}  # fmt: skip


def _said(held: Mapping[str, Curves], choices: Choices) -> str:
    counts = []
    for name, lines in held.items():
        patients = sorted({summary_of(e, choices.metrics[0]).patients for at in lines.values() for e in at.values()})
        counts.append(f"{choices.named(name)} n = {' to '.join(map(str, patients[:: max(1, len(patients) - 1)]))}")
    return (
        f"Mean over the test patients ({', '.join(counts)}), bars: 95 % BCa interval. Shares are nested sets of the "
        "training patients; 0 %: the weights that training starts from. Lines are set apart sideways, to show bars."
    )


def _values(numbers: Sequence[Mapping[str, Any]]) -> str:
    return " ".join(
        f"{WORDS.get(n['metric'], n['metric'])} of {n['model']} ({n['prompt']}) on {n['dataset']} at {n['share']:.0%}: "
        f"{number(n['mean'])}" + (f" [{number(n['low'])}, {number(n['high'])}]." if n["low"] is not None else ".")
        for n in numbers
    )
