"""Bright balls on a dark ground with halves as lungs, drawn by three readers; cases broken or empty on request."""

import hashlib

import numpy as np

from oncoseg.case import Case
from oncoseg.contracts import DatasetInfo, Entry
from oncoseg.errors import FetchError, InputError
from oncoseg.volume import Volume

INFO = DatasetInfo("toy_balls", "Toy balls", "Balls.", "CC0", None, "CT", synthetic=True, warning="These are toys.")


class ToyBalls:
    info = INFO

    def __init__(self, cases, broken, empty, offline, one_lung, first, people):
        self.cases, self.broken, self.empty, self.offline = cases, broken, empty, offline
        self.one_lung, self.first, self.people = one_lung, first, people

    def entries(self):
        return [Entry(f"ball-{n}", f"{self.people}-{n}") for n in range(self.first, self.first + self.cases)]

    def load(self, case):
        if self.offline:
            raise FetchError("no network for the toys")
        if case in self.broken:
            raise InputError(f"{case}.nii.gz is cut off")
        number = int(case.removeprefix("ball-"))
        rng = np.random.default_rng(number)
        centre, radius = 5 + rng.uniform(-1, 1, 3), 0.0 if case in self.empty else 3.0 + 0.3 * (number % 3)
        distance = np.linalg.norm(np.indices((10, 12, 12)).transpose(1, 2, 3, 0) - centre, axis=-1)
        image = Volume.from_spacing(rng.normal(-800, 20, distance.shape).astype(np.float32), (2.0, 1.0, 1.0))
        image.voxels[distance < radius] += 800
        masks = {f"reader_{n}": image.with_voxels(distance < radius + d) for n, d in ((1, -0.5), (2, 0.0), (3, 0.6))}
        masks["lung_right"] = image.with_voxels(np.indices(distance.shape)[2] < 6)
        if case not in self.one_lung:
            masks["lung_left"] = image.with_voxels(~masks["lung_right"].voxels)
        facts = {"radius_mm": radius}
        masks["tumour"] = image.with_voxels(distance < radius)
        return Case(case, f"{self.people}-{number}", image, masks, facts)

    def fingerprint(self):
        return hashlib.sha256(repr((self.cases, self.broken, self.empty, self.first, self.people)).encode()).hexdigest()


def build(*, cases=3, broken=(), empty=(), offline=False, one_lung=(), first=0, people="patient"):
    return ToyBalls(cases, tuple(broken), tuple(empty), offline, tuple(one_lung), first, people)
