"""Answers of a tabular model from one release: request, lookups, functions, model.

A few rows are answered without a table: their values go to the model's own single-row call. Many go as one table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from tidemill.core.errors import AnswerFailed, BundleCorrupt
from tidemill.core.records import Answered
from tidemill.core.signature import Field, FieldKind, Signature
from tidemill.features import Found, OnlineValues
from tidemill.release import Pointer
from tidemill.serving.clock import ServerClock
from tidemill.serving.computing import Computing
from tidemill.serving.infer_request import InferReader, Question
from tidemill.serving.prediction_id import prediction_id

if TYPE_CHECKING:
    from tidemill.models.tabular.model import TabularModel

_ARROW: dict[FieldKind, pa.DataType] = {
    "number": pa.float64(),
    "whole": pa.int64(),
    "flag": pa.bool_(),
    "text": pa.string(),
    "time": pa.timestamp("us", tz="UTC"),
}
#: Up to so many rows are answered one by one: making a table takes longer.
_FEW = 16
#: What a request is warmed up with.
_PLAIN: dict[FieldKind, Any] = {"number": 0.0, "whole": 0, "flag": False, "text": "", "time": None}
_json = msgspec.json.Encoder().encode


class TabularSources(msgspec.Struct, frozen=True):
    """What a tabular predictor is given beside its release."""

    #: `None` where the model looks nothing up.
    online: OnlineValues | None
    #: The release's modules by path.
    modules: Mapping[str, bytes]
    clock: ServerClock
    slot_s: int


class Row(msgspec.Struct, frozen=True):
    """One row with everything that its answer depends on, and the id that this gives."""

    prediction_id: str
    #: The surrogate of the person, empty where the request names none.
    subject: str
    as_of: int
    #: The model's inputs, in its order.
    values: list[Any]
    status: Mapping[str, Any]
    at: Mapping[str, int | None]
    #: What the request brought beside the model's inputs, without people.
    beside: dict[str, Any]


class TabularPredictor:
    """One release at work. Not for use by two threads at once."""

    def __init__(self, pointer: Pointer, model: TabularModel, reader: InferReader, sources: TabularSources) -> None:
        self.release = pointer.release
        self.signature = _signature(pointer)
        self.reader = reader
        self.model = model
        self._online = sources.online
        self._clock = sources.clock
        self._slot_s = sources.slot_s
        self._names = [field.name for field in self.signature.request]
        self._inputs = [field.name for field in self.signature.inputs]
        self._entities = sorted({lookup.entity for lookup in self.signature.lookups})
        self._subject = _named(self.signature.request, "subject")
        self._time = _named(self.signature.request, "event_time")
        self._beside = [name for name in self._names if name not in {*self._inputs, self._subject}]
        kinds = _kinds(self.signature)
        self._functions = [
            Computing(computed, kinds, sources.modules, self.release.rule_modules)
            for computed in self.signature.computed
        ]
        if [field.name for field in model.recipe.inputs] != self._inputs:
            raise BundleCorrupt(f"the model of {self.release.name} does not read what its signature names")

    def prepare(self, question: Question, *, off: bool = False) -> list[Row]:
        """Look up and compute what the answers depend on; of a model that is off, only who asks and when."""
        clock, release = self._clock, self.release
        slot, as_of = clock.slot(self._slot_s), clock.as_of(self._slot_s)
        asked = [dict(zip(self._names, values, strict=True)) for values in zip(*question.columns, strict=True)]
        asked = asked or [{} for _ in range(question.n)]
        times = [self._moment(row, as_of) for row in asked]
        keys = [list(row.values()) for row in asked]
        found = [None if off else self._look_up(row, time) for row, time in zip(asked, times, strict=True)]
        if not off:
            for compute in self._functions:
                compute(asked)
        rows = []
        for number, row in enumerate(asked):
            values = [] if off else [row[name] for name in self._inputs]
            name = prediction_id(
                release.name, release.bundle, "off" if off else "on", slot, as_of, number, keys[number], values
            )
            subject = (row.get(self._subject) or "") if self._subject else ""
            looked = found[number]
            status, at = (looked.status, looked.at) if looked is not None else (_NOTHING, _NOTHING)
            beside = {name: row[name] for name in self._beside} if self._beside else _NOTHING
            rows.append(Row(name, subject, times[number], values, status, at, beside))
        return rows

    def _moment(self, row: dict[str, Any], as_of: int) -> int:
        """When a row counts: its event time, or the server's as-of, which is then its event time."""
        if self._time is None:
            return as_of
        if row[self._time] is None:
            row[self._time] = as_of
        time: int = row[self._time]
        return time

    def _look_up(self, row: dict[str, Any], time: int) -> Found | None:
        if self._online is None:
            return None
        entities = {name: None if row[name] is None else str(row[name]) for name in self._entities}
        found = self._online.of(entities, time)
        row.update(found.values)
        return found

    def answer(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        """The outputs by name, a value (of `probabilities` a list) for each row; `AnswerFailed` where one is none."""
        found = self._one_by_one(rows) if len(rows) <= _FEW else self._many(rows)
        for name, values in found.items():
            if name == "label":
                continue
            flat = [one for value in values for one in value] if name == "probabilities" else values
            if not all(map(math.isfinite, flat)):
                raise AnswerFailed(f"{self.release.name} gave a {name} that is no finite number")
        return found

    def _one_by_one(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        given, signature = [self.model.predict_row(row.values) for row in rows], self.signature
        if signature.task == "classes":
            return {"probabilities": given, "label": [signature.classes[one.index(max(one))] for one in given]}
        first = [one[0] for one in given]
        if signature.task == "binary":
            threshold = self.model.recipe.threshold
            return {"probability": first, "label": [signature.classes[one >= threshold] for one in first]}
        return {"value": first}

    def _many(self, rows: Sequence[Row]) -> dict[str, list[Any]]:
        columns = zip(*(row.values for row in rows), strict=True)
        fields = self.signature.inputs
        table = pa.table(
            {field.name: pa.array(column, _ARROW[field.kind]) for field, column in zip(fields, columns, strict=True)}
        )
        return {name: values.tolist() for name, values in self.model.predict(table).items()}

    def items(self, outputs: Mapping[str, list[Any]], row: int) -> tuple[Answered, ...]:
        """An answer for the prediction log: the positive class, all classes best first, or the target's value."""
        signature = self.signature
        if signature.task == "binary":
            return (Answered(item=signature.classes[1], score=outputs["probability"][row], reason=""),)
        if signature.task == "classes":
            scored = zip(outputs["probabilities"][row], signature.classes, strict=True)
            ranked = sorted(scored, key=lambda pair: -pair[0])
            return tuple([Answered(item=name, score=score, reason="") for score, name in ranked])
        return (Answered(item=signature.target, score=outputs["value"][row], reason=""),)

    def features(self, row: Row) -> str:
        """What the answer was made from, as JSON text for the prediction log."""
        said = {"inputs": dict(zip(self._inputs, row.values, strict=True)), "status": row.status, "at": row.at}
        return _json(said).decode()

    def warm_up(self) -> None:
        """Answer one row and many, for nobody: what cannot do that must not go live."""
        for n in (1, _FEW + 1):
            now = self._clock.as_of(self._slot_s)
            columns = [[now if field.kind == "time" else _PLAIN[field.kind]] * n for field in self.signature.request]
            rows = self.prepare(Question(n, columns))
            outputs = self.answer(rows)
            for number, row in enumerate(rows):
                self.items(outputs, number)
                self.features(row)

    def moved(self) -> bool:
        """Never: what it looks up is read from the store for each row."""
        return False

    def refreshed(self) -> TabularPredictor:
        """Itself, since nothing that it keeps can move."""
        return self


_NOTHING: dict[str, Any] = {}


def _signature(pointer: Pointer) -> Signature:
    if pointer.release.signature is None:
        raise BundleCorrupt(f"{pointer.release.name} is no tabular model")
    return pointer.release.signature


def _named(fields: Sequence[Field], role: str) -> str | None:
    return next((field.name for field in fields if field.role == role), None)


def _kinds(signature: Signature) -> dict[str, FieldKind]:
    """The kind of everything that a function may take."""
    given = [field for computed in signature.computed for field in computed.gives]
    return {field.name: field.kind for field in (*signature.inputs, *given, *signature.request)}
