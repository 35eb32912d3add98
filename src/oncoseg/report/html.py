"""One HTML page from result files: opens offline, asks no other file, reads without JavaScript."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oncoseg.errors import InputError
from oncoseg.evaluation.protocol import protocol
from oncoseg.evaluation.statistics import FEW
from oncoseg.experiments.store import CellResult, read_run
from oncoseg.files import write_text
from oncoseg.report import ablation, degradation, downloads, figures, interaction, plots, statements, tables, transfer
from oncoseg.report.calibration import calibration_parts, of_probabilities
from oncoseg.report.estimates import summary_of, why_no_interval
from oncoseg.report.failures import failure_parts
from oncoseg.report.groups import LEVEL_WORDS, PRIMARY, Entrant, Group, by_dataset, ledger_words, make_groups
from oncoseg.report.lesions import lesion_parts
from oncoseg.report.pages import environment
from oncoseg.report.pictures import Strip, gallery
from oncoseg.report.plan import Plan, read_plan
from oncoseg.report.ranking import RankingPart, consensus_tables, ranking_part
from oncoseg.report.spread import spread_parts
from oncoseg.report.structures import StructureTable, structure_table
from oncoseg.report.tables import LeaderboardRow, MetricColumn, Shown, bounds, number
from oncoseg.report.volumes import volume_parts
from oncoseg.score import Provenance

FIDELITY_WORDS = {
    "verified": "equal to an independent implementation",
    "paper": "parameter count and text of the paper agree",
    "reconstructed": "the paper leaves choices open",
    "baseline": "no paper",
}


@dataclass(frozen=True)
class GroupPart:
    """One table with what belongs to it."""

    group: Group
    ledger: list[str]
    level_words: str
    columns: list[MetricColumn]
    rows: list[LeaderboardRow]
    humans: list[LeaderboardRow]
    few: bool
    one_patient: bool
    metrics: plots.Numbers
    protocols: plots.Numbers | None
    pooled: list[str]
    structures: StructureTable | None
    clicks: plots.Numbers | None
    plots: list[plots.Plot]
    ranking: RankingPart | None


@dataclass(frozen=True)
class DatasetPart:
    """One data set: its tables, the degradation curves and the gallery."""

    name: str
    slug: str
    title: str
    synthetic: bool
    facts: list[tuple[str, str]]
    groups: list[GroupPart]
    degradations: list[degradation.Degradation]
    strips: list[Strip]
    strips_left_out: int


@dataclass(frozen=True)
class Download:
    """A file inside the page."""

    name: str
    uri: str
    size: int


def write_report(run: Path, output: Path, *, title: str | None = None) -> Path:
    """Write the report of a run.

    Equal result files give equal bytes: dates come from the provenance, never from the clock.

    Args:
        run: folder of a matrix, or of one cell; only result files are read.
        output: the HTML file; its folder is made.
        title: heading; None for the matrix's name or the folder's.

    Returns:
        `output`.

    Raises:
        InputError: when the run holds no finished cell, a file is damaged, or `output` cannot be written.
    """
    results, plan = read_run(run), read_plan(run)
    write_text(output, render(results, plan, title=title or plan.name or run.resolve().name))
    return output


def render(results: Sequence[CellResult], plan: Plan, *, title: str) -> str:
    """The page as text."""
    groups = make_groups(results)
    parts = [_dataset_part(same, n) for n, same in enumerate(by_dataset(groups), start=1)]
    pages = environment()
    pages.filters.update(number=number, magnitude=tables.magnitude, percent=_percent, why=why_no_interval)
    trained = [c for c in results if c.training]
    curves = [(c, plots.training_plot(c, f"training-{n}")) for n, c in enumerate(trained)]
    page = pages.get_template("report.html.j2").render(
        title=title,
        sentence=statements.what_was_run(results, plan),
        finished=max(c.record.provenance.finished for c in results),
        shows=statements.what_it_shows(groups),
        cannot=statements.what_it_cannot_show(results, groups, plan),
        datasets=parts,
        consensus=consensus_tables(groups),
        transfer=transfer.transfer_table(groups),
        ablations=ablation.ablation_tables(groups),
        failure_parts=failure_parts(groups),
        lesion_parts=lesion_parts(groups),
        calibration_parts=calibration_parts(groups),
        volume_parts=volume_parts(groups),
        spread_parts=spread_parts(groups),
        costs=tables.cost_rows(groups),
        cost_overviews=[(s[0].key.dataset, p) for s in by_dataset(groups) if (p := plots.cost_overview(s)) is not None],
        curves=[(c, plot) for c, plot in curves if plot is not None],
        plan=plan,
        case_failures=tables.case_failures(results),
        case_notes=tables.case_notes(results),
        undefined=tables.undefined_rows(groups),
        results=results,
        provenance=plan.provenance or results[0].record.provenance,
        common=_common(results),
        fallbacks=_fallbacks(results, plan),
        downloads=_downloads(results, groups),
        fidelity_words=FIDELITY_WORDS,
        kind_words=figures.KIND_WORDS,
        few=FEW,
    )
    return "\n".join(line.rstrip() for line in page.splitlines() if line.strip()) + "\n"


def _dataset_part(groups: list[Group], position: int) -> DatasetPart:
    some = (groups[0].entrants or groups[0].humans)[0]
    info = some.record.dataset_info
    key = groups[0].key
    strips, left_out = gallery(groups)
    worse, silent = degradation.worse_prompts(groups), interaction.unprompted(groups)
    wanted = (("licence", "licence"), ("modality", "modality"), ("doi", "DOI"))
    return DatasetPart(
        name=key.dataset,
        slug=f"dataset-{position}",
        title=str(info.get("title") or key.dataset),
        synthetic=bool(info.get("synthetic")),
        facts=[("mask", key.roi), *((word, str(info[k])) for k, word in wanted if info.get(k))],
        groups=[_group_part(g, worse, silent) for g in groups],
        degradations=degradation.degradations(groups, f"dataset-{position}"),
        strips=strips,
        strips_left_out=left_out,
    )


def _group_part(group: Group, worse: Collection[str], silent: Mapping[str, Entrant]) -> GroupPart:
    rows = tables.leaderboard(group)
    entrants = group.entrants or group.humans
    patients = [r.primary.patients for r in rows]
    drawn = [interaction.rounds_plot(group, silent), plots.case_plot(group, rows)]
    exact = not group.key.jitter_mm and group.key.prompt not in worse
    if exact:
        # Worse prompts have the degradation curve; their other plots would repeat those of the exact ones.
        drawn += [plots.volume_plot(group, rows), plots.cost_plot(group)]
    return GroupPart(
        group=group,
        ledger=ledger_words(p for e in entrants for p in e.predictions),
        level_words=LEVEL_WORDS[group.key.level],
        columns=tables.metric_columns(group),
        rows=rows,
        humans=tables.human_rows(group),
        few=any(1 < n < FEW for n in patients),
        one_patient=bool(patients) and max(patients) == 1,
        metrics=_metric_numbers(group, rows),
        protocols=_protocol_numbers(group, rows),
        pooled=[p for p in _protocols(group.entrants) if _mean_of_cases(p) is None],
        structures=structure_table(group),
        clicks=interaction.clicks_table(group),
        plots=[plot for plot in drawn if plot is not None],
        ranking=ranking_part(group) if exact else None,
    )


def _metric_numbers(group: Group, rows: Sequence[LeaderboardRow]) -> plots.Numbers:
    """Every metric of every row with its interval."""
    columns = [c for c in tables.every_metric(group) if not of_probabilities(c.metric)]
    by_label = {e.label: e for e in (*group.entrants, *group.humans)}
    lines = []
    for label in [r.label for r in rows] + [e.label for e in group.humans]:
        estimates = [(c, summary_of(by_label[label], c.metric)) for c in columns]
        cells = [Shown(e.mean, number(e.mean, c.unit), bounds(e)) for c, e in estimates]
        lines.append((tables.named(by_label[label]), *cells))
    return plots.Numbers(("model", *(c.metric for c in columns)), tuple(lines))


def _protocol_numbers(group: Group, rows: Sequence[LeaderboardRow]) -> plots.Numbers | None:
    """Mean of the primary metric under every scoring rule that was run, and the spread; None when there is one.

    Results hold one score a case, so a rule that pools the voxels of all cases has no column.
    """
    by_label = {e.label: e for e in group.entrants}
    entrants = [by_label[row.label] for row in rows]
    if len(_protocols(entrants)) < 2:
        return None
    protocols = [p for p in _protocols(entrants) if _mean_of_cases(p) is not None]
    lines = []
    for entrant in entrants:
        means = [summary_of(entrant.under(protocol), PRIMARY).mean for protocol in protocols]
        defined = [mean for mean in means if mean is not None]
        spread = max(defined) - min(defined) if defined else None
        lines.append((tables.named(entrant), *(Shown(v, number(v)) for v in (*means, spread))))
    return plots.Numbers(("model", *(_mean_of_cases(p) or p for p in protocols), "spread"), tuple(lines))


def _protocols(entrants: Sequence[Entrant]) -> list[str]:
    return list(dict.fromkeys(p for e in entrants for p in e.protocols))


def _mean_of_cases(name: str) -> str | None:
    """What the mean over cases of a rule's scores is called; None when the rule has no such mean.

    A rule that averages slices over all cases becomes its `@case` form. Rules of others keep their name.
    """
    try:
        rule = protocol(name)
    except InputError:
        return name
    if rule.pool == "voxels":
        return None
    return f"{name}@case" if rule.pool == "units" and rule.unit == "slice" else name


def _common(results: Sequence[CellResult]) -> Provenance | None:
    """The provenance whose versions and machine all cells share; None when they differ."""
    first = results[0].record.provenance
    same = all(
        (c.record.provenance.versions, c.record.provenance.machine) == (first.versions, first.machine) for c in results
    )
    return first if same else None


def _fallbacks(results: Sequence[CellResult], plan: Plan) -> list[str]:
    """Everything that was done differently from what was asked, each once."""
    held = [*([plan.provenance] if plan.provenance else []), *(c.record.provenance for c in results)]
    return list(dict.fromkeys(f for provenance in held for f in provenance.fallbacks))


def _downloads(results: Sequence[CellResult], groups: Sequence[Group]) -> list[Download]:
    texts = {
        "scores.csv": downloads.scores_csv(results),
        "leaderboard.csv": downloads.leaderboard_csv(groups),
        "structures.csv": downloads.structures_csv(groups),
        "rounds.csv": downloads.dicts_csv(interaction.rows(results)),
        "transfer.csv": downloads.dicts_csv(transfer.transfer_rows(groups)),
        "ablation.csv": downloads.dicts_csv(ablation.ablation_rows(groups)),
        "degradation.csv": downloads.dicts_csv(degradation.rows(by_dataset(groups))),
        "cost.csv": downloads.rows_csv(tables.cost_rows(groups)),
        "undefined.csv": downloads.rows_csv(tables.undefined_rows(groups)),
    }
    return [_download(name, text) for name, text in texts.items() if text]


def _download(name: str, text: str) -> Download:
    content = text.encode()
    return Download(name, "data:text/csv;base64," + base64.b64encode(content).decode(), len(content))


def _percent(share: float) -> str:
    return f"{100 * min(max(share, 0.0), 1.0):.1f}%"
