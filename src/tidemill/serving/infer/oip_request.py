"""Request by the Open Inference Protocol (OIP), from tensors to columns of a model's request fields.

A tensor has the name of a field and the shape [n] or [n, 1]. Where all fields are numbers, one tensor `inputs` of the
shape [n, fields] may contain them all. Identifiers in `subject` fields are replaced by surrogates here.
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
from tidemill.serving.infer.oip_tensor import PLAIN, OipTensor, binary_size, data_of, printable_name
from tidemill.serving.infer.tensor_values import DATATYPE, FAMILY, Converter, Unfit, converter, numbers

#: Names that clients use for a single tensor with all fields.
MATRIX = ("inputs", "input-0", "input", "predict")
_LONGEST_ID = 512
_ONE = [1]


class RequestedOutput(msgspec.Struct, frozen=True):
    """One requested output."""

    name: str
    parameters: dict[str, Any] | None = None


class InferBody(msgspec.Struct, frozen=True):
    """Rows to predict, as tensors, and the outputs to return."""

    inputs: Annotated[list[OipTensor], Meta(min_length=1, max_length=10_000)]
    id: Annotated[str, Meta(max_length=_LONGEST_ID)] | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


class InferRequest(msgspec.Struct, frozen=True):
    """Rows to predict."""

    n: int
    #: A column of n values for each field of the request, in the order of the signature; `None` is missing.
    columns: list[list[Any]]
    #: Requested outputs, and whether as binary data.
    outputs: tuple[tuple[str, bool], ...] = ()
    id: str | None = None


_decoder = msgspec.json.Decoder(InferBody)


class InferRequestReader:
    """Parses the requests to one release; `surrogate(kind, raw)` replaces identifiers of people."""

    def __init__(self, signature: Signature, surrogate: Callable[[str, str], str], max_rows: int) -> None:
        #: The fields of a request.
        self.fields = signature.request
        self.names = tuple(field.name for field in signature.request)
        self._places = {field.name: place for place, field in enumerate(signature.request)}
        self._outputs = tuple(field.name for field in signature.outputs)
        self._surrogate = surrogate
        self._max_rows = max_rows
        self._converters: dict[tuple[int, str], Converter] = {}
        #: Names and datatypes of the tensors of the last single row in the usual form, and their places and converters.
        self._row_form: list[tuple[str, str]] = []
        self._row_steps: list[tuple[int, Converter]] = []
        #: Name -> place, and datatype -> converter, for tensors in the usual form.
        self._plain: dict[str, tuple[int, dict[str, Converter]]] = {}
        for place, field in enumerate(signature.request):
            plain: dict[str, Converter] = {}
            for datatype, family in FAMILY.items():
                if convert := converter(field.name, field.kind, family):
                    self._converters[place, family] = plain[datatype] = convert
            self._plain[field.name] = place, plain
        self._usual = tuple((name, False) for name in self._outputs)
        self._matrix = _matrix_fields(signature.request)
        self._required = [place for place, field in enumerate(signature.request) if not field.optional]
        self._subjects = [place for place, field in enumerate(signature.request) if field.role == "subject"]

    def read(self, body: bytes, header_length: str | None) -> InferRequest:
        """The rows of a request's body; `BadRequest` names the tensor."""
        content, rest = binary_tensors.split(body, header_length)
        parsed = requests.decoded(_decoder, content)
        tensors = parsed.inputs
        n = self._rows(tensors[0].shape[0])
        columns: list[list[Any] | None] = [None] * len(self.fields)
        at = 0
        others = () if n == 1 and self._is_plain_row(tensors, columns) else self._not_plain(tensors, n, columns)
        for number in others:
            at = self._take_any(tensors, number, rest, at, columns)
        if at != len(rest):
            raise BadRequest(
                "there are bytes after those of the last tensor", tip="each binary tensor needs its `binary_data_size`"
            )
        return InferRequest(n, self.filled(n, columns), self._requested(parsed), parsed.id)

    def filled(self, n: int, columns: Sequence[list[Any] | None]) -> list[list[Any]]:
        """The columns, with missing values for omitted fields, and surrogates for identifiers of people."""
        filled = [[None] * n if column is None else column for column in columns]
        for place in self._required:
            if None in filled[place]:
                name, row = self.fields[place].name, filled[place].index(None)
                left_out = columns[place] is None
                raise BadRequest(f"`{name}` is required, and missing in {'the request' if left_out else f'row {row}'}")
        for place in self._subjects:
            filled[place] = [self._surrogate_of(self.fields[place].name, raw) for raw in filled[place]]
        return filled

    def _surrogate_of(self, kind: str, raw: Any) -> str | None:
        if raw is None:
            return None
        if type(raw) is not str or not 0 < len(raw) <= _LONGEST_ID:
            raise BadRequest(f"`{kind}` must be text of 1 to {_LONGEST_ID} characters")
        return self._surrogate(kind, raw)

    def _rows(self, n: int) -> int:
        if n < 1:
            raise BadRequest("the request has no rows")
        if n > self._max_rows:
            raise TooLarge(f"the request has {n:,} rows", tip=f"send at most {self._max_rows:,} at a time")
        return n

    def _is_plain_row(self, tensors: Sequence[OipTensor], columns: list[list[Any] | None]) -> bool:
        """Convert the tensors of one row if they have the form of the last such row; else `columns` stays empty."""
        form = [(tensor.name, tensor.datatype) for tensor in tensors]
        if form != self._row_form:
            self._row_form, self._row_steps = form, self._steps(form)
        if len(self._row_steps) != len(tensors):
            return False
        found = []
        for (place, convert), tensor in zip(self._row_steps, tensors, strict=True):
            data = tensor.data
            if data is None or len(data) != 1 or tensor.shape != _ONE or tensor.parameters:
                return False
            value = data[0]
            if convert is not numbers or type(value) is not float or value - value != 0.0:  # else it is a finite float
                try:
                    data = convert(data, tensor.datatype)
                except Unfit:
                    return False
            found.append((place, data))
        for place, data in found:
            columns[place] = data
        return True

    def _steps(self, form: Sequence[tuple[str, str]]) -> list[tuple[int, Converter]]:
        """Place and converter of each tensor; none if a tensor is unknown, repeated or of another kind."""
        steps = {}
        for name, datatype in form:
            place, converters = self._plain.get(name, (-1, {}))
            if datatype not in converters or place in steps:
                return []
            steps[place] = converters[datatype]
        return list(steps.items())

    def _not_plain(self, tensors: Sequence[OipTensor], n: int, columns: list[list[Any] | None]) -> list[int]:
        """Convert the tensors of the usual form, n plain values; returns the indices of all other tensors."""
        plain, shape, others = self._plain, [n], []
        for number, tensor in enumerate(tensors):
            data, known = tensor.data, plain.get(tensor.name)
            if data is None or known is None or tensor.parameters or tensor.shape != shape or len(data) != n:
                others.append(number)
                continue
            place, converters = known
            convert = converters.get(tensor.datatype)
            if convert is None or columns[place] is not None:
                others.append(number)
            else:
                try:
                    columns[place] = convert(data, tensor.datatype)
                except Unfit:
                    others.append(number)
        return others

    def _take_any(
        self, tensors: Sequence[OipTensor], number: int, rest: memoryview, at: int, columns: list[list[Any] | None]
    ) -> int:
        """Convert a tensor of any form; returns the end offset of its binary data."""
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
                f"the model has no input {printable_name(tensor, number)}", tip=nearest(tensor.name, self._places)
            )
        if columns[place] is not None:
            raise BadRequest(f"there are two tensors {tensor.name}")
        shape = tensor.shape
        if len(shape) == 2 and shape[1] != 1:
            raise BadRequest(f"the tensor {tensor.name} has the shape {shape}", tip=f"send [{n}] or [{n}, 1]")
        if shape[0] != n:
            raise BadRequest(f"the tensor {tensor.name} has {shape[0]} rows, but the first tensor has {n}")
        columns[place] = self._column(place, tensor, data)

    def _spread(self, tensor: OipTensor, data: list[Any], columns: list[list[Any] | None]) -> None:
        """Split one tensor [n, fields] into a column for each field."""
        width = len(self._matrix)
        if not width:
            raise BadRequest(
                f"the model has no input {tensor.name}",
                tip="its fields are not all numbers: send one tensor for each field",
            )
        if tensor.shape[1:] != [width]:
            names = ", ".join(self.fields[place].name for place in self._matrix)
            raise BadRequest(
                f"the tensor {tensor.name} has the shape {tensor.shape}", tip=f"the model has {width} columns: {names}"
            )
        for i, place in enumerate(self._matrix):
            columns[place] = self._column(place, tensor, data[i::width])

    def _column(self, place: int, tensor: OipTensor, data: list[Any]) -> list[Any]:
        field, datatype = self.fields[place], tensor.datatype
        convert = self._converters.get((place, FAMILY[datatype]))
        if convert is None:
            raise BadRequest(
                f"the tensor {tensor.name} is {datatype}: expected {KINDS[field.kind].words} for `{field.name}`",
                tip=f"send {DATATYPE[field.kind]}",
            )
        try:
            return convert(data, datatype)
        except Unfit as why:
            within = "" if field.name == tensor.name else f" ({field.name})"
            raise BadRequest(f"the tensor {tensor.name}{within}: {why}") from None

    def _requested(self, parsed: InferBody) -> tuple[tuple[str, bool], ...]:
        if not parsed.outputs and not parsed.parameters:
            return self._usual
        always = (parsed.parameters or {}).get("binary_data_output") is True
        if not parsed.outputs:
            return tuple([(name, always) for name in self._outputs])
        requested: dict[str, bool] = {}
        for output in parsed.outputs:
            if output.name not in self._outputs:
                name = output.name if PLAIN.match(output.name) else "of this name"
                raise BadRequest(f"the model has no output {name}", tip=f"its outputs: {', '.join(self._outputs)}")
            if output.name in requested:
                raise BadRequest(f"the output {output.name} is requested twice")
            parameters = output.parameters or {}
            refused = {"classification", "shared_memory_region"} & parameters.keys()
            if refused:
                raise BadRequest(f"the output {output.name}: {refused.pop()} is not supported")
            requested[output.name] = parameters.get("binary_data", always) is True
        return tuple(requested.items())


def _matrix_fields(fields: Sequence[InputField]) -> tuple[int, ...]:
    """Positions of the fields in a matrix tensor, without an optional event time; empty unless all are numeric."""
    rest = [place for place, field in enumerate(fields) if not (field.role == "event_time" and field.optional)]
    numeric = all(fields[place].kind in ("float", "int", "bool") for place in rest)
    return tuple(rest) if numeric else ()
