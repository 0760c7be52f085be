"""Tensor values converted to the values of a field: lossless conversions only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tidemill.core.contract.contract import ContractColumn
from tidemill.core.kinds import KINDS, Kind
from tidemill.serving.events.local_time import instant
from tidemill.serving.http import requests

#: Datatype of the protocol -> Python type of its values: float, int, bool or str.
FAMILY = {
    "FP64": "float", "FP32": "float", "FP16": "float",
    "INT64": "int", "INT32": "int", "INT16": "int", "INT8": "int",
    "UINT64": "int", "UINT32": "int", "UINT16": "int", "UINT8": "int",
    "BOOL": "bool", "BYTES": "bytes",
}  # fmt: skip
#: The datatype of a field in the model metadata.
DATATYPE: dict[Kind, str] = {kind: spec.datatype for kind, spec in KINDS.items()}
_BOUNDS = {
    f"{sign}INT{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("", "U")
    for bits in (8, 16, 32, 64)
}
_INT64 = _BOUNDS["INT64"]
#: From here on a float64 may stand for several integers.
_EXACT = 2**53
#: Microseconds of the years 1 and 9999.
_TIMES = (-62_135_596_800_000_000, 253_402_300_799_999_999)

#: Values of a tensor and its datatype -> values of a field, `None` where one is missing.
Converter = Callable[[list[Any], str], list[Any]]


class Unfit(ValueError):
    """A value cannot be converted; the message has the row, never the value."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(f"row {row} {why}")


def numbers(values: list[Any], datatype: str) -> list[float | None]:
    """Floats and integers as floats; NaN is missing."""
    converted: list[float | None] = []
    for value in values:
        kind = type(value)
        if kind is float:
            if value - value != 0.0:  # not finite
                if value == value:
                    raise Unfit(len(converted), "is infinite")
                value = None
            converted.append(value)
        elif kind is int:
            converted.append(_as_float(value, len(converted)))
        elif value is None:
            converted.append(None)
        else:
            raise Unfit(len(converted), f"is not {datatype}")
    return converted


def _as_float(value: int, row: int) -> float:
    try:
        found = float(value)
    except OverflowError:
        raise Unfit(row, "is too large") from None
    if not requests.is_exact(value):
        raise Unfit(row, requests.INEXACT)
    return found


def _ints(values: list[Any], datatype: str) -> list[int | None]:
    low, high = _BOUNDS[datatype]
    for row, value in enumerate(values):
        if value is not None and not (type(value) is int and low <= value <= high):
            raise Unfit(row, f"is not {datatype}")
    return values


def _numbers_of_ints(values: list[Any], datatype: str) -> list[float | None]:
    checked = enumerate(_ints(values, datatype))
    return [None if value is None else _as_float(value, row) for row, value in checked]


def _int64(values: list[Any], datatype: str) -> list[int | None]:
    checked = _ints(values, datatype)
    if datatype == "UINT64":
        for row, value in enumerate(checked):
            if value is not None and value > _INT64[1]:
                raise Unfit(row, "is out of range for INT64")
    return checked


def _int64_of_floats(values: list[Any], datatype: str) -> list[int | None]:
    converted: list[int | None] = []
    for value in numbers(values, datatype):
        if value is not None and value % 1.0:
            raise Unfit(len(converted), "is not an integer")
        if value is not None and abs(value) >= _EXACT:
            raise Unfit(len(converted), "may be a rounded integer: send larger ones as INT64")
        converted.append(None if value is None else int(value))
    return converted


def _bools(values: list[Any], datatype: str) -> list[bool | None]:
    for row, value in enumerate(values):
        if value is not None and type(value) is not bool:
            raise Unfit(row, f"is not {datatype}")
    return values


def _bools_of_numbers(values: list[Any], datatype: str) -> list[bool | None]:
    checked = _int64_of_floats(values, datatype) if FAMILY[datatype] == "float" else _ints(values, datatype)
    for row, value in enumerate(checked):
        if value not in (0, 1, None):
            raise Unfit(row, "is neither 0 nor 1")
    return [None if value is None else bool(value) for value in checked]


def _texts(values: list[Any], datatype: str) -> list[str | None]:
    for row, value in enumerate(values):
        if value is not None and type(value) is not str:
            raise Unfit(row, f"is not {datatype}")
    return values


def _times(values: list[Any], datatype: str) -> list[int | None]:
    for row, value in enumerate(_ints(values, datatype)):
        if value is not None and not _TIMES[0] <= value <= _TIMES[1]:
            raise Unfit(row, "is outside the years 1 to 9999")
    return values


def converter(name: str, kind: Kind, family: str) -> Converter | None:
    """The converter from a tensor's values to those of the field `name`; `None` where the conversion is lossy."""
    if kind == "time" and family == "bytes":
        column = ContractColumn(name=name, kind="time")
        return lambda values, datatype: [
            None if value is None else instant(value, column) for value in _texts(values, datatype)
        ]
    return _CONVERTERS.get((kind, family))


_CONVERTERS: dict[tuple[Kind, str], Converter] = {
    ("float", "float"): numbers,
    ("float", "int"): _numbers_of_ints,
    ("int", "int"): _int64,
    ("int", "float"): _int64_of_floats,
    ("bool", "bool"): _bools,
    ("bool", "int"): _bools_of_numbers,
    ("bool", "float"): _bools_of_numbers,
    ("str", "bytes"): _texts,
    ("time", "int"): _times,
}
