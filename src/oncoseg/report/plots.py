"""Which plots a group or data set gets, each with the numbers it was drawn from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from oncoseg.evaluation.statistics import Summary
from oncoseg.experiments.store import CellResult
from oncoseg.report import figures
from oncoseg.report.estimates import summary_of
from oncoseg.report.groups import PRIMARY, Entrant, Group, base_case
from oncoseg.report.tables import LeaderboardRow, Shown, bounds, magnitude, number

#: The metric all plots show, in words.
METRIC = "Dice"


@dataclass(frozen=True)
class Numbers:
    """A plain table: head, and rows whose first cell names them."""

    head: tuple[str, ...]
    rows: tuple[tuple[Shown, ...], ...]


@dataclass(frozen=True)
class Plot:
    """A figure with its caption and its numbers."""

    svg: str
    caption: str
    numbers: Numbers


def case_plot(group: Group, order: Sequence[LeaderboardRow]) -> Plot | None:
    """Every case as a dot, in the order of the table; None when no row has more than one case."""
    entrants = [e for e in _ordered(group, order) if e.by_case(PRIMARY)]
    clouds = [
        figures.Cloud(e.label, e.kind, tuple(f"{c}: {number(v)}" for c, v in d.items()), tuple(d.values()))
        for e in entrants
        for d in [e.by_case(PRIMARY)]
    ]
    if max((len(c.values) for c in clouds), default=0) < 2:
        return None
    caption = "One dot a case (repeated draws averaged)."
    if any(len(c.values) > 4 for c in clouds):
        caption += " Tick: median; bar: middle half of the cases."
    return Plot(figures.strip_plot(clouds, METRIC, f"{group.slug}-cases"), caption, _case_numbers(entrants))


def volume_plot(group: Group, order: Sequence[LeaderboardRow]) -> Plot | None:
    """Dice against tumour volume; None below three cases with a volume."""
    clouds, volumes = [], _volumes(group)
    for entrant in _ordered(group, order):
        values = {c: v for c, v in entrant.by_case(PRIMARY).items() if volumes.get(c)}
        if len(values) > 2:
            names = tuple(f"{c}, {number(volumes[c])} mL: {number(v)}" for c, v in values.items())
            x = tuple(volumes[c] for c in values)
            clouds.append(figures.Cloud(entrant.label, entrant.kind, names, tuple(values.values()), x))
    if not clouds:
        return None
    caption = "Small tumours are where models differ. Line: medians of five groups of cases of equal size."
    if max(len(c.values) for c in clouds) < 15:
        caption = "Small tumours are where models differ."
    rows = tuple((Shown(None, c), Shown(v, number(v, "mL"))) for c, v in sorted(volumes.items()))
    numbers = Numbers(("case", "tumour volume"), rows)
    return Plot(figures.volume_plot(clouds, METRIC, f"{group.slug}-volume"), caption, numbers)


def cost_plot(group: Group) -> Plot | None:
    """Mean Dice against operations; None below two models with counted operations."""
    bubbles, shapes = [], set()
    for entrant in group.entrants:
        cost, mean = entrant.cells[0].cost, summary_of(entrant, PRIMARY).mean
        if cost is not None and cost.macs and mean is not None:
            bubbles.append(figures.Bubble(entrant.label, entrant.kind, float(cost.macs), mean, cost.parameters))
            shapes.add(cost.shape)
    if len(bubbles) < 2:
        return None
    caption = "Operations of the whole volume on a logarithmic axis; bubble area is the number of parameters."
    if len(shapes) > 1:
        caption += " Measured on volumes of different shape: see the cost table before comparing."
    rows = tuple(
        (
            Shown(None, b.label),
            Shown(b.macs, magnitude(b.macs)),
            Shown(b.parameters, magnitude(b.parameters)),
            Shown(b.value, number(b.value)),
        )
        for b in bubbles
    )
    svg = figures.cost_plot(bubbles, METRIC, f"{group.slug}-cost")
    return Plot(svg, caption, Numbers(("model", "MACs", "parameters", f"mean {METRIC}"), rows))


def cost_overview(groups: Sequence[Group]) -> Plot | None:
    """Every model of one data set with every prompt on one axis; None below two with counted operations.

    Prompts that were displaced on purpose are left to the degradation curve.

    Args:
        groups: of one data set.
    """
    found: dict[tuple[str, str], tuple[figures.Bubble, Summary]] = {}
    shapes = set()
    for group in (g for g in groups if not g.key.jitter_mm):
        for entrant in group.entrants:
            cost, dice = entrant.cells[0].cost, summary_of(entrant, PRIMARY)
            if cost is None or not cost.macs or dice.mean is None:
                continue
            prompt = "" if group.key.prompt == "none" else group.key.prompt
            label = f"{entrant.label}, {prompt}" if prompt else entrant.label
            bubble = figures.Bubble(
                label, entrant.kind, float(cost.macs), dice.mean, cost.parameters, dice.low, dice.high
            )
            found.setdefault((label, group.key.protocol), (bubble, dice))
            shapes.add(cost.shape)
    if len(found) < 2 or len({label for label, _ in found}) < len(found):
        return None
    bubbles, patients = [b for b, _ in found.values()], sorted({d.patients for _, d in found.values()})
    caption = (
        f"All models on one axis: operations of one whole volume ({_volumes_in_words(shapes)}), bubble area by "
        f"parameters, mean over {' or '.join(map(str, patients))} patients, line: 95 % interval of the mean. What a "
        "model was given stands behind its name: models with prompts from the reference are no rivals of those without."
    )
    rows = tuple(
        (
            Shown(None, b.label),
            Shown(b.macs, magnitude(b.macs)),
            Shown(b.parameters, magnitude(b.parameters)),
            Shown(b.value, number(b.value), bounds(dice)),
            Shown(dice.patients, str(dice.patients)),
        )
        for b, dice in found.values()
    )
    svg = figures.cost_plot(bubbles, METRIC, f"{groups[0].slug}-costs")
    return Plot(svg, caption, Numbers(("model", "MACs", "parameters", f"mean {METRIC}", "patients"), rows))


def _volumes_in_words(shapes: Collection[tuple[int, int, int]]) -> str:
    listed = " and ".join(" × ".join(map(str, shape)) for shape in sorted(shapes))
    return f"{listed} voxels" + (", of different size: compare with care" if len(shapes) > 1 else "")


def training_plot(cell: CellResult, slug: str) -> Plot | None:
    """Loss, validation, learning rate and speed of one trained cell; None without at least two logged points."""
    lines = cell.training
    if len(lines) < 2 or any("step" not in line for line in lines):
        return None
    logged = _logged(cell)
    curves: defaultdict[str, list[figures.Line]] = defaultdict(list)
    for name, values in logged.items():
        points = [(float(line["step"]), float(v)) for line, v in zip(lines, values, strict=True) if v is not None]
        if points:
            x, y = zip(*points, strict=True)
            curves[name.partition(":")[0]].append(figures.Line(name, "model", x, y))
    if not curves:
        return None
    rows = tuple(
        (Shown(line["step"], str(line["step"])), *(Shown(v[n], _short(v[n])) for v in logged.values()))
        for n, line in enumerate(lines)
    )
    svg = figures.training_plot(curves, "optimiser step", slug)
    return Plot(svg, f"One point a validation.{_memory_of(cell)}", Numbers(("step", *logged), rows))


def _logged(cell: CellResult) -> dict[str, list[float | None]]:
    """Curve -> its value at every line of the log; a part of a panel is called `panel: part`."""
    lines = cell.training
    logged = {"loss": [line.get("loss") for line in lines]}
    parts = sorted({name for line in lines for name in line.get("losses") or {}})
    logged |= {f"loss: {n}": [(line.get("losses") or {}).get(n) for line in lines] for n in parts if len(parts) > 1}
    logged["validation"] = [line.get("validation") for line in lines]
    for panel, key in (("validation slices", "scores"), ("watched", "watched")):
        names = dict.fromkeys(name for line in lines for name in line.get(key) or {})
        logged |= {f"{panel}: {n}": [(line.get(key) or {}).get(n) for line in lines] for n in names}
    logged["learning rate"] = [line.get("learning_rate") for line in lines]
    speed = {line["step"]: line.get("samples_per_second") for line in cell.speed if "step" in line}
    return logged | ({"samples per second": [speed.get(line["step"]) for line in lines]} if speed else {})


def _memory_of(cell: CellResult) -> str:
    """The largest memory of a training in words; "" where it was not measured."""
    process = [line["memory_bytes"] for line in cell.speed if line.get("memory_bytes")]
    device = [line["device_bytes"] for line in cell.speed if line.get("device_bytes")]
    text = f" Largest memory: process {max(process) / 1e9:.2g} GB" if process else ""
    return text + (f", tensors on the accelerator {max(device) / 1e9:.2g} GB" if device else "") + ("." if text else "")


def _ordered(group: Group, order: Sequence[LeaderboardRow]) -> list[Entrant]:
    by_label = {e.label: e for e in group.entrants}
    return [by_label[row.label] for row in order] + list(group.readers or group.humans)


def _case_numbers(entrants: Sequence[Entrant]) -> Numbers:
    values = [e.by_case(PRIMARY) for e in entrants]
    cases = sorted({case for v in values for case in v})
    rows = ((Shown(None, c), *(Shown(v.get(c), number(v.get(c))) for v in values)) for c in cases)
    return Numbers(("case", *(e.label for e in entrants)), tuple(rows))


def _volumes(group: Group) -> dict[str, float]:
    """Case -> reference volume in mL."""
    found = {}
    for entrant in group.entrants:
        for prediction in entrant.predictions:
            if prediction.volume_reference_mm3:
                found[base_case(prediction.case)] = prediction.volume_reference_mm3 / 1000
    return found


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
