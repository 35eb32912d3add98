"""What may stand in one table: equal data set, ROI, prompt protocol, ledger level and scoring protocol.

Folds and seeds of one model are one entrant. Nothing is ever ranked across groups.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any, Literal

from oncoseg.config import content_key
from oncoseg.experiments.store import CellRecord, CellResult
from oncoseg.score import Prediction, Score

Kind = Literal["model", "classical", "null", "human"]

#: The metric that tables rank by.
PRIMARY = "dice"
#: Models that answer from the prompt alone: what they score is what the prompt is worth.
NULL_MODELS = frozenset({"empty", "filled_box", "ellipsoid"})
#: The scoring rule that tables rank by; others are only shown beside it.
STRICT_PROTOCOL = "case3d"
#: Parts of a configuration that say on what a model was tried, not which model it is.
_NOT_THE_MODEL = frozenset({"fold", "seed", "prompt", "dataset", "roi", "also", "metrics", "protocols"})

LEVEL_WORDS = {
    0: "nothing from the reference reached the model",
    1: "prompts by a person who did not see the reference",
    2: "one prompt a lesion, made from the reference",
    3: "the reference told where the tumour begins and ends, or where to look",
    4: "the reference chose the epoch, the cases or the geometry",
}


@dataclass(frozen=True, order=True)
class GroupKey:
    """What all rows of one table share."""

    dataset: str
    content: str
    roi: str
    level: int
    jitter_mm: float
    prompt: str
    protocol: str


@dataclass(frozen=True, eq=False)
class Entrant:
    """One model with its options, weights and training fraction; folds and seeds together.

    Attributes:
        label: short name, distinct within the report.
        kind: what the row is: a model, a classical method, a null baseline or a human reader.
        cells: the cells that were pooled.
        predictions, scores: of this group only.
    """

    label: str
    kind: Kind
    cells: tuple[CellResult, ...]
    predictions: tuple[Prediction, ...]
    scores: tuple[Score, ...]

    @property
    def record(self) -> CellRecord:
        """The record of the first cell, for what all cells of an entrant share."""
        return self.cells[0].record

    @cached_property
    def cases(self) -> frozenset[str]:
        """Base names of all cases that were tried."""
        return frozenset(base_case(p.case) for p in self.predictions)

    @cached_property
    def failed(self) -> int:
        """Predictions that ended in an error."""
        return sum(p.error is not None for p in self.predictions)

    def by_case(self, metric: str) -> dict[str, float]:
        """Case -> value, draws and seeds of one case averaged; cases without a defined value are left out."""
        values: defaultdict[str, list[float]] = defaultdict(list)
        for score in self.scores:
            if score.metric == metric and score.value is not None:
                values[base_case(score.case)].append(score.value)
        return {case: sum(v) / len(v) for case, v in sorted(values.items())}

    def patients(self) -> dict[str, str]:
        """Case -> patient."""
        return {base_case(s.case): s.patient for s in self.scores}

    @property
    def protocols(self) -> list[str]:
        """Scoring protocols that its cells hold scores under, in the order they were written."""
        return list(dict.fromkeys(s.protocol for cell in self.cells for s in cell.scores))

    def under(self, protocol: str) -> Entrant:
        """The same predictions as scored by another rule."""
        rois = {s.roi for s in self.scores}
        scores = (s for cell in self.cells for s in cell.scores if s.protocol == protocol and s.roi in rois)
        return replace(self, scores=tuple(scores))

    @property
    def structures(self) -> list[str]:
        """Other structures that its cells hold scores of under the rule of `scores`, in the order they were written."""
        return list(dict.fromkeys(s.roi for s in self._others))

    def structure(self, roi: str) -> Entrant:
        """The same predictions as scored on another structure."""
        return replace(self, scores=tuple(s for s in self._others if s.roi == roi))

    @property
    def _others(self) -> list[Score]:
        rules = {s.protocol for s in self.scores}
        return [s for cell in self.cells for s in cell.others if s.protocol in rules]

    def on_cases(self, cases: Collection[str]) -> Entrant:
        """The same entrant with the scores of some cases only."""
        return replace(self, scores=tuple(s for s in self.scores if base_case(s.case) in cases))

    def undefined(self, metric: str) -> Counter[str]:
        """Reason -> number of undefined scores of a metric."""
        return Counter(s.reason or "" for s in self.scores if s.metric == metric and s.value is None)


@dataclass(frozen=True, eq=False)
class Group:
    """One table: entrants that may be compared, and the human readers of the same data set beside them.

    Attributes:
        key: what all rows share.
        number: position in the report, from 1.
        entrants: the rows that are ranked.
        humans: all readers together.
        readers: each reader alone.
    """

    key: GroupKey
    number: int
    entrants: tuple[Entrant, ...]
    humans: tuple[Entrant, ...]
    readers: tuple[Entrant, ...]

    @property
    def slug(self) -> str:
        """Anchor and figure name, distinct within the report."""
        return f"group-{self.number}"

    @property
    def title(self) -> str:
        """Data set and prompt in words."""
        prompt = "no prompt" if self.key.prompt in ("", "none") else f"prompt: {self.key.prompt}"
        return f"{self.key.dataset} · {prompt}"

    @cached_property
    def metrics(self) -> dict[str, Score]:
        """Metric -> a score of it, which knows unit and direction; in the order they were written."""
        found: dict[str, Score] = {}
        for entrant in (*self.entrants, *self.humans):
            for score in entrant.scores:
                found.setdefault(score.metric, score)
        return found


def base_case(case: str) -> str:
    """The case without the number of a repeated draw.

    Example:
        >>> base_case("LUNG1-001~2")
        'LUNG1-001'
    """
    return case.partition("~")[0]


def is_human(cell: CellResult) -> bool:
    """Whether a cell scores a human reader rather than a model."""
    return any(p.ledger.prompt_source == "human reader" for p in cell.predictions)


def level_of(cell: CellResult) -> int:
    """Highest ledger level of the predictions that enter a cell's means: one informed prediction taints them.

    A case without tumour, on which the model was kept silent, has no defined Dice and does not count.
    """
    defined = {s.case for s in cell.scores if s.metric == PRIMARY and s.value is not None}
    levels = [p.ledger.level for p in cell.predictions if p.case in defined]
    return max(levels or [p.ledger.level for p in cell.predictions], default=0)


def make_groups(results: Sequence[CellResult]) -> list[Group]:
    """Sort finished cells into tables.

    Returns:
        Groups ordered by data set, level, jitter and prompt. A data set with human readers only gets one
        group in which they are the rows.
    """
    labels = label_cells(results)
    members: defaultdict[GroupKey, defaultdict[str, list[CellResult]]] = defaultdict(lambda: defaultdict(list))
    for cell in results:
        for key in sorted(_keys(cell)):
            members[key][labels[cell.record.key]].append(cell)
    entrants = {key: [_entrant(n, cells, key) for n, cells in sorted(m.items())] for key, m in members.items()}
    groups: list[Group] = []
    for key in sorted(entrants):
        people = [e for k, es in entrants.items() if _same_data(k, key) for e in es if e.kind == "human"]
        ranked = [e for e in entrants[key] if e.kind != "human"]
        if not ranked and any(e.kind != "human" for k, es in entrants.items() if _same_data(k, key) for e in es):
            continue
        beside = tuple(replace(e, label="all readers") for e in people)
        readers = tuple(reader for entrant in people for reader in _readers(entrant))
        groups.append(Group(key, len(groups) + 1, tuple(ranked), beside, readers))
    return groups


def by_dataset(groups: Sequence[Group]) -> list[list[Group]]:
    """Groups of the same data set and ROI together, in their order."""
    same = groupby(groups, key=lambda g: (g.key.dataset, g.key.content, g.key.roi))
    return [list(members) for _, members in same]


def by_jitter(groups: Iterable[Group]) -> dict[str, dict[float, Entrant]]:
    """Label -> box jitter in mm -> entrant, for the models of one data set that were tried at several.

    A curve holds prompts that differ by their jitter alone; a model with several such prompts (a box a lesion, a box
    a slice) has a curve for each, with the prompt in its label.

    Every entrant is cut down to the cases that all of them have, so that curves differ by jitter alone; when there
    is no such case the entrants stay whole.
    """
    found: defaultdict[tuple[str, str], dict[float, Entrant]] = defaultdict(dict)
    for entrant in (e for g in groups for e in g.entrants):
        if entrant.record.jitter_mm is not None:
            found[entrant.label, _undisplaced(entrant.record.prompt)][entrant.record.jitter_mm] = entrant
    curves = {names: dict(sorted(at.items())) for names, at in found.items() if len(at) > 1}
    holders = Counter(label for label, _ in curves)
    several = {label if holders[label] == 1 else f"{label}, {prompt}": at for (label, prompt), at in curves.items()}
    return on_common_cases(several)


def on_common_cases(curves: Mapping[str, Mapping[float, Entrant]]) -> dict[str, dict[float, Entrant]]:
    """Curves with every entrant cut down to the cases that all of them have; whole when there is no such case."""
    cases = [set(e.by_case(PRIMARY)) for at in curves.values() for e in at.values()]
    common = set.intersection(*cases) if cases else set()
    return {label: {x: e.on_cases(common) if common else e for x, e in at.items()} for label, at in curves.items()}


def label_cells(results: Iterable[CellResult]) -> dict[str, str]:
    """Cell key -> label of its entrant; equal labels of different models get a piece of their key."""
    identities = {cell.record.key: (_short_label(cell.record), model_identity(cell.record)) for cell in results}
    holders: defaultdict[str, set[str]] = defaultdict(set)
    for label, identity in identities.values():
        holders[label].add(identity)
    return {
        key: label if len(holders[label]) == 1 else f"{label} #{identity[:4]}"
        for key, (label, identity) in identities.items()
    }


def ledger_words(predictions: Iterable[Prediction]) -> list[str]:
    """What reached the predictions of a group from the reference, one phrase a fact."""
    ledgers = [p.ledger for p in predictions if p.error is None]
    if not ledgers:
        return []
    sources = sorted({ledger.prompt_source for ledger in ledgers} - {"none"})
    words = [f"prompt source: {', '.join(sources)}"] if sources else []
    for name, forms in _COUNTED.items():
        counts = [int(getattr(ledger, name)) for ledger in ledgers]
        if max(counts):
            words.append(f"{_span(counts)} {forms[max(counts) > 1]} a case")
    jitter = max(ledger.jitter_mm for ledger in ledgers)
    if jitter:
        words.append(f"prompts displaced by up to {jitter:g} mm")
    pixels = max(ledger.jitter_px for ledger in ledgers)
    if pixels:
        words.append(f"prompts displaced by up to {pixels:g} px")
    return words + [text for name, text in _FLAGS.items() if any(getattr(ledger, name) for ledger in ledgers)]


_COUNTED = {
    "boxes": ("box", "boxes"),
    "clicks_positive": ("positive click", "positive clicks"),
    "clicks_negative": ("negative click", "negative clicks"),
    "scribbles": ("scribble", "scribbles"),
    "masks": ("mask", "masks"),
    "prompted_slices": ("prompted slice", "prompted slices"),
    "silent_slices": ("slice declared empty", "slices declared empty"),
    "cases_dropped": ("case dropped", "cases dropped"),
}
_FLAGS = {
    "z_extent_known": "first and last tumour slice known",
    "crop_centre_known": "image cropped round the reference",
    "class_list_known": "list of objects known",
    "error_map_used": "later prompts placed on errors",
    "selected_on_test": "chosen on the scored cases",
    "geometry_from_reference": "geometry taken from the reference",
}


def _undisplaced(prompt: str) -> str:
    """The label of a prompt without its jitter."""
    return re.sub(r" jitter [\d.e+-]+ mm", "", prompt)


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low}–{high}"


def _keys(cell: CellResult) -> set[GroupKey]:
    record = cell.record
    content = content_key(_what_data(record))[:12]
    pairs = {(s.roi, s.protocol) for s in cell.scores}
    protocols = {protocol for _, protocol in pairs}
    main = STRICT_PROTOCOL if STRICT_PROTOCOL in protocols else min(protocols, default="")
    return {
        GroupKey(record.dataset, content, roi, level_of(cell), record.jitter_mm or 0.0, record.prompt, protocol)
        for roi, protocol in pairs
        if protocol == main
    }


def _what_data(record: CellRecord) -> Any:
    """Options and content of the data set; who is tested may differ between folds of one table."""
    data = record.configuration.get("dataset", record.dataset)
    return {k: data.get(k) for k in ("use", "options", "fingerprint")} if isinstance(data, dict) else data


def _entrant(label: str, cells: Sequence[CellResult], key: GroupKey) -> Entrant:
    return Entrant(
        label=label,
        kind=_kind(cells[0]),
        cells=tuple(cells),
        predictions=tuple(p for c in cells for p in c.predictions if p.roi == key.roi),
        scores=tuple(s for c in cells for s in c.scores if s.roi == key.roi and s.protocol == key.protocol),
    )


def _readers(entrant: Entrant) -> list[Entrant]:
    """Each reader alone; predictions of readers are called `case~reader`."""
    names = sorted({p.case.partition("~")[2] for p in entrant.predictions} - {""})
    return [
        replace(
            entrant,
            label=name.replace("_", " "),
            predictions=tuple(p for p in entrant.predictions if p.case.endswith(f"~{name}")),
            scores=tuple(s for s in entrant.scores if s.case.endswith(f"~{name}")),
        )
        for name in names
    ]


def _kind(cell: CellResult) -> Kind:
    if is_human(cell):
        return "human"
    if cell.record.model in NULL_MODELS:
        return "null"
    return "classical" if cell.record.model_info.get("fidelity") == "baseline" else "model"


def _same_data(a: GroupKey, b: GroupKey) -> bool:
    return (a.dataset, a.content, a.roi, a.protocol) == (b.dataset, b.content, b.roi, b.protocol)


def _short_label(record: CellRecord) -> str:
    name = model_label(record)
    name = f"{name}, trained on {record.source}" if record.source else name
    return f"{name} ({record.fraction:.0%} of training)" if record.fraction < 1 else name


def model_label(record: CellRecord) -> str:
    """Name of a model with its variant."""
    whole = not record.variant or record.model.endswith(f".{record.variant}")
    return record.model if whole else f"{record.model}.{record.variant}"


def model_identity(record: CellRecord, without: Collection[str] = ()) -> str:
    """Key of what a model is, wherever it was tried: its code, options, weights and training.

    Args:
        record: of a cell.
        without: further parts of the configuration that do not count, e.g. `source`.
    """
    rest = {k: v for k, v in record.configuration.items() if k not in {*_NOT_THE_MODEL, *without}}
    return content_key([record.model, record.variant, record.fraction, record.trained_here, rest])
