"""Answers of tabular models on their way out: each row's record, in the prediction log before the answer leaves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tidemill.core.errors import NotLogged
from tidemill.core.records import Answered, Prediction
from tidemill.core.settings import Serve
from tidemill.serving.clock import ServerClock
from tidemill.serving.live import LiveModel
from tidemill.serving.metrics import Counters
from tidemill.serving.prediction_log import PredictionLog
from tidemill.serving.tabular_predictor import Row, TabularPredictor

_encode = msgspec.json.Encoder().encode


class Records(NamedTuple):
    """The records of a request's rows, ready to be written."""

    encoded: list[bytes]
    #: For each row `computed`, `repeat` or `off`.
    kinds: list[str]
    latency_us: int


class InferLog:
    """Writes and counts the answers of a worker; `records` may run in a thread, `keep` belongs to the loop."""

    def __init__(self, log: PredictionLog, clock: ServerClock, limits: Serve, counters: Counters) -> None:
        self._log = log
        self._clock = clock
        self._limits = limits
        self._counters = counters

    def records(
        self,
        model: LiveModel,
        predictor: TabularPredictor,
        rows: Sequence[Row],
        outputs: Mapping[str, list[Any]] | None,
        started_ns: int,
    ) -> Records:
        """A record for each row, a short one for a repeat; without `outputs`, of a model that is off."""
        latency_us = (time.perf_counter_ns() - started_ns) // 1_000
        served_at = self._clock.micros()
        encoded, kinds, remembered = [], [], model.remembered
        for number, row in enumerate(rows):
            kind = "off" if outputs is None else "repeat" if row.prediction_id in remembered else "computed"
            kinds.append(kind)
            items = predictor.items(outputs, number) if outputs is not None and kind == "computed" else ()
            record = _record(predictor, row, items, kind, served_at, latency_us)
            encoded.append(self._log.encoded(record))
        return Records(encoded, kinds, latency_us)

    def keep(self, model: LiveModel, predictor: TabularPredictor, rows: Sequence[Row], made: Records) -> bool:
        """Write the records by one call; whether they are in the log, all of them or none.

        Raises `NotLogged` where they are not and the model answers nothing unlogged.
        """
        logged = self._log.write_all(made.encoded)
        for kind, n in Counter(made.kinds).items() if len(rows) > 1 else ((made.kinds[0], 1),):
            self._counters.add(f"predictions:{kind}", n)
        self._counters.took(made.latency_us)
        if logged:  # a repeat points at a full record, so what was not logged is no repeat the next time
            for row, kind in zip(rows, made.kinds, strict=True):
                if kind == "computed":
                    model.remember(row.prediction_id, None)
            return True
        self._counters.add("not_logged", len(rows))
        if predictor.release.log == "required" or self._limits.log == "required":
            raise NotLogged("the prediction log takes nothing, and this model answers nothing unlogged")
        return False


def _record(
    predictor: TabularPredictor, row: Row, items: tuple[Answered, ...], kind: str, served_at: int, latency_us: int
) -> Prediction:
    full = bool(items)
    return Prediction(
        prediction_id=row.prediction_id,
        model=predictor.release.model,
        release=predictor.name,
        arm="champion",
        switch="off" if kind == "off" else "on",
        propensity=1.0,
        served_at=served_at,
        as_of=row.as_of,
        subject=row.subject,
        n=predictor.n,
        items=items,
        short="switched off" if kind == "off" else None,
        features=predictor.features(row) if full else "",
        context=_encode(row.beside).decode() if full and row.beside else "",
        latency_us=latency_us,
        kind=kind,
    )
