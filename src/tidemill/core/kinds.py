"""Kinds (data types) of columns and fields: one table with the Python, Arrow, NumPy, wire and JSON type of each.

A new kind needs an entry here, and a conversion in each component that treats its values specially.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pyarrow as pa

#: `time` is UTC microseconds; the others are Python's types of the same name.
Kind = Literal["str", "float", "int", "bool", "time"]


@dataclass(frozen=True)
class KindSpec:
    """One kind of value, and its type in each system."""

    #: The type that annotates a column of a contract.
    python: type
    #: The type of a plain value in a row or a request; `stored()` is its zero.
    stored: type
    #: Creates the Arrow type of a column from the module `pyarrow`, which `core` does not import.
    arrow: Callable[[Any], Any]
    #: Whether an Arrow type is of this kind, from the module `pyarrow.types` and the type.
    is_arrow: Callable[[Any, Any], bool]
    #: The input dtype of a project's functions, and the `numpy.dtype.kind` letters of outputs that they may return.
    dtype: str
    letters: str
    #: Datatype of the Open Inference Protocol, and type of JSON Schema.
    datatype: str
    json_type: str
    #: Wording in messages: "`rating` is a number".
    words: str
    #: Example value in documentation, as JSON.
    example: Any


KINDS: dict[Kind, KindSpec] = {
    "str": KindSpec(
        python=str,
        stored=str,
        arrow=lambda pa: pa.string(),
        is_arrow=lambda types, of: types.is_string(of) or types.is_large_string(of) or types.is_dictionary(of),
        dtype="object",
        letters="OSUT",
        datatype="BYTES",
        json_type="string",
        words="text",
        example="…",
    ),
    "float": KindSpec(
        python=float,
        stored=float,
        arrow=lambda pa: pa.float64(),
        is_arrow=lambda types, of: types.is_floating(of) or types.is_decimal(of),
        dtype="float64",
        letters="f",
        datatype="FP64",
        json_type="number",
        words="a number",
        example=1.5,
    ),
    "int": KindSpec(
        python=int,
        stored=int,
        arrow=lambda pa: pa.int64(),
        is_arrow=lambda types, of: types.is_integer(of),
        dtype="float64",
        letters="iu",
        datatype="INT64",
        json_type="integer",
        words="an integer",
        example=1,
    ),
    "bool": KindSpec(
        python=bool,
        stored=bool,
        arrow=lambda pa: pa.bool_(),
        is_arrow=lambda types, of: types.is_boolean(of),
        dtype="float64",
        letters="b",
        datatype="BOOL",
        json_type="boolean",
        words="true or false",
        example=True,
    ),
    "time": KindSpec(
        python=datetime,
        stored=int,
        arrow=lambda pa: pa.timestamp("us", tz="UTC"),
        is_arrow=lambda types, of: types.is_timestamp(of),
        dtype="datetime64[us]",
        letters="M",
        datatype="INT64",
        json_type="string",
        words="a time",
        example="2026-01-31T12:00:00Z",
    ),
}
#: Former kind names, in signatures and recipes written before the names were unified.
FORMER_KINDS: dict[str, Kind] = {"text": "str", "number": "float", "whole": "int", "flag": "bool"}


@cache
def arrow_type(kind: Kind) -> pa.DataType:
    """The Arrow type of a column of this kind."""
    return KINDS[kind].arrow(import_module("pyarrow"))


def kind_of_arrow(found: pa.DataType) -> Kind | None:
    """The kind of an Arrow type; `None` for lists and other unsupported types."""
    types = import_module("pyarrow.types")
    return next((kind for kind, spec in KINDS.items() if spec.is_arrow(types, found)), None)


def kind_of_dtype(letter: str) -> Kind | None:
    """The kind of an array from the letter of its dtype (`numpy.dtype.kind`); `None` if unsupported.

    >>> kind_of_dtype("u"), kind_of_dtype("c")
    ('int', None)
    """
    return next((kind for kind, spec in KINDS.items() if letter in spec.letters), None)
