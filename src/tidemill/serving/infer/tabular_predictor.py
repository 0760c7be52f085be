"""Predictor of a model that predicts from a row, for one release: request, feature lookups, on-demand functions, model.

A few rows are predicted one by one with the model's single-row call; many rows are predicted as one table.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from tidemill.core.errors import AnswerFailed, BundleCorrupt
from tidemill.core.kinds import KINDS, arrow_type
from tidemill.core.records.prediction import ScoredItem
from tidemill.core.records.signature import InputField, Signature
from tidemill.features import LookupResult, OnlineLookup
from tidemill.models.tabular.input_ranges import read_input_ranges
from tidemill.models.tabular.on_demand_function import OnDemandFunction, kinds_of
from tidemill.models.tabular.typical_row import typical_row_of
from tidemill.release import Pointer
from tidemill.serving.live.prediction_id import prediction_id
from tidemill.serving.live.server_clock import ServerClock

if TYPE_CHECKING:
    from tidemill.models.tabular.row_model import RowModel

#: Up to this many rows are predicted one by one, because building a table takes longer.
_FEW = 16
_json = msgspec.json.Encoder().encode
_NOTHING: dict[str, Any] = {}
#: A row's model inputs, and status and time of its feature lookups.
_ModelInputs = tuple[list[Any], Mapping[str, Any], Mapping[str, int | None]]


class TabularSources(msgspec.Struct, frozen=True):
    """The sources that a tabular predictor reads in addition to its release."""

    #: `None` where the model has no feature lookups.
    online: OnlineLookup | None
    #: The release's modules by path.
    modules: Mapping[str, bytes]
    clock: ServerClock
    slot_s: int


class PreparedRow(msgspec.Struct, frozen=True):
    """One row with everything that its prediction depends on, and the prediction id over it."""

    prediction_id: str
    #: The surrogate of the person, empty where the request has none.
    subject: str
    as_of: int
    #: The model's inputs, in its order.
    values: list[Any]
    #: The inputs that are unlike the training rows.
    unseen: tuple[str, ...]
    status: Mapping[str, Any]
    at: Mapping[str, int | None]
    #: Fields of the request that are not inputs of the model, without people.
    context: dict[str, Any]


class TabularPredictor:
    """Predictions of one release. The event loop predicts a few rows; a thread may predict many at the same time."""

    def __init__(self, pointer: Pointer, model: RowModel, sources: TabularSources) -> None:
        self.release = pointer.release
        self.name = pointer.release.name
        self.assignment = pointer.assignment
        self.signature = _signature(pointer)
        task, outputs = self.signature.task, self.signature.outputs
        #: The number of scored items in a row's record.
        self.n = len(self.signature.classes) if task == "classes" else 1 if task == "binary" else len(outputs)
        #: The outputs of a model of numbers, and their names in the log: the first is the target.
        self._logged = [
            (field.name, field.name if place else self.signature.target) for place, field in enumerate(outputs)
        ]
        self.model = model
        self._online = sources.online
        self._clock = sources.clock
        self._slot_s = sources.slot_s
        self._names = [field.name for field in self.signature.request]
        self._inputs = [field.name for field in self.signature.inputs]
        self._entities = sorted({lookup.entity for lookup in self.signature.lookups})
        self._subject_at = _place_of(self.signature.request, "subject")
        self._time_at = _place_of(self.signature.request, "event_time")
        self._context = [
            (name, place)
            for place, name in enumerate(self._names)
            if name not in self._inputs and place != self._subject_at
        ]
        #: The position of each input in the request; `None` where an input is looked up or computed.
        self._straight = None if self.signature.lookups or self.signature.computed else _places(self.signature)
        self._bundle = Path(pointer.bundle)
        ranges = read_input_ranges(self._bundle)
        self._unseen = ranges.unseen_in(self._inputs)
        texts = ranges.known_texts()
        self._texts = [(place, texts[name]) for place, name in enumerate(self._names) if name in texts]
        kinds = kinds_of(self.signature)
        self._functions = [
            OnDemandFunction(computed, kinds, sources.modules, self.release.rule_modules, self._bundle)
            for computed in self.signature.computed
        ]
        if [field.name for field in model.inputs] != self._inputs:
            raise BundleCorrupt(f"the model inputs of {self.release.name} do not match its signature")

    def prepare(self, columns: Sequence[Sequence[Any]], n: int, *, off: bool = False) -> list[PreparedRow]:
        """Look up and compute the model's inputs for `n` rows; for a model that is off, only subject and time.

        `columns` has n values for each field of the signature's request, in its order; `None` is a missing value.
        """
        slot, as_of = self._clock.moment(self._slot_s)
        requested = [list(values) for values in zip(*columns, strict=True)] or [[] for _ in range(n)]
        self._strip(requested)
        times = [self._moment(values, as_of) for values in requested]
        if off:
            prepared: list[_ModelInputs] = [([], _NOTHING, _NOTHING)] * len(requested)
        elif self._straight is not None:
            straight = self._straight
            prepared = [([values[place] for place in straight], _NOTHING, _NOTHING) for values in requested]
        else:
            prepared = self._model_inputs(requested, times)
        arm = self.assignment
        about = (self.name, self.release.bundle, arm.deployment, arm.arm, "off" if off else "on", slot, as_of)
        rows, subject_at, context = [], self._subject_at, self._context
        for number, (values, (inputs, status, at)) in enumerate(zip(requested, prepared, strict=True)):
            rows.append(
                PreparedRow(
                    prediction_id(*about, number, values, inputs),
                    "" if subject_at is None else values[subject_at] or "",
                    times[number],
                    inputs,
                    () if off else self._unseen(inputs),
                    status,
                    at,
                    {name: values[place] for name, place in context} if context else _NOTHING,
                )
            )
        return rows

    def _strip(self, requested: Sequence[list[Any]]) -> None:
        """Remove blanks at the ends of texts that the model does not know: sources remove them in training."""
        for place, known in self._texts:
            for values in requested:
                text = values[place]
                if text is not None and text not in known:
                    values[place] = text.strip()

    def _moment(self, values: list[Any], as_of: int) -> int:
        """The time of a row: its event time, or the server's as-of, which is then set as its event time."""
        place = self._time_at
        if place is None:
            return as_of
        if values[place] is None:
            values[place] = as_of
        time: int = values[place]
        return time

    def _model_inputs(self, requested: Sequence[list[Any]], times: Sequence[int]) -> list[_ModelInputs]:
        """The model's inputs of each row after lookups and functions, with the lookups' status and times."""
        rows = [dict(zip(self._names, values, strict=True)) for values in requested]
        lookups = self._look_up(rows, times)
        for compute in self._functions:
            compute(rows)
        inputs = ([row[name] for name in self._inputs] for row in rows)
        return [
            (values, _NOTHING, _NOTHING) if lookup is None else (values, lookup.status, lookup.at)
            for values, lookup in zip(inputs, lookups, strict=True)
        ]

    def _look_up(self, rows: Sequence[dict[str, Any]], times: Sequence[int]) -> Sequence[LookupResult | None]:
        if self._online is None:
            return [None] * len(rows)
        entities = [{name: None if row[name] is None else str(row[name]) for name in self._entities} for row in rows]
        results = self._online.of_many(list(zip(entities, times, strict=True)))
        for row, lookup in zip(rows, results, strict=True):
            row.update(lookup.values)
        return results

    def answer(self, rows: Sequence[PreparedRow]) -> dict[str, list[Any]]:
        """The outputs by name, a value (for `probabilities` a list) per row; `AnswerFailed` where one is not finite."""
        outputs = self._one_by_one(rows) if len(rows) <= _FEW else self._many(rows)
        for name, values in outputs.items():
            if name == "label":
                continue
            flat = [share for value in values for share in value] if name == "probabilities" else values
            if not all(map(math.isfinite, flat)):
                raise AnswerFailed(f"{self.release.name} returned a {name} that is not a finite number")
        return outputs

    def _one_by_one(self, rows: Sequence[PreparedRow]) -> dict[str, list[Any]]:
        predicted, signature = [self.model.predict_row(row.values) for row in rows], self.signature
        if signature.task == "classes":
            labels = [signature.classes[shares.index(max(shares))] for shares in predicted]
            return {"probabilities": predicted, "label": labels}
        numbers = [list(column) for column in zip(*predicted, strict=True)]
        if signature.task == "binary":
            (first,), threshold = numbers, self.model.threshold
            return {"probability": first, "label": [signature.classes[value >= threshold] for value in first]}
        return {field.name: column for field, column in zip(signature.outputs, numbers, strict=True)}

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
        """A row's outputs for the log: the positive class, all classes by descending score, or the numbers."""
        signature = self.signature
        if signature.task == "binary":
            return (ScoredItem(item=signature.classes[1], score=outputs["probability"][row], reason=""),)
        if signature.task == "classes":
            scored = zip(outputs["probabilities"][row], signature.classes, strict=True)
            ranked = sorted(scored, key=lambda pair: -pair[0])
            return tuple([ScoredItem(item=name, score=score, reason="") for score, name in ranked])
        return tuple([ScoredItem(item=item, score=outputs[name][row], reason="") for name, item in self._logged])

    def features(self, row: PreparedRow) -> str:
        """The features of a prediction, as JSON text for the prediction log."""
        features = {"inputs": dict(zip(self._inputs, row.values, strict=True)), "status": row.status, "at": row.at}
        return _json(features).decode()

    def warm_up(self) -> None:
        """Predict one row and many rows, without logging: a release that fails here must not go live."""
        for n in (1, _FEW + 1):
            now = self._clock.as_of(self._slot_s)
            columns = [
                [now if field.kind == "time" else KINDS[field.kind].stored()] * n for field in self.signature.request
            ]
            rows = self.prepare(columns, n)
            outputs = self.answer(rows)
            for number, row in enumerate(rows):
                self.items(outputs, number)
                self.features(row)

    def typical_row(self) -> dict[str, Any]:
        """A value of each input, as JSON has it, for an example request."""
        return typical_row_of(self._bundle)

    @property
    def views(self) -> tuple[str, ...]:
        """Empty: features are read from the store for each row."""
        return ()

    def is_outdated(self, marks: Mapping[str, int]) -> bool:
        """Always `False`: it caches nothing from the store."""
        return False

    def reloaded(self) -> TabularPredictor:
        """The same predictor, because it caches nothing."""
        return self


def _signature(pointer: Pointer) -> Signature:
    if pointer.release.signature is None:
        raise BundleCorrupt(f"{pointer.release.name} is not a tabular model")
    return pointer.release.signature


def _place_of(fields: Sequence[InputField], role: str) -> int | None:
    return next((place for place, field in enumerate(fields) if field.role == role), None)


def _places(signature: Signature) -> list[int] | None:
    """The position of each input in the request; `None` where an input is not in the request."""
    by_name = {field.name: place for place, field in enumerate(signature.request)}
    wanted = [by_name.get(field.name) for field in signature.inputs]
    places = [place for place in wanted if place is not None]
    return places if len(places) == len(wanted) else None
