"""One table of kinds: each has a type in every system, the way back is the way there, and former words are read."""

from __future__ import annotations

from datetime import datetime
from typing import get_args

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import tidemill as tm
from tidemill.core.kinds import FORMER_KINDS, KINDS, Kind, arrow_type, kind_of_arrow, kind_of_dtype
from tidemill.core.records.signature import InputField, Signature, outputs_of
from tidemill.models.tabular.on_demand_arrays import array_of_values, values_of_array
from tidemill.serving.infer.tensor_values import FAMILY, converter
from tidemill.sources.files.type_conversion import POLARS

EVERY = pytest.mark.parametrize("kind", get_args(Kind))


def test_the_table_has_every_kind_once() -> None:
    assert tuple(KINDS) == get_args(Kind)
    assert set(FORMER_KINDS.values()) < set(KINDS) and not set(FORMER_KINDS) & set(KINDS)


@EVERY
def test_the_types_of_a_kind_lead_back_to_it(kind: Kind) -> None:
    assert kind_of_arrow(arrow_type(kind)) == kind
    assert pl.Series([], dtype=POLARS[kind]).to_arrow().type.id in (arrow_type(kind).id, pa.large_string().id)
    assert kind_of_dtype(np.asarray(pa.array([], arrow_type(kind)).to_numpy(zero_copy_only=False)).dtype.kind) == kind


@EVERY
def test_a_stored_value_fits_column_function_and_wire(kind: Kind) -> None:
    value = KINDS[kind].stored()
    assert pa.array([value, None], arrow_type(kind)).null_count == 1
    assert values_of_array(array_of_values([value, None], kind), kind) in ([value, None], [value, False])
    convert = converter("x", kind, FAMILY[KINDS[kind].datatype])
    assert convert is not None and convert([value], KINDS[kind].datatype) == [value]


@EVERY
def test_the_example_is_of_the_json_type(kind: Kind) -> None:
    types = {str: "string", float: "number", int: "integer", bool: "boolean"}
    assert types[type(KINDS[kind].example)] == KINDS[kind].json_type


def test_a_contract_is_annotated_with_the_python_types() -> None:
    class Row(tm.Event):
        at: datetime = tm.event_time()
        name: str
        size: float
        n: int
        open: bool

    assert {column.name: column.kind for column in Row.contract.columns} == {
        "at": "time", "name": "str", "size": "float", "n": "int", "open": "bool"
    }  # fmt: skip


def test_other_widths_have_the_same_kind_and_nested_types_none() -> None:
    assert [kind_of_arrow(of) for of in (pa.int8(), pa.float32(), pa.decimal128(9, 2), pa.large_string())] == [
        "int", "float", "float", "str"
    ]  # fmt: skip
    assert kind_of_arrow(pa.dictionary(pa.int8(), pa.string())) == "str"
    assert kind_of_arrow(pa.list_(pa.int64())) is None and kind_of_arrow(pa.date32()) is None


def test_a_signature_in_former_words_is_read_and_written_in_those_of_today() -> None:
    former = (
        b'{"task":"binary","target":"left","request":[{"name":"age","kind":"number","optional":false,"unit":null,'
        b'"role":null},{"name":"plan","kind":"text"}],"inputs":[{"name":"visits","kind":"whole"},{"name":"member",'
        b'"kind":"flag"},{"name":"since","kind":"time"}],"outputs":[{"name":"probability","kind":"number",'
        b'"optional":false},{"name":"label","kind":"text"}]}'
    )
    signature = msgspec.json.decode(former, type=Signature)
    assert [field.kind for field in (*signature.request, *signature.inputs)] == ["float", "str", "int", "bool", "time"]
    assert signature.outputs == outputs_of("binary")
    assert msgspec.json.decode(signature.json(), type=Signature) == signature
    assert not any(f'"kind":"{word}"' in signature.json() for word in FORMER_KINDS)


def test_a_word_for_no_kind_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"name":"x","kind":"complex"}', type=InputField)
