"""`oncoseg models | datasets | metrics | prompts`: what there is, for people and as JSON."""

from __future__ import annotations

from itertools import groupby
from typing import Annotated, Any

import typer

from oncoseg.cli.show import print_json, print_table

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def models(as_json: AsJson = False) -> None:
    """List the models: size, prompts, paper, licence, how faithful each is."""
    entries = model_entries()
    if as_json:
        print_json(entries)
        return
    rows = [
        [
            e["name"],
            ", ".join(e["variants"]),
            f"{e['parameters']:,}",
            e["dimension"],
            ", ".join(e["prompts"]) or "automatic",
            e["fidelity"],
            e["licence"],
            e["summary"],
        ]
        for e in entries
    ]
    print_table("Models", ["name", "variants", "parameters", "dim", "prompts", "fidelity", "licence", "what"], rows)


def model_entries() -> list[dict[str, Any]]:
    """One entry a model, or one a variant where counts differ."""
    from oncoseg import registry
    from oncoseg.config import plain

    entries = []
    for name in registry.names("models"):
        infos = registry.load("models", name).INFOS
        for _, alike in groupby(infos, key=lambda i: (i.parameters, i.trainable_parameters, i.dimension, i.fidelity)):
            group = list(alike)
            first = {**plain(group[0]), "variants": [i.variant for i in group if i.variant]}
            first.pop("variant")
            entries.append(first)
    return entries


def datasets(as_json: AsJson = False) -> None:
    """List the data sets: what they hold, what they need, under which licence."""
    from oncoseg import registry
    from oncoseg.config import plain

    infos = [registry.load("datasets", name).INFO for name in registry.names("datasets")]
    if as_json:
        print_json([plain(i) for i in infos])
        return
    rows = [[i.name, i.title + (" (synthetic)" if i.synthetic else ""), i.modality, i.licence, i.summary] for i in infos]
    print_table("Data sets", ["name", "title", "modality", "licence", "what"], rows)


def metrics(as_json: AsJson = False) -> None:
    """List the metrics: unit, direction, definition; and the scoring protocols."""
    from oncoseg import registry

    found = [_metric_entry(registry.load("metrics", name)) for name in registry.names("metrics")]
    if as_json:
        print_json(found)
        return
    direction = {True: "higher is better", False: "lower is better", None: ""}
    rows = [[m["name"], m["unit"], direction[m["higher_is_better"]], m["summary"]] for m in found]
    print_table("Metrics", ["name", "unit", "direction", "what"], rows)


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
    print_table(
        "Prompt simulators",
        ["name", "prompts", "source", "what"],
        [[i.name, ", ".join(i.prompts), i.source, i.summary] for i in infos],
    )
