"""`POST /invocations`: tables of rows in the formats of MLflow's scoring server, with the same predictor as `/v2`.

Standard: MLflow's REST scoring protocol: `dataframe_split`, `dataframe_records`, `inputs` and `instances`, or CSV.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tidemill.core.errors import BadRequest, NotServed, SourceError, nearest
from tidemill.core.kinds import KINDS
from tidemill.core.records.release import Release
from tidemill.core.records.signature import InputField
from tidemill.core.settings import Serve
from tidemill.serving.http import requests
from tidemill.serving.http.http_messages import CSV, Answer, HttpRequest, HttpResponse, media_of
from tidemill.serving.infer.infer_route import InferRoute
from tidemill.serving.infer.oip_request import InferRequest, InferRequestReader
from tidemill.serving.infer.oip_response import LogReceipt, about, unseen_inputs
from tidemill.serving.infer.tabular_predictor import PreparedRow, TabularPredictor
from tidemill.serving.infer.tensor_values import Unfit, converter
from tidemill.serving.live.live_model import LiveModel

Columns = dict[str, list[Any]]
#: A CSV table and the fields that it may have -> the number of rows, and the values of its columns; `SourceError`.
ReadCsv = Callable[[bytes, Sequence[InputField]], tuple[int, Columns]]
#: For messages: the values of a JSON column, by the Python types in it.
_WORDS = {frozenset({bool}): "booleans", frozenset({str}): "text", frozenset({int}): "integers"}


class SplitTable(msgspec.Struct, frozen=True):
    """A table by its columns and rows, as pandas writes it with `orient="split"`."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | None = None


class InvocationBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows to predict, in one of the four forms of MLflow."""

    dataframe_split: SplitTable | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    inputs: list[dict[str, Any]] | dict[str, Any] | None = None
    instances: list[dict[str, Any]] | dict[str, Any] | None = None
    params: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(InvocationBody)
_encode = msgspec.json.Encoder().encode


class InvocationAnswer(msgspec.Struct, frozen=True):
    """A response, which also has the counts of features by status."""

    predictions: list[Any]
    release: str
    prediction_ids: str
    served_day: str
    logged: bool
    #: Row, counted from 0 -> its inputs that are unlike the training rows.
    unseen: dict[str, list[str]] = {}
    #: The class of each column of probabilities; absent where there are none.
    classes: list[str] | msgspec.UnsetType = msgspec.UNSET


class Invocations:
    """Responses to MLflow's clients for all tabular models of a worker."""

    def __init__(
        self, models: Mapping[str, LiveModel], inferring: InferRoute, read_csv: ReadCsv, limits: Serve
    ) -> None:
        self._models = models
        self._inferring = inferring
        self._read_csv = read_csv
        self._limits = limits

    def __call__(self, request: HttpRequest) -> Answer:
        """`predictions`: a value for each row, or `{"probability": …, "label": …}`."""
        csv = media_of(request.headers) == CSV
        read = self._read_table if csv else self._read
        return self._inferring.answer(
            self._model(request.query), request, lambda reader: read(reader, request.body), _respond, large=csv
        )

    def _model(self, query: str) -> LiveModel:
        """The model in `?model=`, or the only tabular model."""
        name, _, value = query.partition("=")
        if query and name != "model":
            raise BadRequest("the only query parameter is `model`", tip="for example ?model=churn")
        if query:
            return self._inferring.model(requests.unescaped(value, "query"))
        served = [model for model in self._models.values() if isinstance(model.predictor, TabularPredictor)]
        if not served:
            raise NotServed("no tabular model is served here")
        if len(served) > 1:
            names = ", ".join(sorted(model.name for model in served))
            raise BadRequest(f"{len(served)} tabular models are served here", tip=f"add ?model= with one of: {names}")
        return served[0]

    def _read(self, reader: InferRequestReader, body: bytes) -> InferRequest:
        try:
            parsed = requests.decoded(_decoder, body)
        except BadRequest:
            if b"NaN" not in body:
                raise
            parsed = requests.decoded(_decoder, _without_nan(body))
        columns, n = _columns(parsed, reader.names, self._limits)
        requests.bounded([None] * n, self._limits)
        values = [_converted(field, columns[field.name]) if field.name in columns else None for field in reader.fields]
        return InferRequest(n, reader.filled(n, values))

    def _read_table(self, reader: InferRequestReader, body: bytes) -> InferRequest:
        try:
            n, columns = self._read_csv(body, reader.fields)
        except SourceError as problem:  # its message has the line and the column, never a value
            raise BadRequest(problem.message, tip=problem.tip) from None
        requests.bounded([None] * n, self._limits)
        return InferRequest(n, reader.filled(n, [columns.get(field.name) for field in reader.fields]))


def _without_nan(body: bytes) -> bytes:
    """The body with null for NaN, which is no JSON, and which MLflow's client writes for a missing value."""

    def constant(name: str) -> None:
        if name != "NaN":
            raise ValueError(name)

    try:
        return _encode(json.loads(body.decode(), parse_constant=constant))
    except (ValueError, OverflowError, RecursionError):
        raise BadRequest("the body is not valid JSON in UTF-8") from None


def _columns(body: InvocationBody, known: Sequence[str], limits: Serve) -> tuple[Columns, int]:
    """Columns by name, all of them known, and the number of rows."""
    forms = [body.dataframe_split, body.dataframe_records, body.inputs, body.instances]
    present = [form for form in forms if form is not None]
    if len(present) != 1:
        raise BadRequest(
            f"the body has {len(present)} of the tables dataframe_split, dataframe_records, inputs and instances",
            tip="send exactly one of them",
        )
    form = present[0]
    names = form.columns if isinstance(form, SplitTable) else _names(form, limits)
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise BadRequest("the request has a column that is not an input of the model", tip=nearest(unknown, known))
    if isinstance(form, SplitTable):
        return _of_split(form)
    return _of_records(form, names) if isinstance(form, list) else _of_columns(form)


def _names(form: Sequence[Mapping[str, Any]] | Mapping[str, Any], limits: Serve) -> Sequence[str]:
    """The column names, checked before columns are built: n records with n different names would give n * n values."""
    if isinstance(form, Mapping):
        return list(form)
    return list(dict.fromkeys(name for record in requests.bounded(list(form), limits) for name in record))


def _of_split(split: SplitTable) -> tuple[Columns, int]:
    if len(set(split.columns)) != len(split.columns):
        raise BadRequest("dataframe_split names a column twice")
    wrong = next((row for row, values in enumerate(split.data) if len(values) != len(split.columns)), None)
    if wrong is not None:
        raise BadRequest(f"dataframe_split: row {wrong} does not have one value for each column")
    columns = {name: [row[place] for row in split.data] for place, name in enumerate(split.columns)}
    return columns, len(split.data)


def _of_records(records: Sequence[Mapping[str, Any]], names: Sequence[str]) -> tuple[Columns, int]:
    return {name: [record.get(name) for record in records] for name in names}, len(records)


def _of_columns(given: Mapping[str, Any]) -> tuple[Columns, int]:
    columns = {name: values if isinstance(values, list) else [values] for name, values in given.items()}
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise BadRequest("the columns have different lengths")
    return columns, lengths.pop() if lengths else 0


def _converted(field: InputField, values: list[Any]) -> list[Any]:
    """A column's JSON values as values of the field; the datatype follows from the values."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return values
    if kinds == {bool}:
        datatype, family = "BOOL", "bool"
    elif kinds == {str}:
        datatype, family = "BYTES", "bytes"
    elif kinds == {int} and field.kind != "float":
        datatype, family = "INT64", "int"
    else:
        datatype, family = "FP64", "float"
    convert = converter(field.name, field.kind, family)
    if convert is None:
        found_type = _WORDS.get(frozenset(kinds)) or ("numbers" if kinds <= {int, float} else "mixed types")
        raise BadRequest(f"expected {KINDS[field.kind].words} for `{field.name}`, found {found_type}")
    try:
        return convert(values, datatype)
    except Unfit as why:
        raise BadRequest(f"{field.name}: {why}") from None


def _respond(
    release: Release,
    question: InferRequest,
    rows: Sequence[PreparedRow],
    outputs: Mapping[str, list[Any]],
    logged: LogReceipt,
) -> HttpResponse:
    body = {"predictions": _predictions(outputs)} | about(release, rows, logged)
    if unseen := unseen_inputs(rows):
        body["unseen"] = unseen
    if release.signature is not None and release.signature.classes:
        body["classes"] = release.signature.probability_classes
    return HttpResponse(200, _encode(body), (("cache-control", "no-store"),))


def _predictions(outputs: Mapping[str, list[Any]]) -> list[Any]:
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return [dict(zip(outputs, values, strict=True)) for values in zip(*outputs.values(), strict=True)]
