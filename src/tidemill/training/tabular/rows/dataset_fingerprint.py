"""The fingerprint of a dataset: sha256 over all cells in a canonical form, independent of row order.

Any changed cell, name, kind or class changes the fingerprint; row order and Arrow chunks do not.
Texts are UTF-8, numbers IEEE 754 with one NaN and one zero, times microseconds, all little-endian.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.kinds import FORMER_KINDS
from tidemill.core.records.signature import InputField
from tidemill.models.tabular.examples import Examples

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEP, _ALL = 0x9E3779B97F4A7C15, 2**64 - 1


def dataset_fingerprint(examples: Examples) -> str:
    """sha256 in hex over fields, inputs, target, times, groups, attributes and row names.

    Group numbers only matter by which rows they group.
    """
    order = _order(examples)
    fields = [_described(field) for field in examples.fields]
    digest = hashlib.sha256(msgspec.json.encode((fields, examples.task, examples.classes)))
    for name, column in _columns(examples):
        taken = column.take(pa.array(order))
        digest.update(msgspec.json.encode((name, str(taken.type), len(taken))))
        for part in _bytes(taken):
            digest.update(part)
    if examples.group is not None:
        _, first, codes = np.unique(examples.group[order], return_index=True, return_inverse=True)
        digest.update(b"group" + np.argsort(np.argsort(first))[codes].astype("<i8").tobytes())
    return digest.hexdigest()


def _described(field: InputField) -> dict[str, Any]:
    """A field as in every fingerprint: with the names of kinds at the time of the first fingerprints."""
    words = {kind: former for former, kind in FORMER_KINDS.items()}
    kind = words.get(field.kind, field.kind)
    return {"name": field.name, "kind": kind, "optional": field.optional, "unit": field.unit, "role": field.role}


def row_hashes(examples: Examples, *, target: bool = True) -> U64:
    """64 bits of each row's inputs and target: uint64 (n), the same for equal rows in any dataset.

    They distinguish rows, but are not cryptographic.
    """
    found = np.zeros(len(examples), np.uint64)
    for place, name in enumerate(examples.inputs.column_names):
        found = mixed(found ^ mixed(_cells(examples.inputs[name]) + np.uint64((place + 1) * _STEP & _ALL)))
    return mixed(found ^ _floats(examples.target)) if target else found


def row_names(examples: Examples) -> U64:
    """The key of each row, uint64 (n): its name, or a hash of its contents if rows have no names."""
    return row_hashes(examples) if examples.row is None else examples.row.astype(np.int64).view(np.uint64)


def mixed(bits: U64, salt: int = 0) -> U64:
    """64-bit mixing of each value: the finalizer of SplitMix64 (Steele, Lea & Flood 2014)."""
    bits = bits + np.uint64((2 * salt + 1) * _STEP & _ALL)
    bits = (bits ^ (bits >> np.uint64(30))) * _FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _SECOND
    found: U64 = bits ^ (bits >> np.uint64(31))
    return found


def _order(examples: Examples) -> I64:
    """Rows by name, time and contents; the order of rows that are equal in all of these does not matter."""
    keys = [row_hashes(examples)]
    if examples.attributes is not None:
        cells = [_cells(examples.attributes[name]) for name in examples.attributes.column_names]
        keys += [mixed(each, place) for place, each in enumerate(cells)]
    if examples.time is not None:
        keys.append(examples.time.view(np.uint64))
    keys.append(row_names(examples))
    return np.lexsort(keys).astype(np.int64)


def _columns(examples: Examples) -> Iterator[tuple[str, Any]]:
    for name in examples.inputs.column_names:
        yield f"input {name}", _one(examples.inputs[name])
    if examples.attributes is not None:
        for name in sorted(examples.attributes.column_names):
            yield f"attribute {name}", _one(examples.attributes[name])
    yield "target", pa.array(examples.target)
    for name, values in (("time", examples.time), ("row", examples.row)):
        if values is not None:
            yield name, pa.array(values)


def _one(column: Any) -> Any:
    """A column as a single array, with dictionaries decoded."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # without chunks
        array = pa.array([], array.type)
    return array.cast(pa.string()) if pa.types.is_dictionary(array.type) else array


def _bytes(array: Any) -> Iterator[bytes]:
    """The validity of the cells, then the cells: fixed widths, or lengths and UTF-8."""
    there = pc.is_valid(array).to_numpy(zero_copy_only=False)
    yield np.packbits(there).tobytes()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        texts = pc.fill_null(array, "")
        yield pc.binary_length(texts).to_numpy(zero_copy_only=False).astype("<i8").tobytes()
        yield "".join(texts.to_pylist()).encode()
    else:
        yield _numbers(array).astype("<u8").tobytes()


def _cells(column: Any) -> U64:
    """Each cell as 64 bits."""
    array = _one(column)
    if not (pa.types.is_string(array.type) or pa.types.is_large_string(array.type)):
        return mixed(
            _numbers(array)
            ^ np.where(pc.is_valid(array).to_numpy(zero_copy_only=False), np.uint64(0), np.uint64(_STEP))
        )
    coded = pc.dictionary_encode(array)
    texts = coded.dictionary.to_pylist()
    hashes = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in texts]
    codes = pc.fill_null(coded.indices, len(texts)).to_numpy(zero_copy_only=False)
    found: U64 = np.array([*hashes, 0], np.uint64)[codes]
    return found


def _numbers(array: Any) -> U64:
    """Cells of fixed width as 64 bits, missing cells as zero."""
    if pa.types.is_timestamp(array.type):
        array = array.cast(pa.timestamp("us", array.type.tz)).cast(pa.int64())
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    if pa.types.is_floating(array.type):
        return _floats(pc.fill_null(array, 0.0).to_numpy(zero_copy_only=False).astype(np.float64))
    whole: U64 = pc.fill_null(array, 0).to_numpy(zero_copy_only=False).astype(np.int64).view(np.uint64)
    return whole


def _floats(values: npt.NDArray[np.float64]) -> U64:
    """The bits of each number, with one zero and one NaN."""
    plain = np.where(np.isnan(values), np.nan, values + 0.0)
    return plain.view(np.uint64)
