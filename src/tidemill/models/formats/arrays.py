"""Arrays of a bundle: `.npy` files without pickles, opened by memory map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import BundleCorrupt, BundleRefused


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """Write one array; arrays of objects are refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def rows_at(array: npt.NDArray[Any], places: npt.NDArray[np.integer]) -> npt.NDArray[Any]:
    """The rows at these indices, in their order; a row of zeros for index -1."""
    rows = np.zeros((len(places), *array.shape[1:]), array.dtype)
    rows[places >= 0] = array[places[places >= 0]]
    return rows


def open_array(path: Path) -> npt.NDArray[Any]:
    """Open one array memory-mapped and read-only.

    Raises `BundleCorrupt` if it is missing or truncated, and `BundleRefused` if it contains objects.
    """
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = header(file)
        if kind.hasobject:
            raise BundleRefused(f"{path.name} contains Python objects, which need pickle")
        if 0 in shape:
            return np.zeros(shape, kind)
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as problem:
        if isinstance(problem, BundleRefused):
            raise
        raise BundleCorrupt(f"{path} cannot be opened as an array: {problem}") from problem
    # A plain view: slicing a memmap builds a subclass instance each time, which costs more than the slice.
    plain: npt.NDArray[Any] = mapped.view(np.ndarray)
    return plain
