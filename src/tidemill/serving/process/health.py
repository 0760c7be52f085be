"""Health checks of a worker and its metrics: `/livez`, `/readyz`, `/healthz`, `/metrics`, and MLflow's paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

import tidemill
from tidemill.serving.http.health_status import Liveness, Readiness
from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.http.metrics import exposition
from tidemill.serving.live.live_model import LoadFailure


class ModelHealth(msgspec.Struct, frozen=True):
    """A model of a worker: the release that it serves, and one that could not be loaded."""

    release: str | None
    off: bool
    failed: LoadFailure | None


class WorkerHealth(msgspec.Struct, frozen=True):
    """One worker: its process, its clock, its models and streams."""

    pid: int
    place: int
    as_of: str
    #: Whether its clock is that of a replay.
    replaying: bool
    models: dict[str, ModelHealth]
    streams: list[str]


_NO_STORE = (("cache-control", "no-store"),)


class Health:
    """Responses for one worker. `not_ready` returns the reasons why it is not ready; `about` its status."""

    def __init__(
        self,
        not_ready: Callable[[], list[str]],
        about: Callable[[], WorkerHealth],
        releases: Callable[[], dict[str, str]],
        counters: Path,
    ) -> None:
        self._not_ready = not_ready
        self._about = about
        self._releases = releases
        self._counters = counters

    def livez(self, request: HttpRequest) -> HttpResponse:
        """200 while the worker's event loop runs; nothing else is checked, so a broken store causes no restart."""
        return HttpResponse(200, msgspec.json.encode(Liveness()), _NO_STORE)

    def readyz(self, request: HttpRequest) -> HttpResponse:
        """200 when every promoted model is live and the worker is not draining; else 503 with the reasons."""
        reasons = self._not_ready()
        body = msgspec.json.encode(Readiness(not reasons, reasons))
        return HttpResponse(503 if reasons else 200, body, _NO_STORE)

    def healthz(self, request: HttpRequest) -> HttpResponse:
        """The releases that this worker serves, and those that it could not load; always 200."""
        return HttpResponse(200, msgspec.json.encode(self._about()), _NO_STORE)

    def version(self, request: HttpRequest) -> HttpResponse:
        """The version of tidemill."""
        return HttpResponse(200, tidemill.__version__.encode(), _NO_STORE, "text/plain; charset=utf-8")

    def metrics(self, request: HttpRequest) -> HttpResponse:
        """Counters of all workers in Prometheus' text format."""
        media = "text/plain; version=0.0.4; charset=utf-8"
        return HttpResponse(200, exposition(self._counters, self._releases()), _NO_STORE, media)
