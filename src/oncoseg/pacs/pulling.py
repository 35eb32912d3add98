"""Objects from an archive into a folder: only those that are not there, each whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from oncoseg.errors import FetchError
from oncoseg.files import require_writable
from oncoseg.pacs.archive import Archive, Instance, Query, RefusedError, SeriesFound
from oncoseg.pacs.inbox import Inbox
from oncoseg.pacs.ledger import LEDGER, Ledger, Line
from oncoseg.pacs.retry import Patience


@dataclass
class Pulled:
    """What a pull did.

    Attributes:
        series: that fit the query.
        fetched: objects that came now.
        there: objects that were here, whole.
        refused: SOPInstanceUID -> why it is not here.
        folders: of the series, in order.
    """

    series: int
    fetched: int
    there: int
    refused: dict[str, str]
    folders: list[Path]


def pull(archive: Archive, query: Query, out: Path, patience: Patience | None = None) -> Pulled:
    """Fetch every object of the series that fit.

    Objects lie in `STUDY/SERIES/OBJECT.dcm` under `out`, named by hashes of their identifiers; the ledger is
    `ledger.jsonl`. What is there, whole and as it came, is not fetched again, so a pull that was cut off or killed goes
    on where it was.

    Args:
        archive: where from.
        query: which.
        out: where to.
        patience: how often failing transfers are tried.

    Returns:
        The counts; nothing of series that do not exist.

    Raises:
        FetchError: when the archive is out of reach or refuses the query.
        InputError: when files cannot be written.
    """
    patience = patience or Patience()
    require_writable(out / LEDGER)
    inbox = Inbox(out, Ledger(out / LEDGER))
    found = patience.until_done(lambda: archive.find(query), what=archive.name)
    done = Pulled(len(found), 0, 0, {}, [])
    for series in found:
        patience.say(f"{archive.name}: {series.modality or 'series'} {series.series}")
        _pull_series(archive, series, inbox, patience=patience, done=done)
    return done


def _pull_series(archive: Archive, series: SeriesFound, inbox: Inbox, *, patience: Patience, done: Pulled) -> None:
    listed = patience.until_done(lambda: archive.instances(series), what=archive.name)
    missing = {instance.sop: instance for instance in listed if not inbox.has(instance)}
    for instance in listed:
        if instance.sop not in missing:
            inbox.enter(instance, archive.name)
    done.there += len({i.sop for i in listed}) - len(missing)
    wanted = len(missing)
    _fetch_all(archive, missing, inbox, patience=patience, refused=done.refused)
    done.fetched += wanted - sum(sop in done.refused for sop in {i.sop for i in listed})
    if listed:
        done.folders.append(inbox.path(listed[0]).parent)


def _fetch_all(
    archive: Archive, missing: dict[str, Instance], inbox: Inbox, *, patience: Patience, refused: dict[str, str]
) -> None:
    """Fetch until nothing is missing: objects that cannot be had are set aside, one after the other."""

    def keep_of(expected: dict[str, Instance]) -> Callable[[bytes], None]:
        def keep(content: bytes) -> None:
            found = inbox.keep(content, archive.name)
            expected.pop(found.sop, None)

        return keep

    def step() -> None:
        archive.fetch(list(missing.values()), keep_of(missing))

    total = len(missing)
    while missing:
        try:
            patience.until_done(step, progress=lambda: total - len(missing), what=archive.name)
            reason = "the archive lists it and does not send it"
            lost = list(missing.values())
        except FetchError as error:
            if not isinstance(error.__cause__, RefusedError):
                raise
            reason, lost = str(error.__cause__), [next(iter(missing.values()))]
        for instance in lost:  # in the order that they were asked for in, so the first one is what it failed at
            refused[instance.sop] = reason
            del missing[instance.sop]
            inbox.ledger.add(
                Line("in", archive.name, instance.study, instance.series, instance.sop, "refused", reason=reason)
            )
