"""`POST /v1/recommend/{model}`, and its cacheable `GET` by user token: from request to logged recommendation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from tidemill.core.errors import SwitchedOff
from tidemill.core.records.prediction import ScoredItem
from tidemill.core.settings import Serve
from tidemill.serving.http import requests
from tidemill.serving.http.etag import etag, matches
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.live.live_model import CachedAnswer, LiveModel, served_model
from tidemill.serving.live.prediction_writer import PredictionWriter
from tidemill.serving.live.server_clock import ServerClock, utc_day
from tidemill.serving.recommend.predictor import Predictor, PreparedRequest, Recommendation, RecommendationRequest


class RecommendResponse(msgspec.Struct, frozen=True):
    """The body of a response."""

    prediction_id: str
    model: str
    release: str
    arm: str
    #: `on`, or `off` where the model is switched off and the fallback recommends.
    switch: str
    #: The UTC day of the prediction, to be sent with outcomes.
    served_day: str
    #: The opaque user token for the cacheable `GET`.
    token: str
    items: tuple[ScoredItem, ...]
    #: The reason for fewer items than requested.
    short: str | None
    #: Whether the prediction is in the log; the last field, because repeats replace it.
    logged: bool


_encode = msgspec.json.Encoder().encode
#: The end of a body.
_LOGGED, _NOT_LOGGED = b"true}", b"false}"


class RecommendRoute:
    """Recommendations of all models of a worker. `kind(model)` is the subject column of the model's streams."""

    def __init__(
        self,
        models: Mapping[str, LiveModel],
        *,
        kind: Callable[[str], str],
        surrogate: Callable[[str, str], str],
        writer: PredictionWriter,
        clock: ServerClock,
        limits: Serve,
    ) -> None:
        self._models = models
        self._kind = kind
        self._surrogate = surrogate
        self._writer = writer
        self._clock = clock
        self._limits = limits

    def post(self, request: HttpRequest) -> HttpResponse:
        """The response for a raw identifier, which becomes a surrogate here and is never stored."""
        model, predictor = self._model(request.parts[0])  # read once: the whole response comes from this release
        body = requests.recommend(request.body, self._limits)
        subject = self._surrogate(self._kind(model.name), body.user)
        wanted = RecommendationRequest(
            subject, body.n or requests.N, body.exclude or (), body.candidates, body.context or {}
        )
        return self._respond(model, predictor, wanted, request, ("cache-control", "no-store"), None)

    def get(self, request: HttpRequest) -> HttpResponse:
        """The response for a token; 304 where the caller already has it."""
        model, predictor = self._model(request.parts[0])  # read once: the whole response comes from this release
        wanted = RecommendationRequest(requests.token(request.parts[1]), requests.query_n(request.query, self._limits))
        cache = ("cache-control", f"private, max-age={self._clock.left_s(self._limits.slot_s)}")
        return self._respond(model, predictor, wanted, request, cache, request.header("if-none-match"))

    def _respond(
        self,
        model: LiveModel,
        predictor: Predictor,
        wanted: RecommendationRequest,
        request: HttpRequest,
        cache: tuple[str, str],
        if_none_match: str | None,
    ) -> HttpResponse:
        prepared = predictor.prepare(wanted, off=model.off)
        if prepared.off and predictor.release.rules.fallback is None:
            self._write(predictor, prepared, Recommendation((), "switched off", "off"), request)
            raise SwitchedOff(f"the model {model.name!r} is switched off and declares no fallback")
        name = prepared.prediction_id
        if matches(if_none_match, name):
            logged = self._write(predictor, prepared, Recommendation((), None, "not_modified"), request)
            if logged:
                return HttpResponse(304, b"", (("etag", etag(name)), cache))
        known = model.remembered.get(name)
        if known is not None:
            logged = self._write(predictor, prepared, Recommendation((), known.short, "repeat"), request)
            body = known.body if logged else known.body.removesuffix(_LOGGED) + _NOT_LOGGED
        else:
            answer = predictor.answer(prepared)
            logged = self._write(predictor, prepared, answer, request)
            body = _encode(_body(model.name, predictor, prepared, answer, logged=logged))
            if logged:  # a repeat refers to a full record, so an unlogged one is not cached
                model.remember(name, CachedAnswer(body, answer.short))
        headers = (("etag", etag(name)), cache) if logged else (("cache-control", "no-store"),)
        return HttpResponse(200, body, headers)

    def _write(
        self, predictor: Predictor, prepared: PreparedRequest, answer: Recommendation, request: HttpRequest
    ) -> bool:
        """Log the recommendation before it is sent; returns whether it is logged. Repeats and 304s: a short record."""
        wanted, full = prepared.request, bool(answer.items)
        record = self._writer.record(
            predictor,
            self._writer.answer_time(request),
            prediction_id=prepared.prediction_id,
            kind=answer.kind,
            off=prepared.off,
            as_of=prepared.as_of,
            subject=wanted.subject,
            n=wanted.n,
            items=answer.items,
            short=answer.short,
            features=predictor.features(prepared) if full else "",
            context=_encode(wanted.context).decode() if full and wanted.context else "",
            exclude=wanted.exclude if full else (),
            candidates=wanted.candidates if full else None,
        )
        return self._writer.write(predictor, record)

    def _model(self, text: str) -> tuple[LiveModel, Predictor]:
        """The model in a path and its predictor; `BadRequest` where the model is tabular."""
        model = served_model(self._models, text)
        return model, model.predictor_as(
            Predictor, "is a tabular model, not a recommender", "use POST /v2/models/{}/infer"
        )


def _body(
    model: str, predictor: Predictor, prepared: PreparedRequest, answer: Recommendation, *, logged: bool
) -> RecommendResponse:
    return RecommendResponse(
        prediction_id=prepared.prediction_id,
        model=model,
        release=predictor.name,
        arm=predictor.assignment.arm,
        switch="off" if prepared.off else "on",
        served_day=utc_day(prepared.as_of),
        token=prepared.request.subject,
        items=answer.items,
        short=answer.short,
        logged=logged,
    )
