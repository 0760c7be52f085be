"""Simulated clients of a running server: threads that request recommendations and post outcomes."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

#: Retries of a broken connection (after a worker was replaced) before it counts as a failure.
_TRIES = 5
#: Seconds between two requests of a client: the server and the demo share the processors of one machine.
_PAUSE_S = 0.02


@dataclass
class ClientStats:
    """Counts and latencies of the clients' requests."""

    answers: int = 0
    failures: int = 0
    retries: int = 0
    by_release: dict[str, int] = field(default_factory=dict)
    #: One latency per response, in seconds.
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    #: Number of items shown, and of those taken by the customer.
    shown: int = 0
    taken: int = 0
    #: The responses of the failures: status and body.
    refusals: list[str] = field(default_factory=list)

    def per_second(self) -> float:
        """Responses per second over the whole time."""
        return self.answers / self.seconds if self.seconds else 0.0

    def quantile_ms(self, share: float) -> float:
        """The latency quantile `share` of the responses, in milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0

    def add(self, other: ClientStats) -> None:
        """Add the counts of `other`."""
        self.answers += other.answers
        self.failures += other.failures
        self.retries += other.retries
        for name, n in other.by_release.items():
            self.by_release[name] = self.by_release.get(name, 0) + n
        self.latencies += other.latencies
        self.shown += other.shown
        self.taken += other.taken
        self.refusals += other.refusals


#: Maps a user and the shown items to the items that the user takes.
Takes = Callable[[str, Sequence[str]], Sequence[str]]


class SimulatedClients:
    """Clients of one model. `start` sends requests until `stop`; `once` sends one request for one user."""

    def __init__(
        self, address: tuple[str, int], model: str, users: Sequence[str], takes: Takes, *, threads: int = 4, n: int = 10
    ) -> None:
        self._address = address
        self._model = model
        self._users = users
        self._takes = takes
        self._threads = threads
        self._n = n
        self._stop = threading.Event()
        self._running: list[threading.Thread] = []
        self._tallies: list[ClientStats] = []
        self._started = 0.0

    def start(self) -> None:
        """Start the threads: each sends requests repeatedly for its share of the users."""
        self._stop.clear()
        self._tallies = [ClientStats() for _ in range(self._threads)]
        self._started = time.monotonic()
        self._running = [
            threading.Thread(target=self._shop, args=(i, tally), daemon=True) for i, tally in enumerate(self._tallies)
        ]
        for thread in self._running:
            thread.start()

    def stop(self) -> ClientStats:
        """Stop the clients and return their total counts."""
        self._stop.set()
        total = ClientStats()
        for thread, tally in zip(self._running, self._tallies, strict=True):
            thread.join(timeout=30)
            total.add(tally)
        total.seconds = time.monotonic() - self._started
        return total

    def once(self, user: str) -> list[str]:
        """The items shown to one user; none without a response."""
        connection = http.client.HTTPConnection(*self._address, timeout=10)
        body = {"user": user, "n": self._n}
        answer = self._call(connection, ClientStats(), f"/v1/recommend/{self._model}", body)
        connection.close()
        return [entry["item"] for entry in answer["items"]] if answer else []

    def _shop(self, which: int, tally: ClientStats) -> None:
        connection = http.client.HTTPConnection(*self._address, timeout=10)
        mine = self._users[which :: self._threads]
        looked_at: set[str] = set()
        turn = 0
        while mine and not self._stop.wait(_PAUSE_S):
            user = mine[turn % len(mine)]
            turn += 1
            started = time.perf_counter()
            answer = self._call(connection, tally, f"/v1/recommend/{self._model}", {"user": user, "n": self._n})
            if answer is None:
                tally.failures += 1
                continue
            tally.latencies.append(time.perf_counter() - started)
            tally.answers += 1
            tally.by_release[answer["release"]] = tally.by_release.get(answer["release"], 0) + 1
            if answer["prediction_id"] not in looked_at:  # a repeated response is the same prediction, already counted
                looked_at.add(answer["prediction_id"])
                self._look(connection, tally, user, answer)
        connection.close()

    def _look(
        self, connection: http.client.HTTPConnection, tally: ClientStats, user: str, answer: dict[str, Any]
    ) -> None:
        items = [entry["item"] for entry in answer["items"]]
        took = set(self._takes(user, items))
        tally.shown += len(items)
        tally.taken += len(took)
        outcomes = [
            {
                "prediction_id": answer["prediction_id"],
                "item": item,
                "what": "taken",
                "value": float(item in took),
            }
            for item in items
        ]
        if outcomes:
            self._call(connection, tally, "/v1/outcomes", outcomes)

    def _call(self, connection: http.client.HTTPConnection, tally: ClientStats, path: str, body: Any) -> Any:
        payload = msgspec.json.encode(body)
        for attempt in range(_TRIES):
            try:
                connection.request("POST", path, payload, {"Content-Type": "application/json"})
                response = connection.getresponse()
                data = response.read()
                if response.status < 300:
                    return msgspec.json.decode(data) if data else {}
                if response.status not in (429, 503):
                    tally.refusals.append(f"{response.status} {data[:300].decode(errors='replace')}")
                    return None
            except (OSError, http.client.HTTPException):
                connection.close()
            tally.retries += 1
            time.sleep(0.05 * (attempt + 1))
        return None
