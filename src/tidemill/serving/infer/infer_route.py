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

#: More rows than this are answered in a thread, and a body of more bytes than this is read in one.
MANY, LARGE = 64, 32_768


class InferRoute:
    """Answers for all tabular models of a worker."""

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
        """The outputs for the rows of a request, as JSON or as bytes."""
        model = self.model(request.parts[0])
        predictor = tabular_predictor_of(model)  # taken once: the whole answer comes from this release
        require_version(predictor, request.parts[1:])
        read, given = predictor.reader.read, (request.body, request.header(HEADER))
        question = await asyncio.to_thread(read, *given) if len(request.body) > LARGE else read(*given)
        rows, outputs, logged = await self.ask(model, predictor, question, request)
        return respond(predictor.release, question, rows, outputs, logged)

    def model(self, text: str) -> LiveModel:
        """The model of a path; `NotServed` where there is none of that name."""
        found = self._models.get(text)
        if found is None:
            name = requests.word(text, "model")
            raise NotServed(f"no model {name!r} is served here", tip=nearest(name, self._models))
        return found

    async def ask(
        self, model: LiveModel, predictor: TabularPredictor, question: InferRequest, request: HttpRequest
    ) -> tuple[list[PreparedRow], dict[str, list[Any]], LogReceipt]:
        """Rows, their outputs by name, and whether and when they were logged. Many rows are answered in a thread, so
        that single ones do not wait; one such request at a time, whose answers others then repeat.
        """
        if question.n <= MANY:
            rows, outputs, made = self._answered(model, predictor, question, request, off=model.off)
            return self._left(model, predictor, rows, outputs, made)
        async with self._many:
            given = (model, predictor, question, request)
            rows, outputs, made = await asyncio.to_thread(self._answered, *given, off=model.off)
            return self._left(model, predictor, rows, outputs, made)

    def _answered(
        self, model: LiveModel, predictor: TabularPredictor, question: InferRequest, request: HttpRequest, *, off: bool
    ) -> tuple[list[PreparedRow], dict[str, list[Any]] | None, Records]:
        """Rows, outputs (`None` of a model that is off), and the records that are to be logged."""
        rows = predictor.prepare(question, off=off)
        outputs = None if off else predictor.answer(rows)
        return rows, outputs, self._log.records(model, predictor, rows, outputs, request)

    def _left(
        self,
        model: LiveModel,
        predictor: TabularPredictor,
        rows: list[PreparedRow],
        outputs: dict[str, list[Any]] | None,
        made: Records,
    ) -> tuple[list[PreparedRow], dict[str, list[Any]], LogReceipt]:
        """The same once it is logged; `SwitchedOff` where there are no outputs."""
        logged = self._log.keep(model, predictor, rows, made)
        if outputs is None:
            raise SwitchedOff(f"the model {model.name!r} is switched off, and a tabular model has no fallback")
        return rows, outputs, LogReceipt(logged, utc_day(made.at.served_at))


def tabular_predictor_of(model: LiveModel) -> TabularPredictor:
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
    if not asked:
        return
    number = str(predictor.release.number)
    if asked[0] != number:
        said = f"version {asked[0]}" if asked[0].isascii() and asked[0].isdigit() else "that version"
        raise NotServed(f"{said[:40]} of the model {predictor.release.model!r} is not live", tip=f"version {number} is")
