"""Many cases to one number: the code that carries out what a protocol states."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from oncoseg.contracts import Measured, Metric
from oncoseg.errors import InputError
from oncoseg.evaluation.cutting import keeps_probability, units
from oncoseg.evaluation.metric import CountMetric, needs_probability
from oncoseg.evaluation.pair import Counts, MaskPair
from oncoseg.evaluation.protocol import Protocol, ScoredCase

NOTHING_SCORED = "nothing_scored"


@dataclass(frozen=True)
class Misses:
    """What an undefined distance counts when exactly one mask is empty.

    Attributes:
        rule: `undefined` leaves it out and counts it; `worst` puts the image's diagonal; `penalty` puts
            `penalty_mm`; `detected_only` averages only where both masks hold something, for every metric.
        penalty_mm: for `penalty`.
    """

    rule: Literal["undefined", "worst", "penalty", "detected_only"] = "undefined"
    penalty_mm: float | None = None

    @classmethod
    def parse(cls, text: str) -> Misses:
        """`undefined`, `worst`, `detected_only` or `penalty@50` (mm).

        Raises:
            InputError: for anything else.
        """
        rule, _, number = text.partition("@")
        plain = {"undefined": cls("undefined"), "worst": cls("worst"), "detected_only": cls("detected_only")}
        if text in plain:
            return plain[text]
        try:
            penalty = float(number)
        except ValueError:
            penalty = math.nan
        if rule == "penalty" and math.isfinite(penalty) and penalty >= 0:
            return cls("penalty", penalty)
        raise InputError(
            f"Misses '{text}' is not known. Choose from: undefined, worst, detected_only, penalty@50 (mm)."
        )

    def __str__(self) -> str:
        return self.rule if self.penalty_mm is None else f"{self.rule}@{self.penalty_mm:g}"


@dataclass(frozen=True)
class ProtocolScore:
    """One number for many cases, with everything needed to read it.

    Attributes:
        protocol, metric, unit: what it is.
        misses: how empty masks counted.
        value: None when nothing was defined.
        reason: why it is None.
        units: cases, or slices, that the rule measured.
        undefined: reason -> number of units that did not enter the value.
        missed: units with an empty prediction and a filled reference.
        cases: number of cases given.
        left_out: names of cases of which the rule scores nothing.
        by_case: case -> mean of its units, None when undefined; empty for pooled voxels.
        from_reference: what scoring alone took from the reference.
    """

    protocol: str
    metric: str
    unit: str
    misses: str
    value: float | None
    reason: str | None
    units: int
    undefined: Mapping[str, int]
    missed: int
    cases: int
    left_out: tuple[str, ...]
    by_case: Mapping[str, float | None]
    from_reference: Mapping[str, bool | int]

    @property
    def text(self) -> str:
        """The number with its count, e.g. "8.30 mm (n = 52 of 58; 6 misses)"."""
        number = "undefined" if self.value is None else f"{self.value:.3f}" if not self.unit else f"{self.value:.2f}"
        parts = [f"n = {self.units - sum(self.undefined.values())} of {self.units}"]
        parts += [f"{self.missed} misses"] if self.missed else []
        parts += [f"{len(self.left_out)} cases left out"] if self.left_out else []
        return f"{number}{' ' + self.unit if self.unit else ''} ({'; '.join(parts)})"


UNDEFINED_MISSES = Misses()


@dataclass
class _Tally:
    names: list[str] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    undefined: Counter[str] = field(default_factory=Counter)
    left_out: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=lambda: Counts(0, 0, 0, 0))
    units: int = 0
    missed: int = 0


class CutCase(NamedTuple):
    """One case cut into what a protocol measures; pairs keep their counts and distances for further metrics."""

    name: str
    pairs: list[MaskPair]
    diagonal_mm: float


def cut(rule: Protocol, case: ScoredCase) -> CutCase:
    """Cut a case by a protocol; raises like `oncoseg.evaluation.cutting.units`."""
    return CutCase(case.name, units(rule, case), MaskPair(case.reference, case.reference).diagonal_mm)


def aggregate(
    rule: Protocol, cases: Iterable[CutCase], metric: Metric, *, misses: Misses = UNDEFINED_MISSES
) -> ProtocolScore:
    """One metric of many cases under one protocol.

    Args:
        rule: the protocol.
        cases: cut by the same protocol.
        metric: what is measured.
        misses: what an empty mask costs in a distance.

    Raises:
        InputError: for no cases, two cases of one name, or a metric that the protocol does not define.
    """
    if not defines(rule, metric):
        raise InputError(f"Protocol '{rule.name}' does not define '{metric.name}', only {_defined(rule)}.")
    tally = _Tally()
    for case in cases:
        _count_case(tally, rule, case, metric=metric, misses=misses)
    if not tally.names:
        raise InputError(f"There is no case to score under '{rule.name}'.")
    value, reason = _pool(rule, tally, metric)
    return ProtocolScore(
        protocol=rule.name,
        metric=metric.name,
        unit=metric.unit,
        misses=str(misses),
        value=value,
        reason=reason,
        units=tally.units,
        undefined=dict(tally.undefined),
        missed=tally.missed,
        cases=len(tally.names),
        left_out=tuple(tally.left_out),
        by_case={} if rule.pool == "voxels" else {name: _mean(found) for name, found in tally.values.items()},
        from_reference={**rule.from_reference, **({"cases_dropped": len(tally.left_out)} if tally.left_out else {})},
    )


def defines(rule: Protocol, chosen: Metric) -> bool:
    """Whether a metric has a meaning under a protocol."""
    if rule.metrics:
        return chosen.name in rule.metrics
    if rule.pool == "voxels":
        return isinstance(chosen, CountMetric)
    if needs_probability(chosen):
        return keeps_probability(rule)
    # Lesions are bodies: a slice cuts them into pieces.
    return rule.unit == "case" or "lesion" not in chosen.name


def _defined(rule: Protocol) -> str:
    return ", ".join(rule.metrics) or ("metrics of voxel counts" if rule.pool == "voxels" else "voxel-wise metrics")


def _count_case(tally: _Tally, rule: Protocol, case: CutCase, *, metric: Metric, misses: Misses) -> None:
    if case.name in tally.names:
        raise InputError(f"Two cases are named '{case.name}'; names must differ.")
    tally.names.append(case.name)
    if not case.pairs:
        tally.left_out.append(case.name)
        return
    tally.values[case.name] = []
    for pair in case.pairs:
        tally.units += 1
        tally.missed += pair.emptiness == "prediction_empty"
        tally.counts += pair.counts
        if rule.pool == "voxels":
            continue
        value, reason = _measure(rule, pair, metric=metric, misses=misses, diagonal_mm=case.diagonal_mm)
        if value is None:
            tally.undefined[reason or "zero_denominator"] += 1
        else:
            tally.values[case.name].append(value)


def _measure(rule: Protocol, pair: MaskPair, *, metric: Metric, misses: Misses, diagonal_mm: float) -> Measured:
    one_empty = pair.emptiness in ("prediction_empty", "reference_empty")
    if misses.rule == "detected_only" and one_empty:
        return Measured(None, pair.emptiness)
    measured = metric(pair)
    if measured.value is not None:
        return measured
    if pair.emptiness == "both_empty" and rule.both_empty == "one" and metric.higher_is_better and not metric.unit:
        return Measured(1.0)
    if one_empty and metric.unit == "mm" and misses.rule in ("worst", "penalty"):
        return Measured(diagonal_mm if misses.penalty_mm is None else misses.penalty_mm)
    return measured


def _pool(rule: Protocol, tally: _Tally, metric: Metric) -> Measured:
    if not tally.units:
        return Measured(None, NOTHING_SCORED)
    if rule.pool == "voxels" and isinstance(metric, CountMetric):
        return metric.of(tally.counts)
    lists = list(tally.values.values())
    if rule.pool == "units":
        value = _mean([value for found in lists for value in found])
    else:
        value = _mean([mean for found in lists if (mean := _mean(found)) is not None])
    return Measured(value, None if value is not None else tally.undefined.most_common(1)[0][0])


def _mean(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None
