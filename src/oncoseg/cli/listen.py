"""`oncoseg listen`: receive studies, run a model on each, send the result back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from oncoseg.cli import archives
from oncoseg.cli.show import say

if TYPE_CHECKING:
    from oncoseg.cli.clinical import Choices
    from oncoseg.contracts import Model
    from oncoseg.io.dicom import Series
    from oncoseg.pacs.ledger import Ledger
    from oncoseg.pacs.peer import Security
    from oncoseg.prompt import Prompt
    from oncoseg.volume import Volume


def listen(
    model: Annotated[str, typer.Option(help="A name from `oncoseg models`, or a checkpoint, that needs no prompts.")],
    out: Annotated[Path, typer.Option(help="Folder for what is received, the results and the ledger.")],
    send_to: Annotated[str | None, typer.Option(help="Archive for the results: URL, or TITLE@host:port.")] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Automatic prompt for a model that needs one, such as lung_box.")
    ] = None,
    modality: Annotated[str, typer.Option(help="Of the images that are looked at.")] = "CT",
    weights: Annotated[Path | None, typer.Option(help="Your weights file; default: the catalogue's.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the model, name=value. Repeatable.")
    ] = None,
    roi: Annotated[str, typer.Option(help="Name of the ROI in the results.")] = "GTV",
    site: Annotated[str | None, typer.Option(help="Body site that is coded in them: lung, liver ...")] = None,
    threshold: Annotated[float, typer.Option(min=0.0, max=1.0, help="Probability above which is tumour.")] = 0.5,
    quiet: Annotated[float, typer.Option(min=0.0, help="Seconds without a new object: the study is complete.")] = 10.0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="To listen on; 0 lets the system choose.")] = 11112,
    bind: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    expose: Annotated[bool, typer.Option("--expose", help="Let other machines connect; needs --from.")] = False,
    callers: Annotated[
        list[str] | None, typer.Option("--from", help="Title that may send to us. Repeatable; default: all, locally.")
    ] = None,
    title: archives.Title = "ONCOSEG",
    tls: archives.Tls = False,
    ca: archives.Ca = None,
    certificate: archives.Certificate = None,
    key: archives.Key = None,
    credentials: archives.CredentialsFile = None,
) -> None:
    """Receive studies by DIMSE, segment the tumour on each, and keep or send back RTSTRUCT, SEG and SR.

    Everything is on disk before it is acknowledged: a listener that was killed goes on when it is started again. With
    --tls both sides are encrypted; --certificate and --key are then ours.
    """
    from oncoseg.cli.clinical import Choices
    from oncoseg.cli.settings import open_model
    from oncoseg.config import parse_settings
    from oncoseg.errors import InputError
    from oncoseg.files import require_writable
    from oncoseg.pacs.ledger import LEDGER, Ledger
    from oncoseg.pacs.opening import require_libraries
    from oncoseg.pacs.peer import require_aet

    require_libraries()
    from oncoseg.pacs.inbox import Inbox
    from oncoseg.pacs.listening import RECEIVED, Desk, Task
    from oncoseg.pacs.receiver import Receiver, require_exposed

    allowed = tuple(require_aet(caller) for caller in callers or [])
    require_exposed(bind, exposed=expose, callers=allowed)
    if tls and certificate is None:
        raise InputError("--tls needs our --certificate (and --key): callers check it.")
    protected = archives.security(credentials, tls=tls, ca=ca, certificate=certificate, key=key)
    require_writable(out / LEDGER)
    wanted = _Result(model, weights, roi, threshold, Choices(site=site, allow_empty=True))
    chosen = open_model(model, weights, parse_settings(settings or []), trained=True)
    propose = _proposer(chosen, prompt)
    ledger = Ledger(out / LEDGER)
    send = None if send_to is None else _sender(send_to, protected, title, ledger)
    maker = [chosen.info.full_name, wanted.weights_sha256(chosen), str(settings), str(prompt), wanted.told]
    task = Task(_answerer(chosen, propose, wanted), send, modality, "\n".join(maker))
    receiver = Receiver(
        Inbox(out / RECEIVED, ledger), require_aet(title), callers=allowed, security=protected if tls else None
    )
    taken = receiver.start(bind, port)
    say(f"{chosen.info.full_name} listens as {title}@{bind}:{taken}{' (TLS)' if tls else ''}; results in {out}")
    desk = Desk(out, task, quiet_s=quiet, last=receiver.last, sending=receiver.sending, say=say)
    try:
        _until_stopped(desk.work)
    finally:
        receiver.stop()
    say("stopped; the same command goes on with what is here")


def _until_stopped(work: Callable[[], int], every_s: float = 0.5) -> None:
    """Work again and again until the process is asked to end."""
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    while not stopped.is_set():
        work()
        stopped.wait(every_s)


def _proposer(model: Model, prompt: str | None) -> Callable[[Volume], list[Prompt]]:
    """Makes the prompts of an image; none for a model that answers without."""
    import numpy as np

    from oncoseg import registry
    from oncoseg.contracts import Proposer
    from oncoseg.errors import InputError

    if prompt is None:
        if model.info.prompts and not model.info.prompts_optional:
            raise InputError(
                f"{model.info.full_name} needs to be told where to look, and nobody sits here. Choose a model that "
                "answers by itself (`oncoseg models`), or an automatic prompt: --prompt lung_box."
            )
        return lambda image: []
    made = registry.load("prompts", prompt).build()
    if not isinstance(made, Proposer):
        raise InputError(f"{prompt} makes prompts from a reference, and a new study has none. Take lung_box.")
    return lambda image: list(made.propose(image, np.random.default_rng(0)))


@dataclass(frozen=True)
class _Result:
    """What results are called, and how they are made: model and weights as they were given on the command line."""

    model: str
    weights: Path | None
    roi: str
    threshold: float
    choices: Choices

    @property
    def told(self) -> str:
        """What makes another result of the same prediction."""
        return f"{self.roi} {self.threshold} {self.choices.site}"

    def weights_sha256(self, chosen: Model) -> str:
        """Of the file that the model was loaded from; "" when there is none."""
        from oncoseg.cli.clinical import made_by_model

        return made_by_model(chosen.info.full_name, self.model, self.weights, []).weights_sha256


def _answerer(
    model: Model, propose: Callable[[Volume], list[Prompt]], wanted: _Result
) -> Callable[[Series, Path], tuple[Sequence[Path], Mapping[str, Any]]]:
    """What segments a series and writes RTSTRUCT, SEG and SR, all or none; errors of a model end no listener."""

    def answer(series: Series, place: Path) -> tuple[Sequence[Path], Mapping[str, Any]]:
        from oncoseg.errors import OncosegError, PartialFailureError
        from oncoseg.experiments.predicting import CASE_ERRORS

        try:
            return _answered(model, propose, wanted, series=series, place=place)
        except OncosegError:
            raise
        except CASE_ERRORS as error:
            raise PartialFailureError(f"{model.info.full_name} failed ({type(error).__name__}).") from error

    return answer


def _answered(
    model: Model, propose: Callable[[Volume], list[Prompt]], wanted: _Result, *, series: Series, place: Path
) -> tuple[Sequence[Path], Mapping[str, Any]]:
    from oncoseg.cli.clinical import Targets, made_by_model, write_clinical
    from oncoseg.io.dicom_reference import open_reference
    from oncoseg.io.structures import Structure

    reference = open_reference(series.files[0])
    image = reference.image()
    prompts = propose(image)
    probability = model.predict(image, prompts)
    image.require_same_grid(probability, f"image and prediction of {model.info.full_name}")
    probability.require_finite(f"The prediction of {model.info.full_name}")
    inside = probability.with_voxels(probability.voxels > wanted.threshold)
    made_by = made_by_model(model.info.full_name, wanted.model, wanted.weights, prompts)
    targets = Targets(place / "rtstruct.dcm", place / "seg.dcm", place / "sr.dcm")
    tumour = Structure(wanted.roi, inside, "GTV")
    write_clinical([tumour], reference, made_by, targets=targets, choices=wanted.choices)
    millilitres = float(inside.voxels.sum()) * image.voxel_volume_mm3 / 1000
    return targets.files, {"series": series.uid, "made_by": made_by.sentence, "millilitres": round(millilitres, 3)}


def _sender(peer: str, security: Security, title: str, ledger: Ledger) -> Callable[[Sequence[Path]], None]:
    from oncoseg.errors import PartialFailureError
    from oncoseg.pacs.opening import open_archive
    from oncoseg.pacs.pushing import outgoing, push

    archive = open_archive(peer, security, title)

    def send(files: Sequence[Path]) -> None:
        done = push(archive, outgoing(files), ledger, archives.patience(3))
        for file, reason in done.refused.items():
            raise PartialFailureError(f"{archive.name} refused {file.name}: {reason}.")

    return send
