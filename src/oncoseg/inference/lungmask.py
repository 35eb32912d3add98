"""Lungs and lobes by the networks of lungmask (Hofmanninger et al. 2020), from weights files the user has.

Each axial slice is cropped to the body, scaled to 256 x 256 and classified; the volume of labels is then cleaned:
every label keeps one piece, and what breaks off goes to the neighbour it touches most. Same steps and constants as
the authors' package (Apache-2.0), so equal weights give equal masks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cc3d
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from oncoseg.errors import InputError
from oncoseg.inference.slices import axial_view
from oncoseg.nn.lungmask import LungUNet
from oncoseg.preprocess.lungs import LARGE_ML, Lungs
from oncoseg.volume import Volume
from oncoseg.weights.loading import load_strictly, read_tensors

#: Public files by the start of their SHA-256, which their authors also put into the file names.
PUBLISHED = {"d5d2fc3d": "R231", "0de78a7e": "R231CovidWeb", "3a07043d": "LTRCLobes"}
#: Labels of right and left lung by number of classes.
SIDES = {3: ((1,), (2,)), 6: ((3, 4, 5), (1, 2))}

SIZE, BATCH = 256, 20
LOW_HU, HIGH_HU = -1024, 600
_BODY_HU, _BODY_SIZE = -500, 128
#: Smaller pieces are dropped, not merged.
_SMALLEST = 3

_EVERY_SIDE = np.ones((3, 3))


@dataclass(frozen=True, eq=False)
class LungNetwork:
    """A loaded network.

    Attributes:
        network: in evaluation mode.
        classes: 3 for lungs, 6 for lobes, see `LungUNet`.
        name: of the published file, or of the user's file with the start of its hash.
        sha256: hex hash of the file.
    """

    network: LungUNet
    classes: int
    name: str
    sha256: str


class Box(NamedTuple):
    """Part of a slice, half open."""

    top: int
    left: int
    bottom: int
    right: int


def load_lung_network(path: Path, device: str = "cpu") -> LungNetwork:
    """Read `unet_r231-d5d2fc3d.pth` or another file of lungmask; only tensors are read, nothing is run.

    Raises:
        InputError: when the file is missing, damaged, or holds another network.
        UnsafeFileError: when it holds more than tensors.
    """
    content = read_tensors(path)
    last = content.state.get("last.bias")
    classes = 0 if last is None else len(last)
    if classes not in SIDES:
        found = "no layer 'last'" if last is None else f"{classes} classes"
        raise InputError(
            f"{path} is no network of lungmask: it has {found}. Give a file such as unet_r231-d5d2fc3d.pth (3 classes: "
            "lungs) or unet_ltrclobes-3a07043d.pth (6: lobes)."
        )
    network = LungUNet(classes)
    load_strictly(network, content.state, str(path))
    start = content.sha256[:8]
    name = PUBLISHED.get(start, f"{path.stem} {start}")
    return LungNetwork(network.eval().to(device), classes, name, content.sha256)


def network_lungs(image: Volume, network: LungNetwork, fill: LungNetwork | None = None) -> Lungs:
    """Both lungs of one image; right and left as `SIDES` sorts the classes.

    Args:
        image: HU, in any stored order.
        network: for lungs or lobes.
        fill: a second network whose lungs fill what the first missed (the fused mode: lobes, filled by R231).
    """
    return network_lungs_and_labels(image, network, fill)[0]


def network_lungs_and_labels(
    image: Volume, network: LungNetwork, fill: LungNetwork | None = None
) -> tuple[Lungs, Volume]:
    """As `network_lungs`, and the labels of the network, uint8 on the grid of the image."""
    raw, labels = _before_and_after(image, network, fill)
    right, left = (np.isin(labels.voxels, side) for side in SIDES[network.classes])
    pieces = sum(_large_pieces(raw.with_voxels(np.isin(raw.voxels, side))) for side in SIDES[network.classes])
    origin = network.name if fill is None else f"{network.name} filled by {fill.name}"
    return Lungs(image.with_voxels(right), image.with_voxels(left), origin, pieces), labels


def preprocess(voxels: NDArray[Any]) -> tuple[NDArray[np.float32], list[Box]]:
    """Axial slices (n, rows, columns) in HU to (n, 256, 256) in [0, 1], and the box each was cut from."""
    clipped = np.clip(voxels, LOW_HU, HIGH_HU)
    boxes = [body_box(plane) for plane in clipped]
    planes = []
    for plane, box in zip(clipped, boxes, strict=True):
        part = plane[box.top : box.bottom, box.left : box.right]
        # In the type of the image: whole HU stay whole, as in the authors' package.
        planes.append(ndimage.zoom(part, SIZE / np.asarray(part.shape), order=1))
    scaled = (np.minimum(np.asarray(planes), HIGH_HU) - LOW_HU) / (HIGH_HU - LOW_HU)
    return scaled.astype(np.float32), boxes


def body_box(plane: NDArray[Any]) -> Box:
    """Where the body lies in one slice; the whole slice when nothing is found."""
    small = ndimage.zoom(plane, _BODY_SIZE / np.asarray(plane.shape), order=0) > _BODY_HU
    small = ndimage.binary_fill_holes(ndimage.binary_closing(small), structure=_EVERY_SIDE)
    labels, count = ndimage.label(ndimage.binary_erosion(small, iterations=2))
    if not count:
        return Box(0, 0, *plane.shape)
    largest = labels == int(np.argmax(np.bincount(labels.ravel())[1:])) + 1
    body = ndimage.binary_dilation(largest, iterations=2)
    full = ndimage.zoom(body, np.asarray(plane.shape) / _BODY_SIZE, order=0)
    rows, columns = ndimage.find_objects(ndimage.label(full, structure=_EVERY_SIDE)[0])[0]
    return Box(rows.start, columns.start, rows.stop, columns.stop)


def paste(labels: NDArray[np.uint8], boxes: list[Box], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Labels (n, 256, 256) back in their boxes on slices of `shape`, nearest voxel, 0 elsewhere."""
    result = np.zeros((len(labels), *shape), dtype=np.uint8)
    for whole, plane, box in zip(result, labels, boxes, strict=True):
        size = np.array([box.bottom - box.top, box.right - box.left])
        whole[box.top : box.bottom, box.left : box.right] = ndimage.zoom(plane, size / np.asarray(plane.shape), order=0)
    return result


def postprocess(labels: NDArray[np.uint8], spare: Collection[int] = ()) -> NDArray[np.uint8]:
    """One piece a label: pieces that are not their label's largest go to the neighbour they touch most.

    Args:
        labels: (slices, rows, columns), 0 is background.
        spare: labels that only fill: all their pieces go to neighbours, none stays.

    Returns:
        uint8; every label is connected (26 neighbours) and has no holes.
    """
    merged = _merged(labels, spare)
    result = np.zeros(labels.shape, dtype=np.uint8)
    for label in np.unique(merged[merged > 0]):
        largest = cc3d.largest_k((merged == label).view(np.uint8), k=1, connectivity=26, binary_image=True) > 0
        result[ndimage.binary_fill_holes(largest)] = label
    return result


def _before_and_after(image: Volume, network: LungNetwork, fill: LungNetwork | None) -> tuple[Volume, Volume]:
    """Labels on the grid of the image before and after cleaning; `fill` changes the latter."""
    view = axial_view(image)
    raw, labels = _inferred(view.volume.voxels, network)
    if fill is not None:
        other = _inferred(view.volume.voxels, fill)[1]
        spare = int(labels.max()) + 1
        labels[(labels == 0) & (other > 0)] = spare
        labels[other == 0] = 0
        labels = postprocess(labels, spare=(spare,))
    return image.with_voxels(view.restore(raw)), image.with_voxels(view.restore(labels))


def _inferred(voxels: NDArray[Any], network: LungNetwork) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    planes, boxes = preprocess(voxels)
    device = next(network.network.parameters()).device
    found = []
    with torch.inference_mode():
        for first in range(0, len(planes), BATCH):
            batch = torch.from_numpy(planes[first : first + BATCH, None]).to(device)
            found.append(network.network(batch).argmax(dim=1).to(torch.uint8).cpu().numpy())
    labels = np.concatenate(found)
    shape = (voxels.shape[1], voxels.shape[2])
    return paste(labels, boxes, shape), paste(postprocess(labels), boxes, shape)


class _Regions:
    """Pieces of a label volume while they are merged; index 0 is the background.

    Attributes:
        labels: number of the piece of every voxel.
        sizes, values: voxels and label by piece; low, high: corners of its box.
    """

    def __init__(self, labels: NDArray[np.uint8]) -> None:
        self.labels = cc3d.connected_components(labels, connectivity=26, out_dtype=np.uint32)
        facts = cc3d.statistics(self.labels)
        self.sizes = facts["voxel_counts"].astype(np.int64)
        self.values = np.zeros(len(self.sizes), dtype=np.int64)
        self.values[self.labels.ravel()] = labels.ravel()
        self.low = np.array([[w.start for w in windows] for windows in facts["bounding_boxes"]])
        self.high = np.array([[w.stop for w in windows] for windows in facts["bounding_boxes"]])

    def merge_into_neighbour(self, region: int, never: set[int]) -> int | None:
        """Give a piece to the one that its border touches most; None when it only touches those of `never`."""
        low, high = np.maximum(self.low[region] - 1, 0), self.high[region] + 1
        part = self.labels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        own = part == region
        touched, counts = np.unique(part[ndimage.binary_dilation(own)], return_counts=True)
        counts[np.isin(touched, list(never | {0, region}))] = 0
        if not counts.any():
            return None
        target = int(touched[np.argmax(counts)])
        part[own] = target
        self.low[target] = np.minimum(self.low[target], self.low[region])
        self.high[target] = np.maximum(self.high[target], self.high[region])
        return target


def _merged(labels: NDArray[np.uint8], spare: Collection[int]) -> NDArray[np.uint8]:
    """Labels after every loose piece went to its neighbour, from the smallest to the largest."""
    regions = _Regions(labels)
    sizes, values = regions.sizes, regions.values
    order = [int(n) for n in np.argsort(sizes[1:], kind="stable") + 1]
    largest: dict[int, int] = {}
    becomes = np.zeros(len(sizes), dtype=np.uint8)
    for region in order:
        # Of pieces of equal size only the first keeps its label, as in the authors' package.
        if sizes[region] > largest.get(int(values[region]), 0):
            largest[int(values[region])] = int(sizes[region])
            becomes[region] = values[region]
    spare_regions = {region for region in order if values[region] in spare}
    for region in order:
        loose = sizes[region] < largest[int(values[region])] or region in spare_regions
        if not loose or sizes[region] < _SMALLEST:
            continue
        target = regions.merge_into_neighbour(region, spare_regions)
        if target is None:
            continue
        if sizes[target] == largest[int(values[target])]:
            largest[int(values[target])] += int(sizes[region])
        sizes[target] += sizes[region]
    merged: NDArray[np.uint8] = becomes[regions.labels]
    merged[np.isin(merged, list(spare))] = 0
    return merged


def _large_pieces(mask: Volume) -> int:
    """Connected pieces of at least `LARGE_ML`."""
    sizes = cc3d.statistics(
        cc3d.connected_components(np.ascontiguousarray(mask.voxels).view(np.uint8), connectivity=26)
    )["voxel_counts"][1:]
    return int((sizes * mask.voxel_volume_mm3 / 1000 >= LARGE_ML).sum())
