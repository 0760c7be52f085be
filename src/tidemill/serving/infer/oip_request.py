"""Request by the Open Inference Protocol (OIP), from tensors to columns of a model's request fields.

A tensor is named like a field and has the shape [n] or [n, 1]. Where all fields are numbers, one tensor `inputs` of the
shape [n, fields] holds them all. Identifiers in `subject` fields are replaced by surrogates here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from tidemill.core.errors import BadRequest, TooLarge, nearest
from tidemill.core.kinds import KINDS
from tidemill.core.records.signature import InputField, Signature
from tidemill.serving.http import requests
from tidemill.serving.infer import binary_tensors
from tidemill.serving.infer.oip_tensor import PLAIN, OipTensor, binary_size, data_of, described_value
from tidemill.serving.infer.tensor_values import DATATYPE, FAMILY, Converter, Unfit, converter, numbers

#: What clients call a single tensor that holds all fields.
MATRIX = ("inputs", "input-0", "input", "predict")
_LONGEST_ID = 512


class RequestedOutput(msgspec.Struct, frozen=True):
    """One output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class _InferBody(msgspec.Struct, frozen=True):
    inputs: Annotated[list[OipTensor], Meta(min_length=1, max_length=10_000)]
    id: Annotated[str, Meta(max_length=_LONGEST_ID)] | None = None
    parameters: dict[str, Any] = {}
    outputs: list[RequestedOutput] = []


class InferRequest(msgspec.Struct, frozen=True):
    """Rows to answer."""

    n: int
    #: A column of n values for each field of the request, in the order of the signature; `None` is missing.
    columns: list[list[Any]]
    #: Outputs that are asked for, and whether as bytes.
    outputs: tuple[tuple[str, bool], ...] = ()
    id: str | None = None


_decoder = msgspec.json.Decoder(_InferBody)


class InferRequestReader:
    """Reads the questions to one release; `surrogate(kind, raw)` makes people unknown."""

    def __init__(self, signature: Signature, surrogate: Callable[[str, str], str], max_rows: int) -> None:
        #: What a request brings.
        self.fields = signature.request
        self.names = tuple(field.name for field in signature.request)
        self._places = {field.name: place for place, field in enumerate(signature.request)}
        self._outputs = tuple(field.name for field in signature.outputs)
        self._surrogate = surrogate
        self._max_rows = max_rows
        self._converters: dict[tuple[int, str], Converter] = {}
        #: Name -> place, and datatype -> converter, of what needs no second look.
        self._plain: dict[str, tuple[int, dict[str, Converter]]] = {}
        for place, field in enumerate(signature.request):
            plain: dict[str, Converter] = {}
            for datatype, family in FAMILY.items():
                if made := converter(field.name, field.kind, family):
                    self._converters[place, family] = plain[datatype] = made
            self._plain[field.name] = place, plain
        self._usual = tuple((name, False) for name in self._outputs)
        self._matrix = _matrix_fields(signature.request)
        self._required = [place for place, field in enumerate(signature.request) if not field.optional]
        self._subjects = [place for place, field in enumerate(signature.request) if field.role == "subject"]

    def read(self, body: bytes, header_length: str | None) -> InferRequest:
        """The question of a request's body, or `BadRequest` that names the tensor."""
        content, rest = binary_tensors.split(body, header_length)
        asked = requests.decoded(_decoder, content)
        tensors = asked.inputs
        n = self._rows(tensors[0].shape[0])
        columns: list[list[Any] | None] = [None] * len(self.fields)
        at = 0
        for number in self._not_plain(tensors, n, columns):
            at = self._take_any(tensors, number, rest, at, columns)
        if at != len(rest):
            raise BadRequest("there are bytes behind the last tensor's", tip="each tensor says `binary_data_size`")
        return InferRequest(n, self.filled(n, columns), self._wanted(asked), asked.id)

    def filled(self, n: int, columns: Sequence[list[Any] | None]) -> list[list[Any]]:
        """The columns with what was left out as missing, and people as surrogates."""
        made = [[None] * n if column is None else column for column in columns]
        for place in self._required:
            if None in made[place]:
                name, row = self.fields[place].name, made[place].index(None)
                left_out = columns[place] is None
                raise BadRequest(f"{name} is required and {'left out' if left_out else f'missing in row {row}'}")
        for place in self._subjects:
            made[place] = [self._person(self.fields[place].name, raw) for raw in made[place]]
        return made

    def _person(self, kind: str, raw: Any) -> str | None:
        if raw is None:
            return None
        if type(raw) is not str or not 0 < len(raw) <= _LONGEST_ID:
            raise BadRequest(f"{kind} names a person by a text of 1 to {_LONGEST_ID} characters")
        return self._surrogate(kind, raw)

    def _rows(self, n: int) -> int:
        if n < 1:
            raise BadRequest("the request holds no rows")
        if n > self._max_rows:
            raise TooLarge(f"{n:,} rows in one request", tip=f"send at most {self._max_rows:,} at a time")
        return n

    def _not_plain(self, tensors: Sequence[OipTensor], n: int, columns: list[list[Any] | None]) -> list[int]:
        """Take the tensors of the usual form, n plain values; the numbers of the others, and of what does not fit."""
        plain, shape, others = self._plain, [n], []
        for number, tensor in enumerate(tensors):
            data, found = tensor.data, plain.get(tensor.name)
            if data is None or found is None or tensor.parameters or tensor.shape != shape or len(data) != n:
                others.append(number)
                continue
            place, converters = found
            convert = converters.get(tensor.datatype)
            if convert is None or columns[place] is not None:
                others.append(number)
            elif n == 1 and convert is numbers and type(data[0]) is float and data[0] - data[0] == 0.0:
                columns[place] = data  # a finite float is what it is
            else:
                try:
                    columns[place] = convert(data, tensor.datatype)
                except Unfit:
                    others.append(number)
        return others

    def _take_any(
        self, tensors: Sequence[OipTensor], number: int, rest: memoryview, at: int, columns: list[list[Any] | None]
    ) -> int:
        """Take a tensor of any form; where its bytes end behind the JSON."""
        tensor, n = tensors[number], tensors[0].shape[0]
        size = tensor.parameters.get("binary_data_size") if tensor.parameters else None
        if size is not None:
            size = binary_size(size, len(rest) - at, tensor, number)
        data = data_of(tensor, number, None if size is None else rest[at : at + size])
        if len(tensors) == 1 and tensor.name in MATRIX and tensor.name not in self._places:
            self._spread(tensor, data, columns)
        else:
            self._take(tensor, number, n, data, columns)
        return at + (size or 0)

    def _take(self, tensor: OipTensor, number: int, n: int, data: list[Any], columns: list[list[Any] | None]) -> None:
        place = self._places.get(tensor.name)
        if place is None:
            raise BadRequest(
                f"the model takes no tensor {described_value(tensor, number)}", tip=nearest(tensor.name, self._places)
            )
        if columns[place] is not None:
            raise BadRequest(f"there are two tensors {tensor.name}")
        shape = tensor.shape
        if len(shape) == 2 and shape[1] != 1:
            raise BadRequest(f"the tensor {tensor.name} has the shape {shape}", tip=f"send [{n}] or [{n}, 1]")
        if shape[0] != n:
            raise BadRequest(f"the tensor {tensor.name} has {shape[0]} rows, and the first one has {n}")
        columns[place] = self._column(place, tensor, data)

    def _spread(self, tensor: OipTensor, data: list[Any], columns: list[list[Any] | None]) -> None:
        """One tensor [n, fields] as a column for each field."""
        width = len(self._matrix)
        if not width:
            raise BadRequest(
                f"the model takes no tensor {tensor.name}", tip="not all fields are numbers: send a tensor for each"
            )
        if tensor.shape[1:] != [width]:
            names = ", ".join(self.fields[place].name for place in self._matrix)
            raise BadRequest(
                f"the tensor {tensor.name} has the shape {tensor.shape}", tip=f"its {width} columns are {names}"
            )
        for i, place in enumerate(self._matrix):
            columns[place] = self._column(place, tensor, data[i::width])

    def _column(self, place: int, tensor: OipTensor, data: list[Any]) -> list[Any]:
        field, datatype = self.fields[place], tensor.datatype
        convert = self._converters.get((place, FAMILY[datatype]))
        if convert is None:
            raise BadRequest(
                f"the tensor {tensor.name} is {datatype}, and {field.name} is {KINDS[field.kind].words}",
                tip=f"send {DATATYPE[field.kind]}",
            )
        try:
            return convert(data, datatype)
        except Unfit as why:
            within = "" if field.name == tensor.name else f" ({field.name})"
            raise BadRequest(f"the tensor {tensor.name}{within}: {why}") from None

    def _wanted(self, asked: _InferBody) -> tuple[tuple[str, bool], ...]:
        if not asked.outputs and not asked.parameters:
            return self._usual
        always = asked.parameters.get("binary_data_output") is True
        if not asked.outputs:
            return tuple([(name, always) for name in self._outputs])
        found: dict[str, bool] = {}
        for wanted in asked.outputs:
            if wanted.name not in self._outputs:
                name = wanted.name if PLAIN.match(wanted.name) else "of that name"
                raise BadRequest(f"the model has no output {name}", tip=f"it has {', '.join(self._outputs)}")
            if wanted.name in found:
                raise BadRequest(f"the output {wanted.name} is asked for twice")
            refused = {"classification", "shared_memory_region"} & wanted.parameters.keys()
            if refused:
                raise BadRequest(f"the output {wanted.name}: {refused.pop()} is not offered here")
            found[wanted.name] = wanted.parameters.get("binary_data", always) is True
        return tuple(found.items())


def _matrix_fields(fields: Sequence[InputField]) -> tuple[int, ...]:
    """Places of the fields that one matrix holds; none where a text or a time has to be sent."""
    rest = [place for place, field in enumerate(fields) if not (field.role == "event_time" and field.optional)]
    numeric = all(fields[place].kind in ("float", "int", "bool") for place in rest)
    return tuple(rest) if numeric else ()
