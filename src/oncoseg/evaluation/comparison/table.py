"""Scores of several models on the same cases: what may be paired, and what was left out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oncoseg.errors import InputError
from oncoseg.evaluation.statistics import Floats

Flags = NDArray[np.bool_]
#: What an undefined score means for a ranking: worse than every defined one, or the case is left out for all models.
Undefined = Literal["worst", "drop_case"]
UNDEFINED_WORDS = {
    "worst": "an undefined score counts as worse than every defined one",
    "drop_case": "a case that is undefined for one model is left out for all",
}


@dataclass(frozen=True, eq=False)
class Complete:
    """Patients times models, without holes.

    Attributes:
        models: names of the columns.
        patients: names of the rows.
        values: float64 (patients, models), finite; zero rows when nothing was left.
        dropped: cases left out, because a model has no defined score there.
    """

    models: tuple[str, ...]
    patients: tuple[str, ...]
    values: Floats
    dropped: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of patients."""
        return len(self.patients)


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Cases times models; every model was tried on every case.

    Attributes:
        models: names of the columns.
        cases: names of the rows.
        patients: whose each case is.
        values: float64 (cases, models); 0 where undefined.
        defined: bool (cases, models).
        not_shared: cases that only some of the models were tried on; they are not in the table.
    """

    models: tuple[str, ...]
    cases: tuple[str, ...]
    patients: tuple[str, ...]
    values: Floats
    defined: Flags
    not_shared: tuple[str, ...] = ()

    @property
    def undefined(self) -> dict[str, int]:
        """Model -> number of undefined scores, models without any left out."""
        counts = (~self.defined).sum(axis=0).tolist()
        return {model: n for model, n in zip(self.models, counts, strict=True) if n}

    def complete(self, models: Sequence[str] | None = None) -> Complete:
        """Cases defined for all of some models (None: all), averaged by patient."""
        columns = self._columns(models)
        kept: Flags = np.asarray(self.defined[:, columns].all(axis=1))
        return self._averaged(self.values[:, columns], kept, columns)

    def filled(self, undefined: Undefined, *, larger_is_better: bool) -> Complete:
        """Cases averaged by patient under a policy for undefined scores.

        `worst` puts the worst defined score of the whole table in place of an undefined one. Rankings of single cases
        put undefined scores after that one, see `ranking.rank_models`.
        """
        if undefined == "drop_case" or self.defined.all():
            return self.complete()
        found = self.values[self.defined]
        if not found.size:
            return Complete(self.models, (), np.zeros((0, len(self.models))), self.cases)
        worst = found.min() if larger_is_better else found.max()
        everyone = np.ones(len(self.cases), dtype=bool)
        return self._averaged(np.where(self.defined, self.values, worst), everyone, list(range(len(self.models))))

    def _columns(self, models: Sequence[str] | None) -> list[int]:
        names = self.models if models is None else models
        unknown = [name for name in names if name not in self.models]
        if unknown:
            raise InputError(f"No scores of {', '.join(unknown)}; the table holds {', '.join(self.models)}.")
        return [self.models.index(name) for name in names]

    def _averaged(self, values: Floats, kept: Flags, columns: Sequence[int]) -> Complete:
        rows: dict[str, list[int]] = {}
        for row in np.flatnonzero(kept).tolist():
            rows.setdefault(self.patients[row], []).append(row)
        # One case a patient needs no mean, and its value stays as it is to the last bit.
        means = [values[at[0]] if len(at) == 1 else values[at].mean(axis=0) for at in rows.values()]
        return Complete(
            models=tuple(self.models[n] for n in columns),
            patients=tuple(rows),
            values=np.array(means) if means else np.zeros((0, len(columns))),
            dropped=tuple(case for case, held in zip(self.cases, kept.tolist(), strict=True) if not held),
        )


def score_table(
    scores: Mapping[str, Mapping[str, float | None]], *, patients: Mapping[str, str] | None = None
) -> ScoreTable:
    """Put scores of several models side by side.

    Args:
        scores: model -> case -> value, None where it is undefined.
        patients: case -> patient; None takes each case as a patient. Cases of one patient are averaged in every
            comparison.

    Raises:
        InputError: for no model, no case that all models share, or a value that is NaN or infinite.
    """
    if not scores:
        raise InputError("There is no model to compare.")
    shared = [case for case in next(iter(scores.values())) if all(case in held for held in scores.values())]
    if not shared:
        raise InputError(f"{', '.join(scores)} have no case in common; compare models on the same cases.")
    rows = [[held[case] for held in scores.values()] for case in shared]
    if not all(value is None or math.isfinite(value) for row in rows for value in row):
        raise InputError("A score is NaN or infinite; undefined scores are None with a reason.")
    everywhere = dict.fromkeys(case for held in scores.values() for case in held)
    return ScoreTable(
        models=tuple(scores),
        cases=tuple(shared),
        patients=tuple(patients[case] if patients else case for case in shared),
        values=np.array([[0.0 if v is None else v for v in row] for row in rows], dtype=np.float64),
        defined=np.array([[v is not None for v in row] for row in rows]),
        not_shared=tuple(case for case in everywhere if case not in set(shared)),
    )
