"""`POST /v1/outcomes`: feedback on predictions by prediction id, written to disk before the response."""

from __future__ import annotations

import msgspec

from tidemill.core.contract.contract import ContractColumn
from tidemill.core.records.prediction import Outcome
from tidemill.core.settings import Serve
from tidemill.serving.events.local_time import instant
from tidemill.serving.http import requests
from tidemill.serving.http.error_responses import not_kept
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.http.metrics import Counters
from tidemill.serving.live.prediction_log import PredictionLog
from tidemill.serving.live.server_clock import ServerClock

_HAPPENED_AT = ContractColumn(name="happened_at", kind="time")


class AcceptedOutcomes(msgspec.Struct, frozen=True):
    """A response: how many outcomes were accepted."""

    accepted: int


class PostOutcomes:
    """Accepts one outcome or a list. An outcome that is delivered again is stored again, but counted once when read."""

    def __init__(self, log: PredictionLog, clock: ServerClock, limits: Serve, counters: Counters) -> None:
        self._log = log
        self._clock = clock
        self._limits = limits
        self._counters = counters

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        now = self._clock.micros()
        outcomes = [self._outcome(body, now) for body in requests.outcomes(request.body, self._limits)]
        try:
            await self._log.outcomes(outcomes)
        except OSError as error:
            raise not_kept("outcomes", error) from error
        self._counters.add("outcomes", len(outcomes))
        return HttpResponse(202, msgspec.json.encode(AcceptedOutcomes(len(outcomes))))

    def _outcome(self, body: requests.OutcomeBody, now: int) -> Outcome:
        return Outcome(
            prediction_id=body.prediction_id,
            item=body.item or "",
            what=body.what,
            value=1.0 if body.value is None else float(body.value),
            happened_at=now if body.happened_at is None else instant(body.happened_at, _HAPPENED_AT),
            received_at=now,
            label=body.label,
            model=body.model or "",
            served_day=body.served_day,
        )
