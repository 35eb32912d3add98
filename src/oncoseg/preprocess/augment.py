"""Random changes of training images that leave the tumour what it is: MONAI's transforms, in presets by name.

Every change is a function of the generator it is given: equal generators give equal samples, in any process and
after any number of earlier samples. (MONAI was chosen over batchgeneratorsv2 and TorchIO because its transforms
draw from a state of their own, where the others draw from global ones; `benchmarks/augmentation.py` compares speed.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from math import pi
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Image (channels, ...) float32 and class map (...) uint8, changed alike.
Augment = Callable[
    [NDArray[np.float32], NDArray[np.uint8], np.random.Generator], tuple[NDArray[np.float32], NDArray[np.uint8]]
]


@dataclass(frozen=True)
class Preset:
    """What may happen to a sample; chances are between 0 and 1, ranges uniform.

    Attributes:
        summary: for the user.
        flip: chance of a flip along each axis of `flip_axes`.
        flip_axes: counted from the last (columns = -1); empty for all.
        quarter: chance of a random number of quarter turns in-plane.
        rotate: chance of a rotation, by up to `degrees` (in-plane for slices, about each axis for patches).
        degrees: for slices and for patches.
        scale: chance of enlarging by a factor of `scales`.
        scales: smallest and largest factor.
        elastic: standard deviation in pixels of displacements on a 3 x 3 grid; 0 for none. Slices only.
        noise: chance of Gaussian noise with a standard deviation up to `noise_deviation` of the image's own.
        blur: chance of a Gaussian blur with sigma of 0.5 to 1 voxel.
        brightness, contrast: chance of a factor of 0.75 to 1.25 on grey values, or on their distance to the mean.
        low_resolution: chance of down- and up-sampling by a factor of 0.5 to 1.
        gamma, inverted_gamma: chance of a gamma of 0.7 to 1.5, mean and deviation kept; of the inverted image.
        shift: largest shift of grey values; always drawn.
        stretch: largest relative change of grey values; always drawn.
        either: quarter turn with a flip, or else (with the same chance again) a rotation: TransUNet's choice.
    """

    summary: str
    flip: float = 0.0
    flip_axes: tuple[int, ...] = ()
    quarter: float = 0.0
    rotate: float = 0.0
    degrees: tuple[float, float] = (15.0, 15.0)
    scale: float = 0.0
    scales: tuple[float, float] = (1.0, 1.0)
    elastic: float = 0.0
    noise: float = 0.0
    noise_deviation: float = 0.3
    blur: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    low_resolution: float = 0.0
    gamma: float = 0.0
    inverted_gamma: float = 0.0
    shift: float = 0.0
    stretch: float = 0.0
    either: bool = False


PRESETS: dict[str, Preset] = {
    "none": Preset("nothing"),
    "flips": Preset("flips along every axis", flip=0.5),
    "left-right": Preset("left-right flips (Primakov et al. 2022)", flip=0.5, flip_axes=(-1,)),
    "mild": Preset(
        "flips, rotations up to 15 degrees, scaling by 0.9 to 1.1",
        flip=0.5,
        rotate=0.5,
        scale=0.5,
        scales=(0.9, 1.1),
    ),
    "elastic": Preset("flips and elastic deformation of 10 pixels (Ronneberger et al. 2015)", flip=0.5, elastic=10.0),
    "transunet": Preset(
        "half: quarter turns with a flip; of the rest half: rotation up to 20 degrees (Chen et al. 2021)",
        degrees=(20.0, 20.0),
        either=True,
    ),
    "unetr": Preset("flips, quarter turns, shift of grey values by 0.1", flip=0.1, quarter=0.1, shift=0.1),
    "swin-unetr": Preset("flips, scale and shift of grey values by 0.1", flip=0.5, shift=0.1, stretch=0.1),
    "nnunet": Preset(
        "rotation, scaling, noise, blur, brightness, contrast, low resolution, gamma, flips (Isensee et al. 2021)",
        flip=0.5,
        rotate=0.2,
        degrees=(180.0, 30.0),
        scale=0.2,
        scales=(0.7, 1.4),
        noise=0.1,
        noise_deviation=0.1**0.5,
        blur=0.2,
        brightness=0.15,
        contrast=0.15,
        low_resolution=0.25,
        gamma=0.3,
        inverted_gamma=0.1,
    ),
}


@functools.cache
def augmenter(preset: str, space: int) -> Augment:
    """The changes of a preset.

    Args:
        preset: a name in `PRESETS`.
        space: 2 for slices, 3 for patches.

    Returns:
        A function (image, class map, generator) -> (image, class map) of the same shapes and types. What comes in
        from outside by a rotation has the nearest grey value and no class. Results may be views.
    """
    chosen = PRESETS[preset]

    def augment(
        image: NDArray[np.float32], classes: NDArray[np.uint8], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        image, classes = _mirrored(image, classes, chosen, rng)
        if chosen.either:
            image, classes = _turned_or_rotated(image, classes, rng, chosen)
        elif rng.random() < chosen.quarter:
            image, classes = _quarter_turns(image, classes, rng)
        image, classes = _moved(image, classes, chosen, rng)
        return _regreyed(image, preset, rng), classes

    return augment


def _mirrored(
    image: NDArray[np.float32], classes: NDArray[np.uint8], preset: Preset, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    allowed = preset.flip_axes or tuple(-1 - axis for axis in range(classes.ndim))
    drawn = rng.random(len(allowed)) < preset.flip
    axes = tuple(axis for axis, flip in zip(allowed, drawn, strict=True) if flip)
    return np.flip(image, axes), np.flip(classes, axes)


def _quarter_turns(
    image: NDArray[np.float32], classes: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """One to three quarter turns in-plane; two where rows and columns differ in number."""
    turns = int(rng.integers(1, 4)) if classes.shape[-1] == classes.shape[-2] else 2
    return np.rot90(image, turns, (-2, -1)), np.rot90(classes, turns, (-2, -1))


def _turned_or_rotated(
    image: NDArray[np.float32], classes: NDArray[np.uint8], rng: np.random.Generator, preset: Preset
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    first, second = rng.random(2)
    if first < 0.5:
        image, classes = _quarter_turns(image, classes, rng)
        axis = -1 - int(rng.integers(2))
        return np.flip(image, axis), np.flip(classes, axis)
    if second < 0.5:
        return _resampled(image, classes, rotation=_angles(preset, classes.ndim, rng), factor=1.0)
    return image, classes


def _moved(
    image: NDArray[np.float32], classes: NDArray[np.uint8], preset: Preset, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    if preset.elastic and classes.ndim == 2:
        transform = _elastic(preset.elastic, classes.shape)
        transform.set_random_state(seed=int(rng.integers(2**31)))
        return _by_monai(image, classes, transform)
    rotated, scaled = rng.random(2) < (preset.rotate, preset.scale)
    rotation, factor = _angles(preset, classes.ndim, rng), float(rng.uniform(*preset.scales))
    if not (rotated or scaled):
        return image, classes
    still = (0.0,) * len(rotation)
    return _resampled(image, classes, rotation=rotation if rotated else still, factor=factor if scaled else 1.0)


def _angles(preset: Preset, space: int, rng: np.random.Generator) -> tuple[float, ...]:
    """Radians: in-plane for slices, about each axis for patches."""
    reach = preset.degrees[0 if space == 2 else 1] / 180 * pi
    return tuple(rng.uniform(-reach, reach, 1 if space == 2 else 3).tolist())


def _resampled(
    image: NDArray[np.float32], classes: NDArray[np.uint8], *, rotation: tuple[float, ...], factor: float
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Turned by radians and enlarged by a factor about the centre."""
    from monai.transforms import Affined

    # MONAI's factor is that of the sampling grid: a smaller one enlarges.
    transform = Affined(
        keys=("image", "classes"),
        rotate_params=rotation if classes.ndim == 3 else rotation[0],
        scale_params=[1 / factor] * classes.ndim,
        mode=("bilinear", "nearest"),
        padding_mode=("border", "zeros"),
    )
    return _by_monai(image, classes, transform)


def _by_monai(
    image: NDArray[np.float32], classes: NDArray[np.uint8], transform: Any
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    given = {"image": np.ascontiguousarray(image), "classes": np.ascontiguousarray(classes[None], np.float32)}
    moved = transform(given)
    return np.asarray(moved["image"], np.float32), np.asarray(moved["classes"][0]).astype(np.uint8)


@functools.cache
def _elastic(deviation: float, shape: tuple[int, ...]) -> Any:
    from monai.transforms import Rand2DElasticd

    # MONAI draws from a uniform distribution; its width is that of the same deviation.
    reach = deviation * 3**0.5
    return Rand2DElasticd(
        keys=("image", "classes"),
        spacing=tuple(max(1, n // 2) for n in shape),
        magnitude_range=(reach, reach),
        prob=1.0,
        mode=("bilinear", "nearest"),
        padding_mode=("border", "zeros"),
    )


def _regreyed(image: NDArray[np.float32], name: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Grey values changed, on an image of mean 0 and deviation 1 where the preset's numbers are meant so."""
    preset = PRESETS[name]
    if preset.shift or preset.stretch:
        shift, stretch = rng.uniform(-1, 1, 2) * (preset.shift, preset.stretch)
        image = (image * np.float32(1 + stretch) + np.float32(shift)).astype(np.float32, copy=False)
    transform = _grey(name, image.ndim - 1)
    if transform is None:
        return image
    mean, deviation = np.float32(image.mean()), np.float32(max(float(image.std()), 1e-8))
    transform.set_random_state(seed=int(rng.integers(2**31)))
    changed = np.asarray(transform((image - mean) / deviation), np.float32)
    return changed * deviation + mean


@functools.cache
def _grey(name: str, space: int) -> Any:
    p = PRESETS[name]
    if not (p.noise or p.blur or p.brightness or p.contrast or p.low_resolution or p.gamma or p.inverted_gamma):
        return None
    from monai import transforms

    sigma = (0.5, 1.0)
    upsample = "bilinear" if space == 2 else "trilinear"
    return transforms.Compose(
        [
            transforms.RandGaussianNoise(p.noise, std=p.noise_deviation),
            transforms.RandGaussianSmooth(sigma, sigma, sigma, prob=p.blur),
            transforms.RandScaleIntensity((-0.25, 0.25), prob=p.brightness),
            transforms.RandScaleIntensityFixedMean(p.contrast, factors=(-0.25, 0.25), preserve_range=True),
            transforms.RandSimulateLowResolution(p.low_resolution, upsample_mode=upsample, zoom_range=(0.5, 1.0)),
            transforms.RandAdjustContrast(p.inverted_gamma, gamma=(0.7, 1.5), invert_image=True, retain_stats=True),
            transforms.RandAdjustContrast(p.gamma, gamma=(0.7, 1.5), retain_stats=True),
        ]
    )
