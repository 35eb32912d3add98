"""Surface Dice on area-weighted surface elements (Nikolov et al. 2021, JMIR 23: e26151)."""

from __future__ import annotations

from oncoseg.contracts import Measured
from oncoseg.evaluation.metric import MetricInfo, PairMetric, tolerance, within
from oncoseg.evaluation.pair import MaskPair

INFO = MetricInfo(
    "sdice_surfel",
    "",
    True,
    "Share of surface area within the tolerance; 0 when one mask is empty, undefined when both are.",
    symmetric=True,
    parameter="tolerance in mm",
)


def build(parameter: str) -> PairMetric:
    """The metric at a tolerance in mm, written as text.

    Raises:
        InputError: when it is not a number of at least 0.
    """
    tolerance_mm = tolerance(INFO, parameter)
    return PairMetric(INFO, lambda pair: sdice_surfel(pair, tolerance_mm), parameter=tolerance_mm)


def sdice_surfel(pair: MaskPair, tolerance_mm: float) -> Measured:
    """Share of both surfaces' area that lies within `tolerance_mm` of the other surface.

    Elements are weighted by area, so anisotropic spacing is fair: report this one as NSD.

    Returns:
        A number in [0, 1]; a distance equal to the tolerance counts as inside. 0 when one mask is empty,
        None when both are.
    """
    if pair.emptiness == "both_empty":
        return Measured(None, "both_empty")
    if pair.elements is None:
        return Measured(0.0)
    elements, limit = pair.elements, within(tolerance_mm)
    inside = elements.area_reference[elements.to_prediction <= limit].sum()
    inside += elements.area_prediction[elements.to_reference <= limit].sum()
    return Measured(float(inside / (elements.area_reference.sum() + elements.area_prediction.sum())))
