"""Health checks of a worker and its metrics: `/livez`, `/readyz`, `/healthz`, `/metrics`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tidemill.serving.http.http_messages import HttpRequest, HttpResponse
from tidemill.serving.http.metrics import exposition

_NO_STORE = (("cache-control", "no-store"),)


class Health:
    """Answers for one worker. `ready` gives the reasons for which it is not; `about` what it is doing."""

    def __init__(
        self,
        ready: Callable[[], list[str]],
        about: Callable[[], dict[str, Any]],
        releases: Callable[[], dict[str, str]],
        counters: Path,
    ) -> None:
        self._ready = ready
        self._about = about
        self._releases = releases
        self._counters = counters

    async def livez(self, request: HttpRequest) -> HttpResponse:
        """200 while the worker's loop runs; nothing else is asked, so a broken store restarts nobody."""
        return HttpResponse(200, b'{"live":true}', _NO_STORE)

    async def readyz(self, request: HttpRequest) -> HttpResponse:
        """200 when every promoted model answers and the worker is not draining; else 503 with the reasons."""
        reasons = self._ready()
        body = msgspec.json.encode({"ready": not reasons, "reasons": reasons})
        return HttpResponse(503 if reasons else 200, body, _NO_STORE)

    async def healthz(self, request: HttpRequest) -> HttpResponse:
        """What this worker serves and what it could not take up; always 200."""
        return HttpResponse(200, msgspec.json.encode(self._about()), _NO_STORE)

    async def metrics(self, request: HttpRequest) -> HttpResponse:
        """Counters of all workers in Prometheus' text format."""
        media = "text/plain; version=0.0.4; charset=utf-8"
        return HttpResponse(200, exposition(self._counters, self._releases()), _NO_STORE, media)
