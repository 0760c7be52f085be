"""Clients of a server whose processes are killed: they remember each prediction and event that was acknowledged."""

from __future__ import annotations

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from kill_project import BUYS, FOR_YOU, ITEMS, day_of

#: Responses that say: try again.
_AGAIN = (503,)
_PAUSE_S = 0.02


class Acknowledged:
    """What the clients were told, and what they sent; safe to change in several threads."""

    def __init__(self) -> None:
        self.predictions: list[str] = []
        #: Event times in microseconds, which name the events.
        self.events: list[int] = []
        self.sent_events: list[int] = []
        #: The predictions whose outcome was acknowledged, each reported once.
        self.outcomes: list[str] = []
        self.statuses: Counter[str] = Counter()
        #: Responses that no kill explains.
        self.odd: Counter[str] = Counter()
        #: The time of the last prediction that was acknowledged.
        self.last_at = 0.0


class KillClient(threading.Thread):
    """One keep-alive connection, which asks and posts until `stop`; `day` is the newest day that is ingested."""

    def __init__(
        self, port: int, place: int, day: Callable[[], int], told: Acknowledged, stop: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._port, self._place, self._day, self._told, self._stopping = port, place, day, told, stop
        self._draw = random.Random(place)
        self._numbers = itertools.count(place, 100)
        self._connection: http.client.HTTPConnection | None = None
        self._last: dict[str, str] | None = None

    def run(self) -> None:
        asks = itertools.cycle((self._recommend, self._infer, self._post, self._report))
        while not self._stopping.is_set():
            try:
                next(asks)(next(self._numbers))
            except (OSError, http.client.HTTPException):
                self._told.statuses["no response"] += 1
                self._drop()
                time.sleep(0.1)
            time.sleep(_PAUSE_S)
        self._drop()

    def _recommend(self, number: int) -> None:
        body = {"user": f"user{number}", "n": 3, "context": {"number": number}}
        answer = self._ask("recommend", f"/v1/recommend/{FOR_YOU}", body, 200)
        if answer and answer["logged"]:
            self._acknowledge([answer["prediction_id"]], {"item": answer["items"][0]["item"]})

    def _infer(self, number: int) -> None:
        spent = number / 1024
        inputs = [
            {"name": "visits", "shape": [2], "datatype": "INT64", "data": [number % 20, 7]},
            {"name": "spent", "shape": [2], "datatype": "FP64", "data": [spent, spent + 0.5]},
            {"name": "plan", "shape": [2], "datatype": "BYTES", "data": ["gold", "plain"]},
        ]
        answer = self._ask("infer", f"/v2/models/{BUYS}/infer", {"inputs": inputs}, 200)
        if answer and answer["parameters"]["logged"]:
            self._acknowledge(answer["parameters"]["prediction_ids"].split(","), {"label": "yes"})

    def _post(self, number: int) -> None:
        """Two events; their times name them."""
        day = day_of(self._day())
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        names, rows = [], []
        for second in (0, 1):
            at = midnight + timedelta(seconds=43_200 + second, microseconds=number % 1_000_000)
            user = f"user{number}" if second else f"u{number % 40}"
            names.append(int(at.timestamp()) * 1_000_000 + at.microsecond)
            rows.append(
                {
                    "user_id": user,
                    "item_id": f"i{self._draw.randrange(ITEMS)}",
                    "rating": 4,
                    "reviewed_at": at.isoformat(),
                }
            )
        self._told.sent_events += names
        if self._ask("events", "/v1/events/reviews", rows, 202):
            self._told.events += names

    def _report(self, number: int) -> None:
        """The outcome of the last prediction of this client."""
        if self._last is None:
            return
        outcome, self._last = self._last, None
        if self._ask("outcomes", "/v1/outcomes", outcome, 202):
            self._told.outcomes.append(outcome["prediction_id"])

    def _acknowledge(self, names: list[str], came: dict[str, str]) -> None:
        self._told.predictions += names
        self._last = {"prediction_id": names[0], "what": "click", **came}
        self._told.last_at = time.monotonic()

    def _ask(self, what: str, path: str, body: Any, expected: int) -> Any:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        self._connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        self._told.statuses[f"{what} {answer.status}"] += 1
        if answer.status == expected:
            return json.loads(content)
        if answer.status not in _AGAIN:
            self._told.odd[f"{what}: {answer.status} {content[:300]!r}"] += 1
        return None

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
