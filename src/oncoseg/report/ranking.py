"""The section "Ranking" of a table: who is better than whom, how sure that is, and what the order hangs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oncoseg.evaluation.comparison.consensus import agreement
from oncoseg.evaluation.comparison.friedman import Friedman
from oncoseg.evaluation.comparison.paired import PairedTest, interval_of, interval_words
from oncoseg.evaluation.comparison.ranking import SCHEME_WORDS
from oncoseg.report import rank_figures
from oncoseg.report.comparing import GroupStatistics, compare_group, consensus_of, rankings_of
from oncoseg.report.groups import Group
from oncoseg.report.plots import METRIC, Numbers, Plot
from oncoseg.report.tables import Shown, metric_columns, number


@dataclass(frozen=True)
class RankingPart:
    """What the page shows of a comparison.

    Attributes:
        facts: sentences.
        warnings: why not to believe it too much.
        plots: blobs, significance, critical differences, ranks by other rules.
        pairs: every pair with its test, effect, interval and the patients that a study would need.
        seeds: models that were trained several times; None without one.
        notes: which tests these are.
    """

    facts: list[str]
    warnings: list[str]
    plots: list[Plot]
    pairs: Numbers
    seeds: Numbers | None
    notes: str


def ranking_part(group: Group) -> RankingPart | None:
    """The section of one table; None for fewer than two comparable models or two patients."""
    held = compare_group(group)
    if held is None or held.stable.reason is not None:
        return None
    rankings = rankings_of(group, [column.metric for column in metric_columns(group)], held.rules)
    return RankingPart(
        facts=[*_facts(held), *_agreement(held, rankings)],
        warnings=_warnings(held),
        plots=[*_plots(held), *_lines(held, rankings)],
        pairs=_pairs(held),
        seeds=_seeds(held),
        notes=_notes(held),
    )


def consensus_tables(groups: Sequence[Group]) -> list[tuple[str, Numbers]]:
    """Heading and table of each prompt that was tried with the same models on several data sets."""
    found = []
    for title, one in consensus_of(groups):
        order = sorted(range(len(one.models)), key=lambda n: (one.ranks[n], one.models[n]))
        rows = [
            (
                Shown(None, one.models[n]),
                Shown(one.ranks[n], str(one.ranks[n])),
                Shown(one.mean_ranks[n], f"{one.mean_ranks[n]:.2f}"),
                Shown(one.high[n], f"{one.low[n]}–{one.high[n]}"),
            )
            for n in order
        ]
        agree = "" if one.kendall_w is None else f" · agreement of the data sets: Kendall's W = {one.kendall_w:.2f}"
        heading = f"{title}, {len(one.tasks)} data sets: {', '.join(one.tasks)}{agree}"
        found.append((heading, Numbers(("model", "rank", "mean rank", "best–worst rank"), tuple(rows))))
    return found


def friedman_words(test: Friedman) -> str:
    """Friedman's test in one sentence, with both treatments of ties where there are any."""
    if test.chi2 is None or test.p is None:
        return f"Friedman's test: not defined ({test.reason})."
    text = f"Friedman's test of {test.k} models on {test.n} patients: "
    if test.tied and test.chi2_corrected is not None and test.p_corrected is not None:
        text += f"χ² = {test.chi2_corrected:.2f} corrected for ties ({p_words(test.p_corrected)}), "
        text += f"{test.chi2:.2f} without correction ({p_words(test.p)})"
    else:
        text += f"χ² = {test.chi2:.2f} ({p_words(test.p)}), no ties"
    if test.f is not None and test.f_p is not None:
        text += f"; Iman–Davenport F({test.f_df[0]}, {test.f_df[1]}) = {test.f:.2f} ({p_words(test.f_p)})"
    return f"{text}; effect: Kendall's W = {test.kendall_w:.2f}."


def p_words(p: float | None) -> str:
    """`p = .013`, `p < .001`."""
    return "p undefined" if p is None else "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def _facts(held: GroupStatistics) -> list[str]:
    stable, ranking = held.stable, held.ranking
    order = ranking.order
    first = [m for m in order if ranking.rank_of(m) == 1]
    share = stable.first[ranking.models.index(first[0])] or 0.0
    facts = [f"{' and '.join(first)} {'is' if len(first) == 1 else 'are'} first by {SCHEME_WORDS[ranking.scheme]}."]
    if len(first) == 1:
        facts[0] = (
            facts[0][:-1] + f", and stays first in {share:.0%} of {stable.resamples:,} draws of {ranking.n} patients."
        )
    if stable.tau_mean is not None and stable.tau_low is not None and stable.tau_high is not None and len(order) > 2:
        facts.append(
            f"Kendall's τ between this order and those of the draws: mean {number(stable.tau_mean)}, 95 % between "
            f"{number(stable.tau_low)} and {number(stable.tau_high)} (pure noise gives about .5, not 0)."
        )
    if held.friedman is not None:
        facts.append(friedman_words(held.friedman))
    runner = order[1]
    facts.append(f"{order[0]} against {runner}: {held.needed[runner].statement}")
    return facts


def _agreement(held: GroupStatistics, rankings: Mapping[str, Mapping[str, int]]) -> list[str]:
    if len(rankings) < 2:
        return []
    agree = agreement(rankings)
    moving = [m for m in held.ranking.order if agree.low[m] != agree.high[m]]
    if not moving:
        return [f"The order is the same by all of: {', '.join(rankings)}."]
    moved = max(moving, key=lambda m: agree.high[m] - agree.low[m])
    winner = "The winner is the same" if agree.same_winner else "The winner depends on the rule"
    return [
        f"{winner} among {len(rankings)} rules (schemes, metrics, scoring); {len(moving)} of {len(agree.low)} models "
        f"change their rank, most of all {moved}: {agree.low[moved]} to {agree.high[moved]}."
    ]


def _warnings(held: GroupStatistics) -> list[str]:
    found = list(held.ranking.warnings)
    if held.ranking.dropped:
        found.append(f"{held.ranking.dropped} cases left out of the ranking: {held.ranking.undefined}")
    elif held.table.undefined:
        counts = ", ".join(f"{model} {n}" for model, n in held.table.undefined.items())
        found.append(f"undefined scores ({counts}): {held.ranking.undefined}")
    if held.apart:
        found.append(f"scored on other cases and not compared: {', '.join(held.apart)}")
    return found


def _plots(held: GroupStatistics) -> list[Plot]:
    kinds = {e.label: e.kind for e in held.group.entrants}
    order, slug, stable = held.ranking.order, held.group.slug, held.stable
    places = range(1, len(order) + 1)
    blob_rows = tuple(
        (Shown(None, m), *(Shown(s, f"{s:.1%}") for s in stable.frequency[stable.ranking.models.index(m)]))
        for m in order
    )
    plots = [
        Plot(
            rank_figures.blob_plot(stable, kinds, f"{slug}-blobs"),
            f"Rank by {SCHEME_WORDS[stable.ranking.scheme]} when {held.ranking.n} patients are drawn anew, "
            f"{stable.resamples:,} times, the same patients for all models. Area: how often; cross: rank on all "
            "patients; line: 95 % interval.",
            Numbers(("model", *(f"rank {place}" for place in places)), blob_rows),
        )
    ]
    pairs = held.wilcoxon
    if pairs.reason is None:
        at = [pairs.models.index(m) for m in order]
        rows = tuple((Shown(None, pairs.models[a]), *(_p(pairs.p[a][b]) for b in at)) for a in at)
        svg = rank_figures.significance_plot(pairs, order, f"{slug}-pairs", larger_is_better=held.larger_is_better)
        caption = (
            f"{pairs.test}; p corrected by {pairs.correction} over {len(held.pairs)} "
            f"{'pairs' if len(held.pairs) > 1 else 'pair'}, n = {pairs.n} patients. Coloured below .05: blue where the "
            "row is better, vermilion where it is worse."
        )
        plots.append(Plot(svg, caption, Numbers(("model", *order), rows)))
    return [*plots, *_difference_plot(held)]


def _difference_plot(held: GroupStatistics) -> list[Plot]:
    test, pairs, distance = held.friedman, held.nemenyi, held.distance
    if test is None or pairs is None or distance is None or pairs.reason is not None:
        return []
    svg = rank_figures.critical_difference_plot(test, pairs, distance, f"{held.group.slug}-critical")
    caption = (
        f"Mean rank over patients; a bar joins models that Nemenyi's test cannot tell apart at .05 (they are less than "
        f"CD = {distance:.2f} apart, n = {test.n}). It is the cautious test: the pairs above have more power."
    )
    rows = tuple(
        (Shown(None, m), Shown(r, f"{r:.2f}")) for r, m in sorted(zip(test.mean_ranks, test.models, strict=True))
    )
    return [Plot(svg, caption, Numbers(("model", "mean rank"), rows))]


def _lines(held: GroupStatistics, rankings: Mapping[str, Mapping[str, int]]) -> list[Plot]:
    if len(rankings) < 2:
        return []
    kinds = {e.label: e.kind for e in held.group.entrants if e.label in held.table.models}
    rows = tuple(
        (Shown(None, m), *(Shown(ranks[m], str(ranks[m])) for ranks in rankings.values())) for m in held.ranking.order
    )
    svg = rank_figures.rank_lines(rankings, kinds, f"{held.group.slug}-rules")
    caption = (
        "The same predictions ranked by other schemes, metrics (by their mean) and scoring rules. Where lines cross, "
        "the order is a choice of the rule."
    )
    return [Plot(svg, caption, Numbers(("model", *rankings), rows))]


def _pairs(held: GroupStatistics) -> Numbers:
    head = ("pair", "n", f"mean difference of {_metric(held)}", "p, corrected", "test", "Cohen's d_z", "rank-biserial")
    return Numbers((*head, "patients needed"), tuple(_pair(held, test) for test in held.pairs))


def _pair(held: GroupStatistics, test: PairedTest) -> tuple[Shown, ...]:
    interval, mean = interval_of(test), test.difference.mean
    bounds = f"{interval_words(test)} {interval[0]:+.3f} to {interval[1]:+.3f}" if interval else str(test.reason or "")
    best = held.ranking.order[0]
    other = test.second if test.first == best else test.first if test.second == best else None
    need = held.needed[other] if other is not None else None
    needed = Shown(None, "")
    if need is not None:
        count = need.wilcoxon or need.t_test
        text = "–" if count is None else f"{count:,}"
        span = (
            "" if need.low is None else f"{need.low:,} to {need.high:,}" if need.high else f"{need.low:,} to any number"
        )
        needed = Shown(count, text, str(need.reason) if need.reason else span)
    left = f"{test.left_out} cases left out" if test.left_out else ""
    return (
        Shown(None, f"{test.first} − {test.second}"),
        Shown(test.n, str(test.n), left),
        Shown(mean, "–" if mean is None else f"{mean:+.3f}".replace("-", "−"), bounds.replace("-", "−")),
        Shown(test.p_adjusted, _p(test.p_adjusted).text, f"not corrected: {_p(test.p).text}"),
        Shown(None, test.test, test.chosen),
        Shown(test.cohen_dz, number(test.cohen_dz)),
        Shown(test.rank_biserial, number(test.rank_biserial)),
        needed,
    )


def _seeds(held: GroupStatistics) -> Numbers | None:
    if not held.seeds:
        return None
    rows = [
        (
            Shown(None, model),
            Shown(s.seeds, str(s.seeds), s.warning),
            Shown(s.mean, number(s.mean), f"{s.patients} patients"),
            Shown(
                None, "–" if s.low is None or s.high is None else f"{number(s.low)} to {number(s.high)}", s.reason or ""
            ),
            Shown(s.between_seeds, "–" if s.between_seeds is None else f"{s.between_seeds:.3f}"),
            Shown(s.between_patients, "–" if s.between_patients is None else f"{s.between_patients:.3f}"),
        )
        for model, s in held.seeds.items()
    ]
    head = ("model", "trainings", f"mean {_metric(held)}", "95 % interval, patients and seeds drawn anew")
    return Numbers((*head, "SD between seeds", "SD between patients"), tuple(rows))


def _notes(held: GroupStatistics) -> str:
    return (
        f"Unit: patient, n = {held.ranking.n}. The test of a pair is the paired t-test when Shapiro and Wilk do not "
        "reject normal differences, else Wilcoxon's signed-rank test; p corrected by Holm over all pairs. Patients "
        "needed: size of a study that finds the observed difference to the first model with "
        f"{held.rules.power:.0%} power at .05, by Wilcoxon's test on draws of the observed differences; below "
        "it what the interval of the difference allows."
    )


def _metric(held: GroupStatistics) -> str:
    return METRIC if held.rules.metric == METRIC.lower() else held.rules.metric


def _p(p: float | None) -> Shown:
    return Shown(p, "–" if p is None else "<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0"))
