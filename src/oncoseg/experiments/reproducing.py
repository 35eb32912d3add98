"""The tables of three papers as matrices: one file each in `reproduce/`, data found by how they lie on disk.

`reproduce/<paper>/<name>.full.toml` is the paper's protocol, `<name>.smoke.toml` the same cells with networks as small
as possible on phantoms. Both are matrices that `oncoseg bench` runs too. `real.smoke.toml` holds data sets that take
the place of phantoms of the same id where they are found, `sources.toml` says what each data set looks like.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from oncoseg.config import fill, load_toml, plain
from oncoseg.errors import ConfigError, InputError, UnknownNameError
from oncoseg.evaluation.published import Paper
from oncoseg.experiments.matrix import Cell, Matrix, cell_text, load_matrix
from oncoseg.experiments.specs import DatasetSpec

Scale = Literal["smoke", "full"]

#: How deep below `--data` a data set may lie.
DEPTH = 4
#: Name of the file of data sets that take the place of phantoms.
REAL = "real.smoke.toml"


@dataclass(frozen=True)
class Source:
    """How a data set is recognised, and where it comes from.

    Attributes:
        title: what it is.
        holds: patterns below its folder, one of which must be there.
        where: who gives it, by name.
        cases: labelled cases that are expected in it; 0 when that is not known.
        called: pattern of the folder's own name; "*" for any.
    """

    title: str
    holds: tuple[str, ...]
    where: str
    cases: int = 0
    called: str = "*"

    def lies_in(self, folder: Path) -> bool:
        """Whether a folder looks like it."""
        return folder.match(self.called) and any(next(folder.glob(pattern), None) for pattern in self.holds)


@dataclass(frozen=True)
class Gathered:
    """Several matrix files of one paper, to be run one after the other into one folder, which shares equal cells.

    Attributes:
        matrices: all their cells, equal ones once: those whose cost is measured first, then the others.
        told: sentences on the data sets: where they were found, what takes their place.
        missing: a sentence for every data set that was not found.
        begins_with: model -> id of the weights that its cells begin with.
    """

    matrices: tuple[Matrix, ...]
    told: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    begins_with: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def require_data(self) -> None:
        """Raise InputError when a data set was not found; names each and where to get it."""
        if self.missing:
            raise InputError(
                "The paper's data are not all there.\n"
                + "\n".join(f"  {sentence}" for sentence in self.missing)
                + "\nGive --data the folder that holds them, in any subfolders, or see what would run with --dry-run."
            )

    def untouched(self) -> list[Cell]:
        """The cells, planned without looking for weights or data, as for an estimate."""
        cells: dict[str, Cell] = {}
        for matrix in self.matrices:
            blocks = tuple(dataclasses.replace(block, weights=None) for block in matrix.cells)
            planned = dataclasses.replace(matrix, cells=blocks).plan()
            cells |= {cell_text(dataclasses.replace(cell, cost=True)): cell for cell in planned}
        return list(cells.values())


def room() -> Path:
    """The folder of the matrix files, of this checkout or of the installed package."""
    return Path(str(files("oncoseg.experiments") / "reproduce"))


def matrix_names(paper: Paper) -> tuple[str, ...]:
    """Names of a paper's matrix files, sorted, e.g. `II` and `III`."""
    return tuple(sorted(p.name.removesuffix(".full.toml") for p in (room() / paper).glob("*.full.toml")))


def matrix_file(paper: Paper, name: str, scale: Scale) -> Path:
    """One matrix file.

    Raises:
        UnknownNameError: when the paper has none of that name.
    """
    if name not in matrix_names(paper):
        raise UnknownNameError(f"matrix of {paper}", name, matrix_names(paper))
    return room() / paper / f"{name}.{scale}.toml"


@cache
def sources() -> dict[str, Source]:
    """How data sets lie on disk, by the name that stands as `root` in the matrix files."""
    held = load_toml(room() / "sources.toml")
    return {name: fill(Source, values, f"sources.toml [{name}]") for name, values in held.items()}


def gather(
    paper: Paper,
    names: Sequence[str],
    scale: Scale,
    *,
    data: Path | None = None,
    overrides: Iterable[str] = (),
) -> Gathered:
    """Matrix files of a paper as one matrix with the user's data.

    Cells that stand in several files are one cell. Files of one scale must agree on metrics, rules and data sets.

    Args:
        paper: which paper.
        names: of its matrix files.
        scale: `smoke` or `full`.
        data: folder that holds the data sets, at any place below it.
        overrides: as for `oncoseg bench --set`; those of data sets that a file does not have are passed over.

    Raises:
        InputError: when `data` is no folder.
        ConfigError: when files do not fit together.
    """
    if data is not None and not data.is_dir():
        raise InputError(f"--data {data} is not a folder.")
    found = [load_matrix(file, _fitting(file, overrides)) for file in (matrix_file(paper, n, scale) for n in names)]
    _require_fit(paper, scale, found)
    specs = {identifier: spec for matrix in found for identifier, spec in matrix.dataset.items()}
    told: list[str] = []
    if scale == "smoke":
        specs, told = _with_real(paper, specs, data)
    missing: list[str] = []
    for identifier, spec in specs.items():
        specs[identifier], sentence = _placed(spec, data)
        missing += [sentence] if sentence else []
        if specs[identifier].options != spec.options:
            told.append(f"{identifier}: {_source_of(spec.options)} in {_source_of(specs[identifier].options)}")
    joined = [_joined(f"{paper}-{scale}", [m for m in found if m.cost is cost], specs) for cost in (True, False)]
    matrices = tuple(matrix for matrix in joined if matrix is not None)
    begins = {name: str(b.weights) for m in found for b in m.cells for name in b.model if b.weights is not None}
    return Gathered(matrices, tuple(dict.fromkeys(told)), tuple(dict.fromkeys(missing)), begins)


def find(name: str, data: Path | None) -> Path | None:
    """The folder of a data set below `data`, the nearest first; None when there is none.

    Raises:
        UnknownNameError: when `sources.toml` does not describe it.
    """
    if name not in sources():
        raise UnknownNameError("data set of the papers", name, sources())
    if data is None:
        return None
    return next((folder for folder in _folders(data) if sources()[name].lies_in(folder)), None)


def _folders(data: Path) -> Iterator[Path]:
    """A folder and those below it, breadth first; what hides behind a point is passed over."""
    waiting = deque([(data.resolve(), 0)])
    while waiting:
        folder, depth = waiting.popleft()
        yield folder
        if depth < DEPTH:
            inner = sorted(f for f in folder.iterdir() if f.is_dir() and not f.name.startswith("."))
            waiting.extend((f, depth + 1) for f in inner)


def _placed(spec: DatasetSpec, data: Path | None) -> tuple[DatasetSpec, str]:
    """The data set with the folder it was found in, and what is to be said when it was not."""
    name = _source_of(spec.options)
    if name not in sources():
        return spec, ""
    folder, source = find(name, data), sources()[name]
    if folder is not None:
        return dataclasses.replace(spec, options=_lying_in(spec.options, name, folder)), ""
    looked = "no --data was given" if data is None else f"none below {data}"
    holds = " or ".join(source.holds)
    called = "" if source.called == "*" else f" called {source.called}"
    return spec, f"{name}: {source.title}; a folder{called} with {holds}, {looked}. Get it from {source.where}."


def _source_of(options: Mapping[str, Any]) -> str:
    """The `root` among options, or among those of a data set that another is made from; empty without one."""
    parts = (value for value in options.values() if isinstance(value, Mapping))
    return str(options.get("root", "")) or next((found for part in parts if (found := _source_of(part))), "")


def _lying_in(options: Mapping[str, Any], name: str, folder: Path) -> dict[str, Any]:
    """The options with the folder where the name of a source stands as `root`."""
    own = {
        key: _lying_in(value, name, folder) if isinstance(value, Mapping) else value for key, value in options.items()
    }
    return {**own, "root": str(folder)} if own.get("root") == name else own


def _with_real(
    paper: Paper, specs: Mapping[str, DatasetSpec], data: Path | None
) -> tuple[dict[str, DatasetSpec], list[str]]:
    """Real cases in place of phantoms of the same id, where they are found."""
    source = room() / paper / REAL
    found, told = dict(specs), []
    for identifier, values in load_toml(source)["dataset"].items() if source.exists() else ():
        if identifier in found:
            spec, missing = _placed(fill(DatasetSpec, values, f"{source.name} [dataset.{identifier}]"), data)
            name = _source_of(values["options"])
            if missing:
                told.append(f"{identifier}: a phantom, for {name} was not found")
            else:
                found[identifier] = spec
                told.append(f"{identifier}: real cases, {name} in {_source_of(spec.options)}")
    return found, told


def _require_fit(paper: Paper, scale: Scale, found: Sequence[Matrix]) -> None:
    specs: dict[str, DatasetSpec] = {}
    for matrix in found:
        for field in ("metrics", "protocol", "seed"):
            if getattr(matrix, field) != getattr(found[0], field):
                raise ConfigError(f"{paper}, {scale}: {matrix.name} and {found[0].name} differ in {field}.")
        for identifier, spec in matrix.dataset.items():
            if plain(specs.setdefault(identifier, spec)) != plain(spec):
                raise ConfigError(f"{paper}, {scale}: two files describe the data set {identifier} differently.")


def _joined(name: str, found: Sequence[Matrix], specs: Mapping[str, DatasetSpec]) -> Matrix | None:
    if not found:
        return None
    blocks = {repr(block): block for matrix in found for block in matrix.cells}
    wanted = {i: specs[i] for matrix in found for i in matrix.dataset}
    return dataclasses.replace(found[0], name=name, dataset=wanted, cells=tuple(blocks.values()))


def _fitting(file: Path, overrides: Iterable[str]) -> list[str]:
    """Overrides without those of data sets that the file does not have."""
    held: Mapping[str, Any] = load_toml(file).get("dataset", {})
    parts = [(setting, setting.partition("=")[0].split(".")) for setting in overrides]
    return [setting for setting, names in parts if names[0] != "dataset" or names[1] in held]
