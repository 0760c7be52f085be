"""Predictor of a tabular model for one release: request, feature lookups, on-demand functions, model.

A few rows are predicted one by one, by the model's own single-row call. Many are predicted as one table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from tidemill.core.errors import AnswerFailed, BundleCorrupt
from tidemill.core.kinds import KINDS, Kind, arrow_type
from tidemill.core.records.serving import ScoredItem
from tidemill.core.records.signature import InputField, Signature
from tidemill.features import LookupResult, OnlineLookup
from tidemill.release import Pointer
from tidemill.serving.infer.oip_request import InferRequest, InferRequestReader
from tidemill.serving.infer.on_demand_features import OnDemandFunction
from tidemill.serving.live.prediction_id import prediction_id
from tidemill.serving.live.server_clock import ServerClock

if TYPE_CHECKING:
    from tidemill.models.tabular.tabular_model import TabularModel

#: Up to so many rows are answered one by one: making a table takes longer.
_FEW = 16
#: What a request is warmed up with.
_json = msgspec.json.Encoder().encode
_NOTHING: dict[str, Any] = {}
#: A row's inputs of the model, and how its lookups went.
_Made = tuple[list[Any], Mapping[str, Any], Mapping[str, int | None]]


class TabularSources(msgspec.Struct, frozen=True):
    """What a tabular predictor is given beside its release."""

    #: `None` where the model looks nothing up.
    online: OnlineLookup | None
    #: The release's modules by path.
    modules: Mapping[str, bytes]
    clock: ServerClock
    slot_s: int


class PreparedRow(msgspec.Struct, frozen=True):
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
    """One release at work. The loop asks it for a few rows at a time, while a thread asks it for many."""

    def __init__(
        self, pointer: Pointer, model: TabularModel, reader: InferRequestReader, sources: TabularSources
    ) -> None:
        self.release = pointer.release
        self.name = pointer.release.name
        self.assignment = pointer.assignment
        self.signature = _signature(pointer)
        #: How many scored things a row's answer holds.
        self.n = len(self.signature.classes) if self.signature.task == "classes" else 1
        self.reader = reader
        self.model = model
        self._online = sources.online
        self._clock = sources.clock
        self._slot_s = sources.slot_s
        self._names = [field.name for field in self.signature.request]
        self._inputs = [field.name for field in self.signature.inputs]
        self._entities = sorted({lookup.entity for lookup in self.signature.lookups})
        self._subject_at = _place_of(self.signature.request, "subject")
        self._time_at = _place_of(self.signature.request, "event_time")
        self._beside = [
            (name, place)
            for place, name in enumerate(self._names)
            if name not in self._inputs and place != self._subject_at
        ]
        #: Where each input stands in the request; `None` where something is looked up or computed.
        self._straight = None if self.signature.lookups or self.signature.computed else _places(self.signature)
        kinds = _kinds(self.signature)
        self._functions = [
            OnDemandFunction(computed, kinds, sources.modules, self.release.rule_modules, Path(pointer.bundle))
            for computed in self.signature.computed
        ]
        if [field.name for field in model.recipe.inputs] != self._inputs:
            raise BundleCorrupt(f"the model of {self.release.name} does not read what its signature names")

    def prepare(self, question: InferRequest, *, off: bool = False) -> list[PreparedRow]:
        """Look up and compute what the answers depend on; of a model that is off, only who asks and when."""
        slot, as_of = self._clock.moment(self._slot_s)
        asked = [list(values) for values in zip(*question.columns, strict=True)] or [[] for _ in range(question.n)]
        times = [self._moment(values, as_of) for values in asked]
        if off:
            made: list[_Made] = [([], _NOTHING, _NOTHING)] * len(asked)
        elif self._straight is not None:
            straight = self._straight
            made = [([values[place] for place in straight], _NOTHING, _NOTHING) for values in asked]
        else:
            made = self._made(asked, times)
        arm = self.assignment
        about = (self.name, self.release.bundle, arm.deployment, arm.arm, "off" if off else "on", slot, as_of)
        rows, subject_at, beside = [], self._subject_at, self._beside
        for number, (values, (inputs, status, at)) in enumerate(zip(asked, made, strict=True)):
            rows.append(
                PreparedRow(
                    prediction_id(*about, number, values, inputs),
                    "" if subject_at is None else values[subject_at] or "",
                    times[number],
                    inputs,
                    status,
                    at,
                    {name: values[place] for name, place in beside} if beside else _NOTHING,
                )
            )
        return rows

    def _moment(self, values: list[Any], as_of: int) -> int:
        """When a row counts: its event time, or the server's as-of, which is then its event time."""
        place = self._time_at
        if place is None:
            return as_of
        if values[place] is None:
            values[place] = as_of
        time: int = values[place]
        return time

    def _made(self, asked: Sequence[list[Any]], times: Sequence[int]) -> list[_Made]:
        """The model's inputs of each row, after lookups and functions, and how the lookups went."""
        rows = [dict(zip(self._names, values, strict=True)) for values in asked]
        found = self._look_up(rows, times)
        for compute in self._functions:
            compute(rows)
        inputs = ([row[name] for name in self._inputs] for row in rows)
        return [
            (values, _NOTHING, _NOTHING) if looked is None else (values, looked.status, looked.at)
            for values, looked in zip(inputs, found, strict=True)
        ]

    def _look_up(self, rows: Sequence[dict[str, Any]], times: Sequence[int]) -> Sequence[LookupResult | None]:
        if self._online is None:
            return [None] * len(rows)
        entities = [{name: None if row[name] is None else str(row[name]) for name in self._entities} for row in rows]
        found = self._online.of_many(list(zip(entities, times, strict=True)))
        for row, one in zip(rows, found, strict=True):
            row.update(one.values)
        return found

    def answer(self, rows: Sequence[PreparedRow]) -> dict[str, list[Any]]:
        """The outputs by name, a value (of `probabilities` a list) for each row; `AnswerFailed` where one is none."""
        found = self._one_by_one(rows) if len(rows) <= _FEW else self._many(rows)
        for name, values in found.items():
            if name == "label":
                continue
            flat = [one for value in values for one in value] if name == "probabilities" else values
            if not all(map(math.isfinite, flat)):
                raise AnswerFailed(f"{self.release.name} gave a {name} that is no finite number")
        return found

    def _one_by_one(self, rows: Sequence[PreparedRow]) -> dict[str, list[Any]]:
        given, signature = [self.model.predict_row(row.values) for row in rows], self.signature
        if signature.task == "classes":
            return {"probabilities": given, "label": [signature.classes[one.index(max(one))] for one in given]}
        first = [one[0] for one in given]
        if signature.task == "binary":
            threshold = self.model.recipe.threshold
            return {"probability": first, "label": [signature.classes[one >= threshold] for one in first]}
        return {"value": first}

    def _many(self, rows: Sequence[PreparedRow]) -> dict[str, list[Any]]:
        columns = zip(*(row.values for row in rows), strict=True)
        fields = self.signature.inputs
        table = pa.table(
            {
                field.name: pa.array(column, arrow_type(field.kind))
                for field, column in zip(fields, columns, strict=True)
            }
        )
        return {name: values.tolist() for name, values in self.model.predict(table).items()}

    def items(self, outputs: Mapping[str, list[Any]], row: int) -> tuple[ScoredItem, ...]:
        """An answer for the prediction log: the positive class, all classes best first, or the target's value."""
        signature = self.signature
        if signature.task == "binary":
            return (ScoredItem(item=signature.classes[1], score=outputs["probability"][row], reason=""),)
        if signature.task == "classes":
            scored = zip(outputs["probabilities"][row], signature.classes, strict=True)
            ranked = sorted(scored, key=lambda pair: -pair[0])
            return tuple([ScoredItem(item=name, score=score, reason="") for score, name in ranked])
        return (ScoredItem(item=signature.target, score=outputs["value"][row], reason=""),)

    def features(self, row: PreparedRow) -> str:
        """What the answer was made from, as JSON text for the prediction log."""
        said = {"inputs": dict(zip(self._inputs, row.values, strict=True)), "status": row.status, "at": row.at}
        return _json(said).decode()

    def warm_up(self) -> None:
        """Answer one row and many, for nobody: what cannot do that must not go live."""
        for n in (1, _FEW + 1):
            now = self._clock.as_of(self._slot_s)
            columns = [
                [now if field.kind == "time" else KINDS[field.kind].stored()] * n for field in self.signature.request
            ]
            rows = self.prepare(InferRequest(n, columns))
            outputs = self.answer(rows)
            for number, row in enumerate(rows):
                self.items(outputs, number)
                self.features(row)

    @property
    def views(self) -> tuple[str, ...]:
        """None: what it looks up is read from the store for each row."""
        return ()

    def is_outdated(self, marks: Mapping[str, int]) -> bool:
        """Never: it keeps nothing of the store."""
        return False

    def reloaded(self) -> TabularPredictor:
        """Itself, since nothing that it keeps can move."""
        return self


def _signature(pointer: Pointer) -> Signature:
    if pointer.release.signature is None:
        raise BundleCorrupt(f"{pointer.release.name} is no tabular model")
    return pointer.release.signature


def _place_of(fields: Sequence[InputField], role: str) -> int | None:
    return next((place for place, field in enumerate(fields) if field.role == role), None)


def _places(signature: Signature) -> list[int] | None:
    """Where each input stands in the request; `None` where one does not."""
    places = {field.name: place for place, field in enumerate(signature.request)}
    wanted = [places.get(field.name) for field in signature.inputs]
    found = [place for place in wanted if place is not None]
    return found if len(found) == len(wanted) else None


def _kinds(signature: Signature) -> dict[str, Kind]:
    """The kind of everything that a function may take."""
    given = [field for computed in signature.computed for field in computed.gives]
    return {field.name: field.kind for field in (*signature.inputs, *given, *signature.request)}
