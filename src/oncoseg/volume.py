"""The volume: voxels that never travel without their place in the patient.

Array axes are (slice, row, column); positions are voxel indices in that order or
patient millimetres (x, y, z) in DICOM's LPS convention (x to the patient's left,
y to the back, z to the head). Index and mm are converted here and nowhere else;
NIfTI's RAS exists only inside `io.nifti`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oncoseg.errors import GridMismatchError, InputError

#: Largest distance between corresponding corner voxels of "the same" grid, in mm.
GRID_TOLERANCE_MM = 1e-2


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D array and the affine that places it in the patient.

    Attributes:
        voxels: array of shape (slices, rows, columns); HU for CT images, bool for masks,
            float32 in [0, 1] for probabilities.
        affine: 4x4 float64 matrix from voxel index (slice, row, column, 1) to patient
            LPS mm (x, y, z, 1); voxel centres.

    Raises:
        InputError: when the array is not 3D or empty, or the affine is not finite, is singular
            or gives an axis no length.

    Example:
        >>> ct = Volume.from_spacing(np.zeros((2, 4, 4)), spacing=(3.0, 0.5, 0.5))
        >>> ct.spacing
        (3.0, 0.5, 0.5)
        >>> ct.index_to_mm([1, 0, 2])
        array([1., 0., 3.])
    """

    voxels: NDArray[Any]
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        object.__setattr__(self, "affine", np.asarray(self.affine, dtype=np.float64))
        if self.voxels.ndim != 3:
            raise InputError(
                f"A volume has 3 axes (slice, row, column); got shape {self.voxels.shape}. "
                "Split a 4D image into one volume per channel or time point."
            )
        if 0 in self.voxels.shape:
            raise InputError(f"A volume needs at least one voxel; got shape {self.voxels.shape}.")
        check_affine(self.affine)

    @classmethod
    def from_spacing(
        cls, voxels: NDArray[Any], spacing: Sequence[float], origin_mm: Sequence[float] = (0.0, 0.0, 0.0)
    ) -> Volume:
        """An axial volume: slices along z, rows along y, columns along x.

        Args:
            voxels: array (slices, rows, columns).
            spacing: mm per voxel in array order (slice, row, column); must be positive.
            origin_mm: LPS position (x, y, z) of the centre of voxel (0, 0, 0).
        """
        if len(spacing) != 3 or not all(np.isfinite(s) and s > 0 for s in spacing):
            raise InputError(f"Spacing must be three positive numbers in mm; got {tuple(spacing)}.")
        affine = np.eye(4)
        affine[:3, :3] = [[0, 0, spacing[2]], [0, spacing[1], 0], [spacing[0], 0, 0]]
        affine[:3, 3] = origin_mm
        return cls(voxels, affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels per axis (slices, rows, columns)."""
        slices, rows, columns = self.voxels.shape
        return slices, rows, columns

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm, array order (slice, row, column)."""
        z, y, x = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel in mm^3, also right for sheared grids."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def index_to_mm(self, index: ArrayLike) -> NDArray[np.float64]:
        """LPS mm (x, y, z) of voxel positions; `index` is (..., 3) in (slice, row, column)."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def mm_to_index(self, position_mm: ArrayLike) -> NDArray[np.float64]:
        """Fractional voxel position (slice, row, column) of LPS mm positions (..., 3)."""
        offset = np.asarray(position_mm, dtype=np.float64) - self.affine[:3, 3]
        return offset @ np.linalg.inv(self.affine[:3, :3]).T

    def with_voxels(self, voxels: NDArray[Any]) -> Volume:
        """Other values on this grid.

        Raises:
            GridMismatchError: when the shape differs.
        """
        if voxels.shape != self.voxels.shape:
            raise GridMismatchError(f"Shape {voxels.shape} does not fit the grid of shape {self.voxels.shape}.")
        return Volume(voxels, self.affine)

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Volume:
        """The half-open box [start, stop) as a volume of its own, in the same place of the patient.

        Raises:
            InputError: when the box is empty or leaves the volume.
        """
        inside = all(0 <= a < b <= n for a, b, n in zip(start, stop, self.shape, strict=True))
        if not inside:
            raise InputError(f"Crop {tuple(start)} to {tuple(stop)} is not inside the volume of shape {self.shape}.")
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_mm(start)
        return Volume(self.voxels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))], affine)

    def same_grid(self, other: Volume, tolerance_mm: float = GRID_TOLERANCE_MM) -> bool:
        """Whether both volumes have the same shape and every voxel lies within `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        corners = np.stack(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij"), axis=-1).reshape(-1, 3)
        distance = np.linalg.norm(self.index_to_mm(corners) - other.index_to_mm(corners), axis=1)
        return bool(distance.max() <= tolerance_mm)

    def require_same_grid(self, other: Volume, what: str) -> None:
        """Raise unless `other` lies on this grid.

        Args:
            other: the second volume.
            what: names both in the message, e.g. "reference a.nii.gz and prediction b.nii.gz".

        Raises:
            GridMismatchError: with both shapes, spacings and origins.
        """
        if not self.same_grid(other):
            raise GridMismatchError(
                f"{what} are not on the same grid: shape {self.shape} against {other.shape}, "
                f"spacing {_show(self.spacing)} against {_show(other.spacing)} mm, "
                f"first voxel at {_show(self.affine[:3, 3])} against {_show(other.affine[:3, 3])} mm LPS. "
                "Resample one onto the other first: oncoseg convert IN OUT --like IMAGE."
            )

    def require_finite(self, what: str) -> None:
        """Raise InputError naming `what` when a voxel is NaN or infinite."""
        if self.voxels.dtype.kind != "f":
            return
        bad = self.voxels.size - int(np.count_nonzero(np.isfinite(self.voxels)))
        if bad:
            raise InputError(f"{what} has {bad} voxels that are NaN or infinite. Repair or re-export the file.")


def check_affine(affine: NDArray[np.float64]) -> None:
    """Raise InputError unless `affine` is a finite, invertible 4x4 matrix."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise InputError(f"The affine must be a finite 4x4 matrix; got {affine.tolist()}.")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if (lengths <= 0).any() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
        raise InputError(
            f"The affine is singular (axis lengths {_show(lengths)} mm): voxels have no volume. "
            "Check spacing and orientation in the file's header."
        )


def _show(numbers: Sequence[float] | NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{n:.4g}" for n in numbers) + ")"
