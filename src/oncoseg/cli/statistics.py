"""`oncoseg statistics`: who is better than whom in a finished run, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oncoseg.cli.show import print_json, print_table, say

if TYPE_CHECKING:
    from oncoseg.evaluation.comparison.paired import PairedTest
    from oncoseg.evaluation.comparison.trajectory import Trajectory
    from oncoseg.report.comparing import GroupStatistics, Rules
    from oncoseg.report.groups import Group


def statistics(
    run: Annotated[Path, typer.Argument(help="Output folder of `oncoseg bench`, or of one cell or training.")],
    metric: Annotated[str, typer.Option(help="What is compared, e.g. dice, hd95_max.")] = "dice",
    scheme: Annotated[
        str, typer.Option(help="Ranking: mean, median, rank (in each patient), test (tests won).")
    ] = "mean",
    undefined: Annotated[
        str, typer.Option(help="A score that a miss leaves undefined: worst, or drop_case (for all models).")
    ] = "worst",
    test: Annotated[
        str, typer.Option(help="Paired test: shapiro (t when normal, else wilcoxon), t, wilcoxon.")
    ] = "shapiro",
    correction: Annotated[
        str, typer.Option(help="For the number of pairs: holm, bonferroni, hommel, bh (exploratory), none.")
    ] = "holm",
    resamples: Annotated[int, typer.Option(help="Of the ranking; final tables take 10000.")] = 1_000,
    seed: Annotated[int, typer.Option(help="Of every bootstrap.")] = 0,
    training_trajectory: Annotated[
        bool,
        typer.Option(
            "--training-trajectory",
            help="Statistics over the epochs of one run, as one paper prints them. Not patients.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compare the models of a finished run, patient by patient; nothing is compared across ledger levels.

    Means with intervals, paired tests with their variant and effect, Friedman's test, ranks with their stability, and
    the patients that it would take to tell two models apart.
    """
    from oncoseg.config import fill
    from oncoseg.report.comparing import Rules

    if training_trajectory:
        _trajectory(run, metric, as_json=as_json)
        return
    chosen = {"scheme": scheme, "undefined": undefined, "choose": test, "correction": correction}
    rules = fill(Rules, {"metric": metric, "resamples": resamples, "seed": seed, **chosen}, "oncoseg statistics")
    _patients(run, rules, as_json=as_json)


def _patients(run: Path, rules: Rules, *, as_json: bool) -> None:
    from oncoseg.errors import InputError
    from oncoseg.experiments.store import read_run
    from oncoseg.report.comparing import compare_group
    from oncoseg.report.groups import make_groups
    from oncoseg.report.statistics_json import statistics_json

    groups = [g for g in make_groups(read_run(run)) if g.entrants]
    measured = [g for g in groups if rules.metric in g.metrics]
    if not measured:
        known = sorted({m for g in groups for m in g.metrics})
        raise InputError(f"No table of {run} has the metric '{rules.metric}'. There are: {', '.join(known)}.")
    found = [(g, compare_group(g, rules)) for g in measured]
    if as_json:
        print_json([statistics_json(g, held, rules) for g, held in found])
        return
    for group, held in found:
        print_table(
            f"{group.title} (ledger level {group.key.level}, {group.key.protocol})", *_summaries(group, rules, held)
        )
        if held is not None:
            _print_comparison(held)
    if all(held is None for _, held in found):
        say("no table holds two models scored on the same cases: nothing was compared")


def _summaries(group: Group, rules: Rules, held: GroupStatistics | None) -> tuple[list[str], list[list[str]]]:
    from oncoseg.evaluation.statistics import median_of
    from oncoseg.report.estimates import patient_values, summary_of, why_no_interval
    from oncoseg.report.tables import number

    def span(low: float | None, high: float | None) -> str:
        return "" if low is None or high is None else f" ({number(low)} to {number(high)})"

    rows = []
    for entrant in group.entrants:
        s, middle = summary_of(entrant, rules.metric), median_of(patient_values(entrant, rules.metric), seed=rules.seed)
        rank, interval = "", None
        if held is not None and entrant.label in held.ranking.models:
            rank, interval = str(held.ranking.rank_of(entrant.label)), held.stable.interval_of(entrant.label)
        undefined = [f"{n} {reason}" for reason, n in sorted(entrant.undefined(rules.metric).items())]
        notes = [f"t{span(s.t_low, s.t_high)}", f"median {number(middle.value)}{span(middle.low, middle.high)}"]
        notes = notes if s.reason is None else [f"no interval: {why_no_interval(s)}"]
        places = "" if interval is None else f" ({interval[0]}–{interval[1]})"
        line = [entrant.label, rank + places, str(s.patients), number(s.mean) + span(s.low, s.high)]
        rows.append([*line, "; ".join([*notes, *undefined])])
    rows.sort(key=lambda row: (not row[1], row[1].split(" ")[0].zfill(4), row[0]))
    return ["model", "rank", "n", f"mean {rules.metric} (BCa)", "further"], rows


def _print_comparison(held: GroupStatistics) -> None:
    from oncoseg.evaluation.statistics import FEW
    from oncoseg.report.ranking import friedman_words

    if 1 < held.ranking.n < FEW:
        say(f"warning: n < {FEW}: intervals of means and medians are too narrow")
    for warning in held.ranking.warnings:
        say(f"warning: {warning}")
    if held.apart:
        say(f"scored on other cases and not compared: {', '.join(held.apart)}")
    if held.stable.reason is not None:
        return
    if held.friedman is not None:
        print(friedman_words(held.friedman))
    if held.nemenyi is not None and held.distance is not None:
        print(f"Nemenyi: mean ranks that are {held.distance:.2f} apart differ at .05 (n = {held.nemenyi.n}).")
    for test in held.pairs:
        print(_pair(test, held.wilcoxon.correction))
    stable, best = held.stable, held.ranking.order[0]
    if stable.tau_mean is not None:
        print(f"Kendall's τ to the rankings of {stable.resamples:,} draws of patients: mean {stable.tau_mean:.2f}.")
    rows = []
    for model, n in held.needed.items():
        shown = ["–" if count is None else f"{count:,}" for count in (n.t_test, n.wilcoxon)]
        limits = n.reason or (
            "" if n.low is None else f"{n.low:,} to {'any number' if n.high is None else f'{n.high:,}'}"
        )
        rows.append([model, *shown, limits])
    title = f"Patients to tell {best} from each, power {held.rules.power:.0%}, p < .05"
    print_table(title, ["model", "t-test", "Wilcoxon", "allowed by the interval of the difference"], rows)
    for model, s in held.seeds.items():
        span = str(s.reason) if s.low is None or s.high is None else f"{s.low:.3f} to {s.high:.3f}"
        mean = "–" if s.mean is None else f"{s.mean:.3f}"
        print(f"{model}, {s.seeds} trainings: mean {mean} ({span} when patients and seeds are drawn anew). {s.warning}")


def _pair(test: PairedTest, correction: str) -> str:
    from oncoseg.evaluation.comparison.paired import interval_of, interval_words
    from oncoseg.report.ranking import p_words

    interval, mean = interval_of(test), test.difference.mean
    bounds = f"no interval: {test.difference.reason}"
    if interval is not None:
        bounds = f"{interval_words(test)} {interval[0]:+.3f} to {interval[1]:+.3f}"
    gap = "–" if mean is None else f"{mean:+.3f}"
    effects = {"d_z": test.cohen_dz, "rank-biserial": test.rank_biserial}
    shown = ", ".join(f"{name} {value:+.2f}" for name, value in effects.items() if value is not None)
    left = f", {test.left_out} cases left out" if test.left_out else ""
    p = f"no p ({test.reason})" if test.p is None else f"{p_words(test.p)}, {correction}: {p_words(test.p_adjusted)}"
    return f"{test.first} − {test.second}: {gap} ({bounds}); {p}; {test.test}; {shown}; n = {test.n}{left}"


def _trajectory(run: Path, metric: str, *, as_json: bool) -> None:
    from oncoseg.config import plain
    from oncoseg.errors import InputError
    from oncoseg.evaluation.comparison.trajectory import training_trajectory
    from oncoseg.experiments.store import read_run
    from oncoseg.report.trajectories import WORDS, by_model, trajectories

    if metric != "dice":
        raise InputError(f"Trainings log Dice after each epoch, not '{metric}'. Leave --metric away.")
    held, contents = trajectories(read_run(run)), []
    for dataset in dict.fromkeys(one.dataset for one in held):
        runs = by_model(one for one in held if one.dataset == dataset)
        # Of several seeds and folds the first: the paper has one training a model.
        found = training_trajectory({label: trainings[0].scores for label, trainings in runs.items()})
        what = WORDS[held[0].values]
        contents.append(plain(found) | {"dataset": dataset, "values": what})
        if not as_json:
            _print_trajectory(found, f"{dataset}: {what}")
    if as_json:
        print_json(contents)


def _print_trajectory(found: Trajectory, what: str) -> None:
    from oncoseg.report.ranking import p_words

    print(f"{what}: {found.label}.")
    rows = []
    for c in found.courses:
        spread = "" if c.sd is None else f" ± {c.sd:.4f}"
        notes = [
            "Shapiro–Wilk undefined" if c.normality.w is None else f"W = {c.normality.w:.3f}, {p_words(c.normality.p)}"
        ]
        if c.autocorrelation is not None and c.worth is not None:
            notes.append(f"neighbours r = {c.autocorrelation:+.2f}, worth {c.worth:.0f} epochs")
        notes += [f"{c.undefined} epochs undefined"] if c.undefined else []
        rows.append([c.model, str(c.epochs), f"{c.mean:.4f}{spread}", "; ".join(notes)])
    print_table("", ["model", "epochs", "mean ± SD", "Shapiro–Wilk; neighbouring epochs"], rows)
    for outcome in (found.groups.levene, found.groups.classic, found.groups.welch, found.groups.kruskal):
        value = str(outcome.reason) if outcome.statistic is None else f"{outcome.statistic:.3f}, {p_words(outcome.p)}"
        print(f"{outcome.test}: {value}")
    for pair in found.pairs:
        names = f"{pair.test.first} − {pair.test.second}"
        shown = f"{p_words(pair.p)} {pair.stars}".strip()
        print(f"Welch's t-test, {names}: {shown}, not corrected, as published; Holm: {p_words(pair.p_holm)}")
    for note in found.notes:
        print(note)
