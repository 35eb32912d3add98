"""Scoring by name: one case under one protocol, many cases under one or under all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from oncoseg import registry
from oncoseg.contracts import Metric
from oncoseg.errors import InputError
from oncoseg.evaluation.aggregate import Misses, ProtocolScore, aggregate, cut, defines
from oncoseg.evaluation.metric import MetricInfo
from oncoseg.evaluation.protocol import ScoredCase, protocol_names
from oncoseg.evaluation.protocol import protocol as find_protocol
from oncoseg.evaluation.regions import REGIONS
from oncoseg.score import Score
from oncoseg.volume import Volume

LESION_METRICS: tuple[str, ...] = (
    "lesion_sensitivity",
    "lesion_precision",
    "lesion_f1",
    "lesion_sq",
    "lesion_sq_dice",
    "lesion_pq",
    "lesion_dice",
    "false_lesions",
    "missed_lesions",
)
"""Metrics of matched lesions; each takes another matching rule behind an `@`."""

DEFAULT_METRICS: tuple[str, ...] = (
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "specificity",
    "hd",
    "hd95_max",
    "hd95_pooled",
    "assd",
    "masd",
    "nsd_border@2",
    "sdice_surfel@2",
    "com_distance",
    "volume_ref",
    "volume_pred",
    "rel_volume_diff",
    "abs_volume_error",
)
"""What `evaluate` and `bench` compute unless told otherwise."""

PROBABILITY_METRICS: tuple[str, ...] = tuple(
    f"{name}@{region}" for region in REGIONS for name in ("brier", "nll", "ece_foreground", "ece_top_label", "mce")
)
"""What cells compute of probabilities, in every region."""

EVERY_METRIC: tuple[str, ...] = (
    *DEFAULT_METRICS,
    "accuracy",
    "mcc",
    "kappa",
    "asd_pred_to_ref",
    *(f"{name}@{mm}" for name in ("nsd_border", "sdice_surfel") for mm in (1, 3, 5)),
    "boundary_iou@2",
    "added_path_length@0",
    "added_path_length@2",
    *(f"{name}{rule}" for name in LESION_METRICS for rule in ("", "@iou0.1", "@centre10")),
    "merged_lesions",
    "split_lesions",
    *PROBABILITY_METRICS,
)
"""The whole shelf at its usual parameters, clDice apart, which needs a package of its own: `--metrics all`."""


def chosen_protocols(names: Sequence[str]) -> tuple[str, ...]:
    """Scoring protocols by name, each once; `all` stands for every one that needs no other object than the tumour.

    Raises:
        UnknownNameError: with near names.
    """
    every = [name for name in protocol_names() if not find_protocol(name).needs]
    found = [one for name in names for one in (every if name == "all" else [find_protocol(name).name])]
    return tuple(dict.fromkeys(found))


def metric_names() -> list[str]:
    """Every metric on the shelf, sorted, without parameters."""
    return registry.names("metrics")


def metric_infos() -> list[MetricInfo]:
    """What each metric on the shelf is, sorted by name."""
    modules = [registry.load("metrics", name) for name in metric_names()]
    return [module.INFO for module in modules]


def metric(name: str) -> Metric:
    """A metric by name.

    Args:
        name: a file of the shelf, with `@` and its parameter where it takes one: `dice`, `nsd_border@2`.

    Raises:
        UnknownNameError: with near names.
        InputError: when a parameter is missing, not wanted or not valid.

    Example:
        >>> metric("nsd_border@2.50").name
        'nsd_border@2.5'
    """
    base, at, parameter = name.partition("@")
    module = registry.load("metrics", base)
    if parameter and hasattr(module, "build"):
        return cast("Metric", module.build(parameter))
    if not hasattr(module, "METRIC") or (at and hasattr(module, "build")):
        raise InputError(f"Metric '{name}' needs its {module.INFO.parameter}: write {base}@{module.INFO.example}.")
    if at:
        raise InputError(f"Metric '{base}' takes no parameter; write '{base}' instead of '{name}'.")
    return cast("Metric", module.METRIC)


def score_case(
    reference: Volume,
    prediction: Volume,
    *,
    case: str,
    patient: str,
    roi: str = "tumour",
    metrics: Sequence[str] = DEFAULT_METRICS,
    protocol: str = "case3d",
    objects: Mapping[str, tuple[Volume, Volume]] | None = None,
    probability: Volume | None = None,
) -> list[Score]:
    """Score one case under one protocol; borders and distances are computed once for all metrics.

    Args:
        reference: bool.
        prediction: bool, or the probability (float, [0, 1]), on the grid of the reference.
        case: name of the case.
        patient: whose it is.
        roi: what was segmented.
        metrics: names, see `metric`.
        protocol: name or alias, see `oncoseg.evaluation.protocol.protocol`.
        objects: further objects for protocols that average over several, name -> (reference, prediction).
        probability: what a boolean prediction was made from, for metrics of probabilities and for protocols with
            thresholds of their own.

    Returns:
        One score a metric, in the order given. Metrics that the protocol does not define (a distance of
        pooled voxels, say) are not in the list; a protocol with metrics of its own answers with those when
        none of them was asked for.

    Raises:
        GridMismatchError: when the grids differ.
        InputError: for an unknown name or masks that cannot be scored.
    """
    rule = find_protocol(protocol)
    chosen = [metric(name) for name in metrics]
    defined = [each for each in chosen if defines(rule, each)] or [metric(name) for name in rule.metrics]
    pieces = [cut(rule, ScoredCase(case, reference, prediction, objects or {}, probability))]
    scores = []
    for each in defined:
        found = aggregate(rule, pieces, each)
        scores.append(
            Score(
                case=case,
                patient=patient,
                roi=roi,
                metric=each.name,
                protocol=rule.name,
                value=found.value,
                reason=found.reason,
                unit=each.unit,
                higher_is_better=each.higher_is_better,
            )
        )
    return scores


def score_cases(
    cases: Sequence[ScoredCase], *, metric_name: str = "dice", protocol: str = "case3d", misses: str = "undefined"
) -> ProtocolScore:
    """Many cases to one number.

    Args:
        cases: what to score.
        metric_name: see `metric`.
        protocol: name or alias.
        misses: what an empty mask costs in a distance: `undefined` (left out and counted), `worst` (the image's
            diagonal), `penalty@50` (mm), `detected_only`.

    Raises:
        InputError: for an unknown name, no cases, or a metric that the protocol does not define.
    """
    rule = find_protocol(protocol)
    return aggregate(rule, (cut(rule, case) for case in cases), metric(metric_name), misses=Misses.parse(misses))


def under_all_protocols(cases: Sequence[ScoredCase], *, metric_name: str = "dice") -> list[ProtocolScore]:
    """The same predictions under every protocol that defines the metric and has the objects it needs.

    Returns:
        In the order of `protocol_names()`; largest minus smallest value is the spread that a table hides
        when it does not name its rule.
    """
    chosen = metric(metric_name)
    given = set.intersection(*(set(case.objects) for case in cases)) if cases else set()
    rules = [find_protocol(name) for name in protocol_names()]
    rules = [rule for rule in rules if defines(rule, chosen) and rule.needs <= given]
    return [score_cases(cases, metric_name=metric_name, protocol=rule.name) for rule in rules]
