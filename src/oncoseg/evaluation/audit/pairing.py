"""Cells that belong together by the labels they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from oncoseg.evaluation.audit.cells import TableCell
from oncoseg.evaluation.audit.facts import Where


def paired(
    first: Where, second: Where, left: Sequence[TableCell], right: Sequence[TableCell]
) -> list[tuple[TableCell, TableCell]]:
    """Each cell of `left` with the one of `right` that shares every label for which neither prescribes one name.

    Args:
        first: what chose `left`.
        second: what chose `right`.
        left: cells; those without a partner are left out.
        right: cells.
    """
    free = [f.name for f in fields(Where) if not first.fixes(f.name) and not second.fixes(f.name)]
    by_label = {tuple(getattr(c.printed, name) for name in free): c for c in right}
    keys = [tuple(getattr(c.printed, name) for name in free) for c in left]
    return [(c, by_label[key]) for c, key in zip(left, keys, strict=True) if key in by_label]
