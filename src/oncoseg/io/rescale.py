"""Stored numbers to what they mean: HU or intensities, without growing the array where it can be avoided."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

INT16 = np.iinfo(np.int16)


def rescale_in_place(stored: NDArray[Any], slope: float, intercept: float) -> bool:
    """Turn 16-bit stored numbers into int16 values of `stored * slope + intercept`, if that is exact.

    Args:
        stored: C-contiguous int16 or uint16 array; its bytes are overwritten by int16 values on success
            (use `.view(numpy.int16)`), left alone otherwise.
        slope: factor.
        intercept: added after the factor.

    Returns:
        Whether slope and intercept are whole numbers and every result fits int16.
    """
    signed = stored.dtype.kind == "i"
    if slope != int(slope) or intercept != int(intercept) or max(abs(slope), abs(intercept)) > INT16.max:
        return False
    if signed and slope == 1 and intercept == 0:
        return True
    # An unsigned number is at least 0: one pass over the array less.
    ends = [int(stored.min()) if signed else 0, int(stored.max())]
    results = [int(slope) * end + int(intercept) for end in ends]
    if min(results) < INT16.min or max(results) > INT16.max:
        return False
    # Arithmetic modulo 2^16 is exact because the results fit.
    bits = stored.view(np.uint16)
    if slope != 1:
        np.multiply(bits, np.uint16(int(slope) % 65536), out=bits)
    np.add(bits, np.uint16(int(intercept) % 65536), out=bits)
    return True


def rescaled(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    """`stored * slope + intercept` as int16 where that is exact, otherwise float32; may reuse `stored`'s memory.

    What float32 cannot hold becomes infinite: readers refuse volumes that are not finite.
    """
    if stored.dtype == np.uint8 or stored.dtype == np.int8:
        stored = stored.astype(np.int16)
    if stored.dtype in (np.int16, np.uint16) and rescale_in_place(stored, slope, intercept):
        return stored.view(np.int16)
    if slope == 1 and intercept == 0:
        return stored.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        values: NDArray[Any] = stored * np.float64(slope) + np.float64(intercept)
        return values.astype(np.float32)
