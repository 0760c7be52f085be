"""`POST /v2/models/{model}/infer`: the Open Inference Protocol over REST, from tensors to logged answers.

Standard: kserve/open-inference-protocol, `inference_rest.md`, with Triton's extension for binary tensors.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tidemill.core.errors import BadRequest, NotLogged, NotReady, NotServed, SwitchedOff, nearest
from tidemill.core.records import Answered, Prediction
from tidemill.core.settings import Serve
from tidemill.serving import requests
from tidemill.serving.clock import ServerClock
from tidemill.serving.http import Request, Response
from tidemill.serving.infer_binary import HEADER
from tidemill.serving.infer_request import Question
from tidemill.serving.infer_response import respond
from tidemill.serving.live import LiveModel
from tidemill.serving.metrics import Counters
from tidemill.serving.prediction_log import PredictionLog
from tidemill.serving.tabular_predictor import Row, TabularPredictor

_encode = msgspec.json.Encoder().encode


class Inferring:
    """Answers for all tabular models of a worker."""

    def __init__(
        self,
        models: Mapping[str, LiveModel],
        *,
        log: PredictionLog,
        clock: ServerClock,
        limits: Serve,
        counters: Counters,
    ) -> None:
        self._models = models
        self._log = log
        self._clock = clock
        self._limits = limits
        self._counters = counters

    async def infer(self, request: Request) -> Response:
        """The outputs for the rows of a request, as JSON or as bytes."""
        model = self.model(request.parts[0])
        predictor = tabular(model)  # taken once: the whole answer comes from this release
        require_version(predictor, request.parts[1:])
        question = predictor.reader.read(request.body, request.header(HEADER))
        rows, outputs, logged = self.ask(model, predictor, question, request)
        return respond(predictor.release, question, rows, outputs, logged=logged)

    def model(self, text: str) -> LiveModel:
        """The model of a path; `NotServed` where there is none of that name."""
        name = requests.word(text, "model")
        found = self._models.get(name)
        if found is None:
            raise NotServed(f"no model {name!r} is served here", tip=nearest(name, self._models))
        return found

    def ask(
        self, model: LiveModel, predictor: TabularPredictor, question: Question, request: Request
    ) -> tuple[list[Row], dict[str, list[Any]], bool]:
        """Rows, their outputs by name, and whether all of them are in the log."""
        off = model.off
        rows = predictor.prepare(question, off=off)
        if off:
            self._write(model, predictor, rows, None, request)
            raise SwitchedOff(f"the model {model.name!r} is switched off, and a tabular model has no fallback")
        outputs = predictor.answer(rows)
        return rows, outputs, self._write(model, predictor, rows, outputs, request)

    def _write(
        self,
        model: LiveModel,
        predictor: TabularPredictor,
        rows: Sequence[Row],
        outputs: Mapping[str, list[Any]] | None,
        request: Request,
    ) -> bool:
        """Log each row's answer before it leaves; whether all are in the log. A repeat writes a short record."""
        latency_us = (time.perf_counter_ns() - request.started_ns) // 1_000
        lost = 0
        for number, row in enumerate(rows):
            kind = "off" if outputs is None else "repeat" if row.prediction_id in model.remembered else "computed"
            items = predictor.items(outputs, number) if outputs is not None and kind == "computed" else ()
            if not self._log.write(self._record(predictor, row, items, kind, latency_us)):
                lost += 1
            elif items:  # a repeat points at a full record, so what was not logged is no repeat the next time
                model.remember(row.prediction_id, None)
            self._counters.answered(kind, latency_us if not number else None)
        if lost:
            self._counters.add("not_logged", lost)
            if predictor.release.log == "required" or self._limits.log == "required":
                raise NotLogged("the prediction log takes nothing, and this model answers nothing unlogged")
        return not lost

    def _record(
        self, predictor: TabularPredictor, row: Row, items: tuple[Answered, ...], kind: str, latency_us: int
    ) -> Prediction:
        release, full = predictor.release, bool(items)
        return Prediction(
            prediction_id=row.prediction_id,
            model=release.model,
            release=release.name,
            arm="champion",
            policy="off" if kind == "off" else "on",
            propensity=1.0,
            served_at=self._clock.micros(),
            as_of=row.as_of,
            subject=row.subject,
            n=len(predictor.signature.classes) if predictor.signature.task == "classes" else 1,
            items=items,
            short="switched off" if kind == "off" else None,
            features=predictor.features(row) if full else "",
            context=_encode(row.beside).decode() if full and row.beside else "",
            latency_us=latency_us,
            kind=kind,
        )


def tabular(model: LiveModel) -> TabularPredictor:
    """The predictor of a tabular model; `BadRequest` where the model is a recommender."""
    predictor = model.predictor
    if predictor is None:
        raise NotReady(f"the model {model.name!r} has no release that came up", tip="GET /healthz says why")
    if not isinstance(predictor, TabularPredictor):
        raise BadRequest(
            f"the model {model.name!r} is a recommender and takes no tensors", tip=f"POST /v1/recommend/{model.name}"
        )
    return predictor


def require_version(predictor: TabularPredictor, asked: Sequence[str]) -> None:
    """Pass where the path names no version, or that of the release that answers now."""
    number = str(predictor.release.number)
    if asked and asked[0] != number:
        said = f"version {asked[0]}" if asked[0].isascii() and asked[0].isdigit() else "that version"
        raise NotServed(f"{said[:40]} of the model {predictor.release.model!r} is not live", tip=f"version {number} is")
