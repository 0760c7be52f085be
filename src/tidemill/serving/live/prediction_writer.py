"""Prediction writer: the record of a prediction in the log before the response is sent, for every kind of model.

The common fields of all records are filled in here: release, deployment, arm, policy, propensity, switch, publication,
trace. A prediction that could not be logged is counted; where the log is required, it is not returned.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from tidemill.core.errors import NotLogged
from tidemill.core.records.deployment import Assignment
from tidemill.core.records.prediction import LOGGED_ITEMS, Prediction, ScoredItem
from tidemill.core.records.release import Release
from tidemill.core.settings import Serve
from tidemill.serving.http.http_messages import HttpRequest
from tidemill.serving.http.metrics import Counters
from tidemill.serving.http.trace_context import trace_id
from tidemill.serving.live.fact_publication import WatchedPublication
from tidemill.serving.live.prediction_log import PredictionLog
from tidemill.serving.live.server_clock import ServerClock


class LoggedPredictor(Protocol):
    """The fields of a predictor that a record contains."""

    release: Release
    #: `for_you@3`, built once.
    name: str
    assignment: Assignment


class AnswerTime(NamedTuple):
    """The values that all records of one request share."""

    served_at: int
    latency_us: int
    trace_id: str


class PredictionWriter:
    """Builds, writes and counts a worker's records; building may run in a thread, writing only in the event loop."""

    def __init__(
        self,
        log: PredictionLog,
        clock: ServerClock,
        limits: Serve,
        counters: Counters,
        publication: WatchedPublication,
    ) -> None:
        self._log = log
        self._clock = clock
        self._required = limits.log == "required"
        self._counters = counters
        self._publication = publication
        self.encoded = log.encoded

    def answer_time(self, request: HttpRequest) -> AnswerTime:
        """The time of a response, its latency so far, and its trace id."""
        latency_us = (time.perf_counter_ns() - request.started_ns) // 1_000
        return AnswerTime(self._clock.micros(), latency_us, trace_id(request.header("traceparent")))

    def record(
        self,
        predictor: LoggedPredictor,
        at: AnswerTime,
        *,
        prediction_id: str,
        kind: str,
        off: bool,
        as_of: int,
        subject: str,
        n: int,
        items: tuple[ScoredItem, ...],
        short: str | None,
        features: str,
        context: str,
        exclude: Sequence[str] = (),
        candidates: Sequence[str] | None = None,
        unseen: tuple[str, ...] = (),
    ) -> Prediction:
        """One record. The first `LOGGED_ITEMS` names of `exclude` and `candidates` are stored."""
        assignment = predictor.assignment
        return Prediction(
            prediction_id=prediction_id,
            model=predictor.release.model,
            release=predictor.name,
            deployment=assignment.deployment,
            arm=assignment.arm,
            policy=assignment.policy,
            switch="off" if off else "on",
            propensity=assignment.propensity,
            served_at=at.served_at,
            as_of=as_of,
            subject=subject,
            n=n,
            exclude=tuple(exclude[:LOGGED_ITEMS]) if exclude else (),
            n_exclude=len(exclude),
            candidates=None if candidates is None else tuple(candidates[:LOGGED_ITEMS]),
            n_candidates=0 if candidates is None else len(candidates),
            items=items,
            short=short,
            features=features,
            context=context,
            publication=self._publication.number,
            trace_id=at.trace_id,
            unseen=unseen,
            latency_us=at.latency_us,
            kind=kind,
        )

    def write(self, predictor: LoggedPredictor, record: Prediction) -> bool:
        """Write one record; returns whether it is in the log. Raises `NotLogged` where the log is required."""
        logged = self._log.write(record)
        self._counters.answered(record.kind, record.latency_us)
        return logged or self._not_logged(predictor, 1)

    def write_all(self, predictor: LoggedPredictor, encoded: Sequence[bytes]) -> bool:
        """Write encoded records in one call, all or none. Raises `NotLogged` where the log is required."""
        return self._log.write_all(encoded) or self._not_logged(predictor, len(encoded))

    def _not_logged(self, predictor: LoggedPredictor, n: int) -> bool:
        self._counters.add("not_logged", n)
        if predictor.release.log == "required" or self._required:
            raise NotLogged("the prediction log cannot be written, and this model requires it")
        return False
