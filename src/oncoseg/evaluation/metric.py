"""What the files of the metrics shelf are made of: a count metric, a surface metric, and their facts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from oncoseg.contracts import Measured, Metric
from oncoseg.errors import InputError
from oncoseg.evaluation.calibration import Calibration
from oncoseg.evaluation.lesions import MATCH, LesionMatch, MatchRule
from oncoseg.evaluation.pair import Counts, MaskPair
from oncoseg.evaluation.regions import Region, parse_region
from oncoseg.evaluation.surfaces import ROUNDING

SHARE = (0.0, 1.0)
CORRELATION = (-1.0, 1.0)
LENGTH = (0.0, math.inf)


@dataclass(frozen=True)
class MetricInfo:
    """What a metric is, for lists and tables.

    Attributes:
        name: the file's name on the shelf; in scores with its parameter, e.g. `nsd_border@2`.
        unit: "" for shares and ratios, "mm", "mm^3", "mL".
        higher_is_better: direction; None for quantities without one.
        summary: one sentence, with what happens when a mask is empty.
        bounds: smallest and largest value it can have.
        symmetric: whether swapping reference and prediction changes nothing.
        parameter: what follows the `@`, in words; None for metrics without a parameter.
        example: of the parameter, as text.
    """

    name: str
    unit: str
    higher_is_better: bool | None
    summary: str
    bounds: tuple[float, float] = SHARE
    symmetric: bool = False
    parameter: str | None = None
    example: str = "2"


@dataclass(frozen=True)
class ShelfMetric:
    """The facts of a metric under the names of `oncoseg.contracts.Metric`.

    Attributes:
        info: what it is.
        parameter: what stands after the `@`, None without.
    """

    info: MetricInfo
    parameter: float | str | None = field(default=None, kw_only=True)

    @property
    def name(self) -> str:
        """Name in scores, e.g. `nsd_border@2`."""
        if self.parameter is None:
            return self.info.name
        return f"{self.info.name}@{self.parameter if isinstance(self.parameter, str) else format(self.parameter, 'g')}"

    @property
    def unit(self) -> str:
        """Unit of the value."""
        return self.info.unit

    @property
    def higher_is_better(self) -> bool | None:
        """Direction."""
        return self.info.higher_is_better

    @property
    def summary(self) -> str:
        """One sentence."""
        return self.info.summary


@dataclass(frozen=True)
class CountMetric(ShelfMetric):
    """A metric of the four voxel counts alone; it can be taken over several cases together.

    Attributes:
        of: value from counts.
    """

    of: Callable[[Counts], Measured]

    def __call__(self, pair: MaskPair) -> Measured:
        """Measure one pair."""
        return self.of(pair.counts)


@dataclass(frozen=True)
class PairMetric(ShelfMetric):
    """A metric that needs the masks' geometry.

    Attributes:
        of: value from a pair.
    """

    of: Callable[[MaskPair], Measured]

    def __call__(self, pair: MaskPair) -> Measured:
        """Measure one pair."""
        return self.of(pair)


def lesion_metric(info: MetricInfo, of: Callable[[MaskPair, LesionMatch], Measured], rule: str = "") -> PairMetric:
    """A metric of matched lesions.

    Args:
        info: what it is.
        of: value from a pair and its matches.
        rule: how lesions are matched, as `oncoseg.evaluation.lesions.MatchRule.parse` reads it; "" for IoU 0.5.

    Raises:
        InputError: for a rule that is not known.
    """
    chosen = MatchRule.parse(rule) if rule else MATCH
    return PairMetric(info, lambda pair: of(pair, pair.matched(chosen)), parameter=str(chosen) if rule else None)


#: What follows the `@` of a metric of matched lesions.
MATCHING = "matching rule, by default iou0.5"


def probability_metric(info: MetricInfo, of: Callable[[Calibration], float], region: str) -> PairMetric:
    """A metric of a probability in a region.

    Args:
        info: what it is.
        of: value from the sums over the region.
        region: `whole`, `box` or `boundary`, see `oncoseg.evaluation.regions`.

    Raises:
        InputError: for another region.
    """
    chosen: Region = parse_region(region)

    def value(pair: MaskPair) -> Measured:
        if pair.probability is None:
            return Measured(None, "no_probability")
        found = pair.calibration(chosen)
        return Measured(None, pair.emptiness) if found is None else Measured(of(found))

    return PairMetric(info, value, parameter=chosen)


#: What follows the `@` of a metric of probabilities.
REGION = "region: whole, box or boundary"


def needs_probability(metric: Metric) -> bool:
    """Whether a metric measures a probability rather than a mask."""
    return isinstance(metric, ShelfMetric) and metric.info.parameter == REGION


def ratio(numerator: float, denominator: float, reason: str | None) -> Measured:
    """A quotient, or None with a reason when the denominator is 0.

    Args:
        numerator: any number.
        denominator: any number.
        reason: why the denominator may be 0; None means `zero_denominator`.
    """
    if denominator == 0:
        return Measured(None, reason or "zero_denominator")
    return Measured(numerator / denominator)


def tolerance(info: MetricInfo, text: str) -> float:
    """The tolerance in mm written after the `@`.

    Raises:
        InputError: when it is not a finite number of at least 0.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise InputError(f"Metric '{info.name}@{text}': {info.parameter} must be a number >= 0, e.g. {info.name}@2.")
    return number


def within(tolerance_mm: float) -> float:
    """Largest distance in mm that counts as being within `tolerance_mm`."""
    return tolerance_mm * (1 + ROUNDING)
