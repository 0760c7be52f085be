"""`POST /v2/models/{model}/infer`: the Open Inference Protocol over REST, from tensors to logged predictions.

Standard: kserve/open-inference-protocol, `inference_rest.md`, with Triton's extension for binary tensors.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import perf_counter_ns
from typing import Any

from tidemill.core.errors import NotServed, SwitchedOff
from tidemill.core.records.release import Release
from tidemill.core.settings import Serve
from tidemill.serving.http.http_messages import Answer, HttpRequest, HttpResponse
from tidemill.serving.http.metrics import Counters
from tidemill.serving.infer.binary_tensors import HEADER
from tidemill.serving.infer.infer_log import InferLog, Records
from tidemill.serving.infer.model_statistics import InferTimes, ModelStatistics
from tidemill.serving.infer.oip_request import InferRequest, InferRequestReader
from tidemill.serving.infer.oip_response import LogReceipt, respond
from tidemill.serving.infer.tabular_predictor import PreparedRow, TabularPredictor
from tidemill.serving.live.live_model import LiveModel, served_model
from tidemill.serving.live.prediction_writer import PredictionWriter
from tidemill.serving.live.server_clock import utc_day

#: More rows than this are predicted in a thread, and a body of more bytes than this is parsed in one.
MANY, LARGE = 64, 32_768
#: A request's rows, read from its body.
Read = Callable[[InferRequestReader], InferRequest]
_Predicted = tuple[list[PreparedRow], dict[str, list[Any]] | None, Records]
#: Release, request, rows, their outputs by name, and log receipt -> response.
Respond = Callable[[Release, InferRequest, Sequence[PreparedRow], Mapping[str, list[Any]], LogReceipt], HttpResponse]


class InferRoute:
    """Predictions of all tabular models of a worker."""

    def __init__(
        self,
        models: Mapping[str, LiveModel],
        *,
        surrogate: Callable[[str, str], str],
        writer: PredictionWriter,
        counters: Counters,
        statistics: ModelStatistics,
        limits: Serve,
    ) -> None:
        self._models = models
        self._surrogate = surrogate
        self._limits = limits
        self._log = InferLog(writer, counters)
        self._statistics = statistics
        self._many = asyncio.Lock()
        #: The reader of each model's requests, and the predictor whose signature it reads.
        self._readers: dict[str, tuple[TabularPredictor, InferRequestReader]] = {}

    def infer(self, request: HttpRequest) -> Answer:
        """The outputs for the rows of a request, as JSON or binary."""
        model, versions = self.model(request.parts[0]), request.parts[1:]
        return self.answer(
            model, request, lambda reader: reader.read(request.body, request.header(HEADER)), respond, versions
        )

    def model(self, text: str) -> LiveModel:
        """The model in a path; `NotServed` for an unknown name."""
        return served_model(self._models, text)

    def answer(
        self,
        model: LiveModel,
        request: HttpRequest,
        read: Read,
        response: Respond,
        versions: Sequence[str] = (),
        *,
        large: bool = False,
    ) -> Answer:
        """The response for the rows that `read` finds: at once for a small request, else from a thread."""
        predictor = tabular_predictor_of(model)  # read once: the whole response comes from this release
        require_version(predictor, versions)
        reader = self._reader(model, predictor)
        times = InferTimes(request.started_ns or perf_counter_ns())
        try:
            small = None if large or len(request.body) > LARGE else read(reader)
            if small is not None and small.n <= MANY:
                predicted = self._predict(model, predictor, small, request, times, off=model.off)
                return self._respond(model, predictor, small, response, times, predicted)
        except BaseException:
            self._statistics.failed(predictor.release, perf_counter_ns() - times.started)
            raise

        async def threaded() -> HttpResponse:
            try:
                question = await asyncio.to_thread(read, reader) if small is None else small
                waiting = perf_counter_ns()
                async with self._many:  # one large request at a time, so that identical ones become repeats
                    times.waited = perf_counter_ns() - waiting
                    predict = partial(self._predict, model, predictor, question, request, times, off=model.off)
                    predicted = await asyncio.to_thread(predict)
                    return self._respond(model, predictor, question, response, times, predicted)
            except BaseException:
                self._statistics.failed(predictor.release, perf_counter_ns() - times.started)
                raise

        return threaded()

    def _reader(self, model: LiveModel, predictor: TabularPredictor) -> InferRequestReader:
        known = self._readers.get(model.name)
        if known is None or known[0] is not predictor:
            reader = InferRequestReader(predictor.signature, self._surrogate, self._limits.max_rows)
            known = self._readers[model.name] = predictor, reader
        return known[1]

    def _predict(
        self,
        model: LiveModel,
        predictor: TabularPredictor,
        question: InferRequest,
        request: HttpRequest,
        times: InferTimes,
        *,
        off: bool,
    ) -> _Predicted:
        """Rows, outputs (`None` for a model that is off), and the records to log."""
        rows = predictor.prepare(question.columns, question.n, off=off)
        times.prepared = perf_counter_ns()
        outputs = None if off else predictor.answer(rows)
        times.predicted = perf_counter_ns()
        return rows, outputs, self._log.records(model, predictor, rows, outputs, request)

    def _respond(
        self,
        model: LiveModel,
        predictor: TabularPredictor,
        question: InferRequest,
        response: Respond,
        times: InferTimes,
        predicted: _Predicted,
    ) -> HttpResponse:
        """The response, after the rows were logged and counted; `SwitchedOff` where there are no outputs."""
        rows, outputs, records = predicted
        logged = self._log.write(model, predictor, rows, records)
        if outputs is None:
            raise SwitchedOff(f"the model {model.name!r} is switched off, and a tabular model has no fallback")
        served_at = records.at.served_at
        found = response(predictor.release, question, rows, outputs, LogReceipt(logged, utc_day(served_at)))
        self._statistics.succeeded(predictor.release, len(rows), times, perf_counter_ns(), served_at // 1_000)
        return found


def tabular_predictor_of(model: LiveModel) -> TabularPredictor:
    """The predictor of a tabular model; `BadRequest` where the model is a recommender."""
    return model.predictor_as(TabularPredictor, "is a recommender: it accepts no tensors", "use POST /v1/recommend/{}")


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
