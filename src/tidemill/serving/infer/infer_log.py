"""Inference log: a record for each row of a tabular model, in the prediction log before the response is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tidemill.core.records.prediction import Prediction, ScoredItem
from tidemill.serving.http.http_messages import HttpRequest
from tidemill.serving.http.metrics import Counters
from tidemill.serving.infer.tabular_predictor import PreparedRow, TabularPredictor
from tidemill.serving.live.live_model import LiveModel
from tidemill.serving.live.prediction_writer import AnswerTime, PredictionWriter

_encode = msgspec.json.Encoder().encode


class Records(NamedTuple):
    """The records of a request's rows, encoded for the log."""

    encoded: list[bytes]
    #: For each row `computed`, `repeat` or `off`.
    kinds: list[str]
    at: AnswerTime


class InferLog:
    """Writes and counts a worker's predictions; `records` may run in a thread, `write` only in the event loop."""

    def __init__(self, writer: PredictionWriter, counters: Counters) -> None:
        self._writer = writer
        self._counters = counters

    def records(
        self,
        model: LiveModel,
        predictor: TabularPredictor,
        rows: Sequence[PreparedRow],
        outputs: Mapping[str, list[Any]] | None,
        request: HttpRequest,
    ) -> Records:
        """A record for each row, a short one for a repeat; without `outputs` the model is switched off."""
        at = self._writer.answer_time(request)
        encoded, kinds, remembered = [], [], model.remembered
        for number, row in enumerate(rows):
            kind = "off" if outputs is None else "repeat" if row.prediction_id in remembered else "computed"
            kinds.append(kind)
            items = predictor.items(outputs, number) if outputs is not None and kind == "computed" else ()
            encoded.append(self._writer.encoded(self._record(predictor, row, items, kind, at)))
        return Records(encoded, kinds, at)

    def write(
        self, model: LiveModel, predictor: TabularPredictor, rows: Sequence[PreparedRow], records: Records
    ) -> bool:
        """Write the records in one call, all or none; returns whether they are in the log.

        Raises `NotLogged` where they are not and the model requires the log.
        """
        for kind, n in Counter(records.kinds).items() if len(rows) > 1 else ((records.kinds[0], 1),):
            self._counters.add(f"predictions:{kind}", n)
        if n_unseen := sum(1 for row in rows if row.unseen):
            self._counters.add("unseen_rows", n_unseen)
        self._counters.took(records.at.latency_us)
        logged = self._writer.write_all(predictor, records.encoded)
        if logged:  # a repeat refers to a full record, so a row that was not logged is not cached
            for row, kind in zip(rows, records.kinds, strict=True):
                if kind == "computed":
                    model.remember(row.prediction_id)
        return logged

    def _record(
        self, predictor: TabularPredictor, row: PreparedRow, items: tuple[ScoredItem, ...], kind: str, at: AnswerTime
    ) -> Prediction:
        full, off = bool(items), kind == "off"
        return self._writer.record(
            predictor,
            at,
            prediction_id=row.prediction_id,
            kind=kind,
            off=off,
            as_of=row.as_of,
            subject=row.subject,
            n=predictor.n,
            items=items,
            short="switched off" if off else None,
            unseen=row.unseen,
            features=predictor.features(row) if full else "",
            context=_encode(row.context).decode() if full and row.context else "",
        )
