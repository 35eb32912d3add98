"""`oncoseg models | datasets | metrics | prompts`: what there is, for people and as JSON."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Any

import typer

from oncoseg.cli.show import print_entries, print_json

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def models(
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the README.")] = False,
) -> None:
    """List the models: size, prompts, paper, licence, how faithful each is."""
    entries = model_entries()
    if as_json:
        print_json(entries)
        return
    if markdown:
        print(markdown_table(entries))
        return
    print_entries([(_names(e), _model_facts(e), e["summary"]) for e in entries])


def _names(entry: dict[str, Any]) -> str:
    return ", ".join(f"{entry['name']}.{v}" for v in entry["variants"]) or str(entry["name"])


def _model_facts(entry: dict[str, Any]) -> list[str]:
    size = f"{entry['parameters']:,} parameters" if entry["parameters"] else ""
    prompts = f"prompts: {_prompts(entry)}"
    return [entry["dimension"], size, prompts, entry["fidelity"], "trainable" if entry["trainable"] else ""]


def _prompts(entry: dict[str, Any]) -> str:
    taken = ", ".join(entry["prompts"]) or "none needed"
    return f"{taken} or none" if entry["prompts_optional"] else taken


def model_entries() -> list[dict[str, Any]]:
    """One entry a model, or one a variant where counts differ."""
    from oncoseg import registry
    from oncoseg.config import plain
    from oncoseg.experiments.recipes import recipes_of

    entries = []
    for name in registry.names("models"):
        infos = registry.load("models", name).INFOS
        for _, alike in groupby(infos, key=lambda i: (i.parameters, i.trainable_parameters, i.dimension, i.fidelity)):
            group = list(alike)
            first = {**plain(group[0]), "variants": [i.variant for i in group if i.variant]}
            first.pop("variant")
            first["recipes"] = plain(recipes_of(group[0].full_name))
            entries.append(first)
    return entries


def markdown_table(entries: list[dict[str, Any]]) -> str:
    """The README's table of models, one row an entry."""
    lines = ["| name | what | parameters | input | prompts | fidelity |", "|---|---|---|---|---|---|"]
    for e in entries:
        names = ", ".join(f"`{n}`" for n in _names(e).split(", "))
        paper = f" ([paper](https://doi.org/{e['doi']}))" if e["doi"] else ""
        prompts = _prompts(e)
        size = f"{e['parameters']:,}" if e["parameters"] else "-"
        lines.append(f"| {names} | {e['summary']}{paper} | {size} | {e['dimension']} | {prompts} | {e['fidelity']} |")
    return "\n".join(lines)


def datasets(as_json: AsJson = False) -> None:
    """List the data sets: what they hold, what they need, under which licence."""
    from oncoseg import registry
    from oncoseg.config import plain

    infos = [registry.load("datasets", name).INFO for name in registry.names("datasets")]
    if as_json:
        print_json([plain(i) for i in infos])
        return
    print_entries([(i.name, [i.modality, i.licence, "synthetic" if i.synthetic else ""], i.summary) for i in infos])


def metrics(as_json: AsJson = False) -> None:
    """List the metrics: unit, direction, definition; and the scoring protocols."""
    from oncoseg import registry

    found = [_metric_entry(registry.load("metrics", name)) for name in registry.names("metrics")]
    if as_json:
        print_json(found)
        return
    direction = {True: "higher is better", False: "lower is better", None: ""}
    print_entries([(m["name"], [m["unit"], direction[m["higher_is_better"]]], m["summary"]) for m in found])


def _metric_entry(module: Any) -> dict[str, Any]:
    described = getattr(module, "METRIC", None) or module.INFO
    return {key: getattr(described, key) for key in ("name", "unit", "higher_is_better", "summary")}


def prompts(as_json: AsJson = False) -> None:
    """List the prompt simulators: what they produce and where it comes from."""
    from oncoseg import registry
    from oncoseg.config import plain

    infos = [registry.load("prompts", name).INFO for name in registry.names("prompts")]
    if as_json:
        print_json([plain(i) for i in infos])
        return
    print_entries([(i.name, [", ".join(i.prompts), f"source: {i.source}"], i.summary) for i in infos])
