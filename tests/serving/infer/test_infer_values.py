"""Laws of reading tensors: JSON and bytes say the same, and what is read is what was sent."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import BadRequest
from tidemill.core.kinds import Kind
from tidemill.core.records.signature import InputField, Signature, outputs_of
from tidemill.serving.infer.oip_request import InferRequestReader
from tidemill.serving.infer.tensor_values import DATATYPE, FAMILY, converter

KINDS: tuple[Kind, ...] = ("float", "int", "bool", "str", "time")
VALUES = {
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "int": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "str": st.text(max_size=20),
    "time": st.integers(-62_135_596_800_000_000, 253_402_300_799_999_999),
}


def reader(kind: Kind) -> InferRequestReader:
    fields = (InputField(name="x", kind=kind),)
    signature = Signature(task="number", target="y", request=fields, inputs=fields, outputs=outputs_of("number"))
    return InferRequestReader(signature, lambda kind, raw: raw, 1_000)


def raw(values: list[Any], datatype: str) -> bytes:
    if datatype == "BYTES":
        encoded = [value.encode() for value in values]
        return b"".join(struct.pack("<I", len(one)) + one for one in encoded)
    kind = {"FP64": "<f8", "INT64": "<i8", "BOOL": "?"}[datatype]
    return np.array(values, kind).tobytes()


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_json_and_bytes_are_read_as_what_was_sent(kind: Kind, data: st.DataObject) -> None:
    values = data.draw(st.lists(VALUES[kind], min_size=1, max_size=20))
    tensor = {"name": "x", "shape": [len(values)], "datatype": DATATYPE[kind]}
    plain = json.dumps({"inputs": [tensor | {"data": values}]}).encode()
    content = raw(values, DATATYPE[kind])
    header = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(content)}}]}).encode()
    read = reader(kind)
    assert read.read(plain, None).columns == [values]
    assert read.read(header + content, str(len(header))).columns == [values]


@given(st.lists(st.one_of(st.none(), st.floats(allow_infinity=False)), min_size=1))
def test_missing_numbers_are_missing_however_they_are_said(values: list[float | None]) -> None:
    convert = converter("x", "float", "float")
    assert convert is not None
    found = convert(values, "FP64")
    assert found == [None if value is None or value != value else value for value in values]


@given(st.binary(max_size=200), st.integers(0, 210))
def test_any_bytes_are_read_or_refused(body: bytes, length: int) -> None:
    for header in (None, str(length)):
        with pytest.raises(BadRequest):
            reader("float").read(body, header)


@pytest.mark.parametrize("kind", KINDS)
def test_the_datatype_that_is_described_is_the_one_that_is_taken(kind: Kind) -> None:
    assert converter("x", kind, FAMILY[DATATYPE[kind]]) is not None
