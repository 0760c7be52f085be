"""`POST /v2/models/{model}/infer`: the Open Inference Protocol over REST, from tensors to logged predictions.

Standard: kserve/open-inference-protocol, `inference_rest.md`, with Triton's extension for binary tensors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.core.errors import BadRequest, NotReady, NotServed, SwitchedOff, nearest
from tidemill.serving.http import requests
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.http.metrics import Counters
from tidemill.serving.infer.binary_tensors import HEADER
from tidemill.serving.infer.infer_log import InferLog, Records
from tidemill.serving.infer.oip_request import InferRequest
from tidemill.serving.infer.oip_response import LogReceipt, respond
from tidemill.serving.infer.tabular_predictor import PreparedRow, TabularPredictor
from tidemill.serving.live.live_model import LiveModel
from tidemill.serving.live.prediction_writer import PredictionWriter
from tidemill.serving.live.server_clock import utc_day

#: More rows than this are predicted in a thread, and a body of more bytes than this is parsed in one.
MANY, LARGE = 64, 32_768


class InferRoute:
    """Predictions of all tabular models of a worker."""

    def __init__(
        self,
        models: Mapping[str, LiveModel],
        *,
        writer: PredictionWriter,
        counters: Counters,
    ) -> None:
        self._models = models
        self._log = InferLog(writer, counters)
        self._many = asyncio.Lock()

    async def infer(self, request: HttpRequest) -> HttpResponse:
        """The outputs for the rows of a request, as JSON or binary."""
        model = self.model(request.parts[0])
        predictor = tabular_predictor_of(model)  # read once: the whole response comes from this release
        require_version(predictor, request.parts[1:])
        read, content = predictor.reader.read, (request.body, request.header(HEADER))
        question = await asyncio.to_thread(read, *content) if len(request.body) > LARGE else read(*content)
        rows, outputs, logged = await self.predict(model, predictor, question, request)
        return respond(predictor.release, question, rows, outputs, logged)

    def model(self, text: str) -> LiveModel:
        """The model in a path; `NotServed` for an unknown name."""
        model = self._models.get(text)
        if model is None:
            name = requests.word(text, "model")
            raise NotServed(f"no model {name!r} is served here", tip=nearest(name, self._models))
        return model

    async def predict(
        self, model: LiveModel, predictor: TabularPredictor, question: InferRequest, request: HttpRequest
    ) -> tuple[list[PreparedRow], dict[str, list[Any]], LogReceipt]:
        """Rows, their outputs by name, and the log receipt. Large requests are predicted in a thread, so that small
        ones do not wait; one large request at a time, so that identical ones become repeats.
        """
        if question.n <= MANY:
            rows, outputs, records = self._predict(model, predictor, question, request, off=model.off)
            return self._log_rows(model, predictor, rows, outputs, records)
        async with self._many:
            arguments = (model, predictor, question, request)
            rows, outputs, records = await asyncio.to_thread(self._predict, *arguments, off=model.off)
            return self._log_rows(model, predictor, rows, outputs, records)

    def _predict(
        self, model: LiveModel, predictor: TabularPredictor, question: InferRequest, request: HttpRequest, *, off: bool
    ) -> tuple[list[PreparedRow], dict[str, list[Any]] | None, Records]:
        """Rows, outputs (`None` for a model that is off), and the records to log."""
        rows = predictor.prepare(question, off=off)
        outputs = None if off else predictor.answer(rows)
        return rows, outputs, self._log.records(model, predictor, rows, outputs, request)

    def _log_rows(
        self,
        model: LiveModel,
        predictor: TabularPredictor,
        rows: list[PreparedRow],
        outputs: dict[str, list[Any]] | None,
        records: Records,
    ) -> tuple[list[PreparedRow], dict[str, list[Any]], LogReceipt]:
        """Rows, outputs and receipt, after they were logged; `SwitchedOff` where there are no outputs."""
        logged = self._log.write(model, predictor, rows, records)
        if outputs is None:
            raise SwitchedOff(f"the model {model.name!r} is switched off, and a tabular model has no fallback")
        return rows, outputs, LogReceipt(logged, utc_day(records.at.served_at))


def tabular_predictor_of(model: LiveModel) -> TabularPredictor:
    """The predictor of a tabular model; `BadRequest` where the model is a recommender."""
    predictor = model.predictor
    if predictor is None:
        raise NotReady(f"the model {model.name!r} has no live release", tip="see GET /healthz for the reason")
    if not isinstance(predictor, TabularPredictor):
        raise BadRequest(
            f"the model {model.name!r} is a recommender: it accepts no tensors",
            tip=f"use POST /v1/recommend/{model.name}",
        )
    return predictor


def require_version(predictor: TabularPredictor, versions: Sequence[str]) -> None:
    """Raises `NotServed` for a path with a version that is not the live release's."""
    if not versions:
        return
    number = str(predictor.release.number)
    if versions[0] != number:
        version = f"version {versions[0]}" if versions[0].isascii() and versions[0].isdigit() else "this version"
        raise NotServed(
            f"{version[:40]} of the model {predictor.release.model!r} is not live",
            tip=f"the live version is {number}",
        )
