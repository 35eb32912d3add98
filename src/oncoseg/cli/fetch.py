"""`oncoseg fetch`: weights, data and packages into the user's cache."""

from __future__ import annotations

from typing import Annotated

import typer

from oncoseg.cli.show import print_table, say


def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(help="Weights, data sets or packages; none lists what there is.")
    ] = None,
) -> None:
    """Fetch weights, demo data and packages of their own once; afterwards everything works offline."""
    from oncoseg import registry
    from oncoseg.errors import UnknownNameError
    from oncoseg.fetch import cache_folder
    from oncoseg.weights.catalogue import entries, locate

    weights = {entry.id: entry for entry in entries() if entry.source.kind != "user"}
    infos = {n: registry.load("datasets", n).INFO for n in registry.names("datasets")}
    data = {name: info for name, info in infos.items() if info.downloads}
    modules = {name: registry.load("models", name) for name in registry.names("models")}
    packages = {name: module for name, module in modules.items() if hasattr(module, "install")}
    if not names:
        rows = [[w.id, "weights", w.licence, w.title] for w in weights.values()]
        rows += [[i.name, "data set", i.licence, f"{i.title}: {i.downloads}"] for i in data.values()]
        rows += [[n, "package", m.INFOS[0].licence, m.INSTALLS] for n, m in packages.items()]
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
        elif name in packages:
            say(f"{name}: ready, run by {packages[name].install(say)}")
        else:
            raise UnknownNameError("download", name, [*weights, *data, *packages])
