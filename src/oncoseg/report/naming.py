"""What sets models of one name apart, in words."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from oncoseg.experiments.store import CellRecord, CellResult
from oncoseg.report.groups import label_cells

#: Longest description in place of a piece of a key.
_LONGEST = 60


def names_in_words(results: Sequence[CellResult]) -> dict[str, str]:
    """Label of the report's tables -> name, for labels that end in a piece of a key.

    The name says which options and settings of the training differ from the others of that name. Labels whose
    differences lie elsewhere (code, weights), or take too many words, are left out.

    Example:
        "gtv_samgan #1f3c" and "gtv_samgan #90ab" -> "gtv_samgan, gan false" and "gtv_samgan, gan true"
    """
    labels = label_cells(results)
    same: defaultdict[str, dict[str, CellRecord]] = defaultdict(dict)
    for cell in results:
        label = labels[cell.record.key]
        base = re.sub(r" #[0-9a-f]{4}$", "", label)
        if base != label:
            same[base].setdefault(label, cell.record)
    found: dict[str, str] = {}
    for base, records in same.items():
        words = {label: f"{base}, {text}" for label, text in _apart(records).items() if text}
        counts = Counter(words.values())
        found |= {label: text for label, text in words.items() if counts[text] == 1 and len(text) <= _LONGEST}
    return found


def _apart(records: Mapping[str, CellRecord]) -> dict[str, str]:
    """Label -> the options that not all of the records share; with settings of the training where options are equal."""
    options = _differences({label: _part(record, "options") for label, record in records.items()})
    if len(set(options.values())) == len(options):
        return options
    return _differences({label: _part(r, "options") | _part(r, "train") for label, r in records.items()})


def _differences(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """One that a model was not told is its default there, and is not named."""
    names = dict.fromkeys(name for held in settings.values() for name in held)
    differing = [n for n in names if len({repr(held.get(n)) for held in settings.values()}) > 1]
    return {
        label: ", ".join(f"{n.replace('_', ' ')} {_word(held[n])}" for n in differing if n in held)
        for label, held in settings.items()
    }


def _part(record: CellRecord, name: str) -> dict[str, Any]:
    held: dict[str, Any] = record.configuration.get(name) or {}
    return held


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
