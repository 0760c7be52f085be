"""The routes of the API and of the console, as the applications themselves have them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import starlette.routing
from served_model import open_models

from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.web.console_app import create_app
from tidemill.core.clock import SystemClock
from tidemill.loop.serve.server_processes import _stores
from tidemill.serving.http.access import LoopbackAccess
from tidemill.serving.http.routes import Route
from tidemill.serving.process.worker_site import WorkerSite


@cache
def api_routes() -> tuple[Route, ...]:
    """The routes of a worker."""
    with TemporaryDirectory() as folder:
        stores = open_models(Path(folder) / "project").stores
        site = WorkerSite(_stores(stores.settings), stores.settings.serve, LoopbackAccess([8400]), place=0)
        try:
            application: Any = site.server.application
            routes: tuple[Route, ...] = application._routes.routes
            return routes
        finally:
            site.close()


@cache
def console_routes() -> tuple[starlette.routing.Route, ...]:
    """The routes of the console."""
    with TemporaryDirectory() as folder:
        stores = open_models(Path(folder) / "project").stores
        console = ConsoleStores(
            mill_name="x", ledger=stores.ledger, releases=stores.releases, serving_root=stores.serving_root,
            clock=SystemClock(),
        )  # fmt: skip
        guard: Any = create_app(console)
        return tuple(guard._app.routes)
