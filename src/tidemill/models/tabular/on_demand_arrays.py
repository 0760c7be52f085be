"""Arrays of on-demand features: conversion of inputs and outputs, the same in training and in serving.

The type of an array depends only on the kind of its column, never on missing values, so one row is treated like many.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.kinds import KINDS, Kind

#: The folder of on-demand features among a release's modules.
FOLDER = "features"
#: The folder, in the bundle, of the pre-trained models that they use.
PRETRAINED = "pretrained"
#: Kind -> dtype of a function's arguments. Numbers, integers and flags are floats with NaN if missing; texts are
#: objects with `None` if missing; times are UTC with NaT if missing.
DTYPES: dict[Kind, str] = {kind: spec.dtype for kind, spec in KINDS.items()}


def array_of_values(values: Sequence[Any], kind: Kind) -> NDArray[Any]:
    """Plain values (times in microseconds, missing values `None`) as a function's argument.

    >>> array_of_values([1, None], "int").tolist()
    [1.0, nan]
    """
    if kind == "time":
        return np.array(["NaT" if value is None else value for value in values], DTYPES[kind])
    return np.array(values, DTYPES[kind])  # for a number, None becomes NaN


def array_of_column(column: pa.ChunkedArray, kind: Kind) -> NDArray[Any]:
    """A column as a function's argument."""
    if kind == "time":
        column = column.cast(pa.timestamp("us"))
    elif kind in ("int", "bool"):
        column = column.cast(pa.int64()).cast(pa.float64(), safe=False)
    found: NDArray[Any] = column.to_numpy()
    return found.astype(DTYPES[kind], copy=False)


def values_of_array(array: NDArray[Any], kind: Kind) -> list[Any]:
    """A function's result as plain values of a kind; NaN and NaT are missing.

    >>> values_of_array(np.array([1.5, np.nan]), "float")
    [1.5, None]
    """
    if array.dtype.kind == "M":
        times = array.astype("datetime64[us]").astype(np.int64).tolist()
        missing = np.isnat(array).tolist()
        return [None if gone else value for value, gone in zip(times, missing, strict=True)]
    found = [None if value is None or value != value else value for value in array.tolist()]
    make = _whole if kind == "int" else KINDS[kind].stored
    return [None if value is None else make(value) for value in found]


def _whole(value: Any) -> int:
    if value != int(value):
        raise ValueError("it is not an integer")
    return int(value)
