"""`POST /v1/outcomes`: feedback on predictions by prediction id, on disk before the response."""

from __future__ import annotations

import msgspec

from tidemill.core.contract.contract import ContractColumn
from tidemill.core.records.serving import Outcome
from tidemill.core.settings import Serve
from tidemill.serving.events.local_time import instant
from tidemill.serving.http import requests
from tidemill.serving.http.error_responses import not_kept
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.http.metrics import Counters
from tidemill.serving.live.prediction_log import PredictionLog
from tidemill.serving.live.server_clock import ServerClock

_HAPPENED_AT = ContractColumn(name="happened_at", kind="time")


class PostOutcomes:
    """Takes one outcome or a list. The same outcome delivered again is kept again and counted once when it is read."""

    def __init__(self, log: PredictionLog, clock: ServerClock, limits: Serve, counters: Counters) -> None:
        self._log = log
        self._clock = clock
        self._limits = limits
        self._counters = counters

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        now = self._clock.micros()
        found = [self._outcome(one, now) for one in requests.outcomes(request.body, self._limits)]
        try:
            await self._log.outcomes(found)
        except OSError as error:
            raise not_kept("outcomes", error) from error
        self._counters.add("outcomes", len(found))
        return HttpResponse(202, msgspec.json.encode({"accepted": len(found)}))

    def _outcome(self, one: requests.OutcomeBody, now: int) -> Outcome:
        return Outcome(
            prediction_id=one.prediction_id,
            item=one.item,
            what=one.what,
            value=one.value,
            happened_at=now if one.happened_at is None else instant(one.happened_at, _HAPPENED_AT),
            received_at=now,
            label=one.label,
            model=one.model,
            served_day=one.served_day,
        )
