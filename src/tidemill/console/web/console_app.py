"""Console application (ASGI): the pages, their JSON versions and static files."""

from __future__ import annotations

import hashlib
import logging
import threading
import traceback
from collections.abc import Callable
from importlib import resources
from typing import Any, TypeVar

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tidemill.console import formatting
from tidemill.console.drawings import effect_charts, model_charts, residual_charts, score_charts
from tidemill.console.drawings.component_diagram import room_diagram
from tidemill.console.drawings.curve import chart, short
from tidemill.console.drawings.data_charts import arrival_chart, version_chart
from tidemill.console.drawings.histogram import histogram
from tidemill.console.drawings.parallel_coordinates import number_of, parallel_plot
from tidemill.console.drawings.plot import calibration_plot, learning_plot
from tidemill.console.drawings.scale import IntervalAxis
from tidemill.console.pages.comparison_page import ComparePage, ComparisonStore, address, compare_page
from tidemill.console.pages.data_page import data_page
from tidemill.console.pages.feature_view_page import FeatureViewPage, feature_view_page
from tidemill.console.pages.features_page import features_page
from tidemill.console.pages.loop_page import loop_page
from tidemill.console.pages.model_page import ModelPage, model_page
from tidemill.console.pages.run_page import RunPage, run_page
from tidemill.console.pages.runs_page import RunsPage, runs_page
from tidemill.console.pages.table_page import TablePage, table_page
from tidemill.console.state.console_stores import ConsoleStores
from tidemill.console.state.feature_state import ViewMeasurements
from tidemill.console.state.model_traffic import TrafficStore
from tidemill.console.state.release_outcomes import OutcomeStore
from tidemill.console.state.run_filter import RunFilter
from tidemill.console.state.table_state import TableProfiles
from tidemill.console.web.guard import Guard
from tidemill.core.errors import BadRequest, NoSuchRelease, NotPublished, ServeError, TidemillError, UnknownName
from tidemill.core.record_format import Record
from tidemill.core.records.runs import Trial
from tidemill.loop.state.ledger_projection import LedgerProjection
from tidemill.serving.http.access import Access, LoopbackAccess
from tidemill.serving.http.error_responses import body, status

_MEDIA = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_FOREVER = "private, max-age=31536000, immutable"


def create_app(stores: ConsoleStores, *, port: int = 8401, access: Access | None = None) -> ASGIApp:
    """The console over `stores`. `access` is checked before every route; by default it admits only this machine, and
    of its origins only `port`.
    """
    pages = _ConsolePages(stores)
    app = Starlette(
        routes=[
            Route("/", pages.loop),
            Route("/index.json", pages.loop_json),
            Route("/models/{model}.json", pages.model_json),
            Route("/models/{model}", pages.model),
            Route("/data", pages.data),
            Route("/data.json", pages.data_json),
            Route("/data/{table}.json", pages.table_json),
            Route("/data/{table}", pages.table),
            Route("/features", pages.features),
            Route("/features.json", pages.features_json),
            Route("/features/{view}.json", pages.feature_view_json),
            Route("/features/{view}", pages.feature_view),
            Route("/runs", pages.runs),
            Route("/runs.json", pages.runs_json),
            Route("/runs/compare", pages.compare),
            Route("/runs/compare.json", pages.compare_json),
            Route("/runs/{model}/{number}.json", pages.run_json),
            Route("/runs/{model}/{number}/live", pages.run_live),
            Route("/runs/{model}/{number}", pages.run),
            Route("/static/{name}", pages.static),
            Route("/livez", pages.alive),
        ],
        exception_handlers={HTTPException: pages.refused, TidemillError: pages.failed, Exception: pages.broken},
    )
    return Guard(app, access or LoopbackAccess([port]))


class _ConsolePages:
    """The routes; pages are built in a thread, one at a time, because they share the ledger projection."""

    def __init__(self, stores: ConsoleStores) -> None:
        self._stores = stores
        self._projection = LedgerProjection(stores.ledger)
        self._sums = OutcomeStore()
        self._traffic = TrafficStore()
        self._comparisons = ComparisonStore()
        self._measured = ViewMeasurements()
        self._profiles = TableProfiles()
        self._one_at_a_time = threading.Lock()
        self._assets = _assets()
        self._environment = _environment(self._assets)

    async def loop(self, request: Request) -> Response:
        page = await self._made(lambda: loop_page(self._stores, self._projection))
        return self._html(request, "loop.html", page=page, ring=room_diagram)

    async def loop_json(self, request: Request) -> Response:
        return _json(request, await self._made(lambda: loop_page(self._stores, self._projection)))

    async def model(self, request: Request) -> Response:
        page = await self._model(request)
        plots = {"calibration_plot": calibration_plot, "learning_plot": learning_plot}
        charts = {"inputs": effect_charts, "residuals": residual_charts, "scores": score_charts, "served": model_charts}
        return self._html(request, "model.html", page=page, Axis=IntervalAxis, **plots, **charts)

    async def model_json(self, request: Request) -> Response:
        return _json(request, await self._model(request))

    async def _model(self, request: Request) -> ModelPage:
        model, asked = request.path_params["model"], request.query_params.get("release")
        number = _number(asked) if asked is not None else None
        if asked is not None and number is None:
            raise BadRequest("`release` must be the number of a release")
        asked_range = request.query_params.get("range")
        return await self._made(
            lambda: model_page(
                self._stores,
                self._projection,
                model,
                number,
                self._sums,
                asked_range=asked_range,
                traffic=self._traffic,
            )
        )

    async def data(self, request: Request) -> Response:
        return self._html(
            request, "data.html", page=await self._made(lambda: data_page(self._stores, self._projection))
        )

    async def data_json(self, request: Request) -> Response:
        return _json(request, await self._made(lambda: data_page(self._stores, self._projection)))

    async def table(self, request: Request) -> Response:
        charts = {"arrival_chart": arrival_chart, "version_chart": version_chart}
        return self._html(request, "table.html", page=await self._table(request), spread=histogram, **charts)

    async def table_json(self, request: Request) -> Response:
        return _json(request, await self._table(request))

    async def _table(self, request: Request) -> TablePage:
        table, first = request.path_params["table"], _number(request.query_params.get("column", "0"))
        if first is None:
            raise BadRequest("`column` must be the place of a column, from 0")
        return await self._made(lambda: table_page(self._stores, self._projection, table, first, self._profiles))

    async def features(self, request: Request) -> Response:
        page = await self._made(lambda: features_page(self._stores, self._projection, self._measured))
        return self._html(request, "features.html", page=page)

    async def features_json(self, request: Request) -> Response:
        return _json(request, await self._made(lambda: features_page(self._stores, self._projection, self._measured)))

    async def feature_view(self, request: Request) -> Response:
        return self._html(request, "feature_view.html", page=await self._feature_view(request), spread=histogram)

    async def feature_view_json(self, request: Request) -> Response:
        return _json(request, await self._feature_view(request))

    async def _feature_view(self, request: Request) -> FeatureViewPage:
        view = request.path_params["view"]
        return await self._made(lambda: feature_view_page(self._stores, self._projection, view, self._measured))

    async def runs(self, request: Request) -> Response:
        page = await self._runs(request)
        return self._html(request, "runs.html", page=page, Axis=IntervalAxis)

    async def runs_json(self, request: Request) -> Response:
        return _json(request, await self._runs(request))

    async def _runs(self, request: Request) -> RunsPage:
        names = (field.name for field in msgspec.structs.fields(RunFilter))
        chosen = {name: request.query_params.get(name, "") for name in names}
        return await self._made(lambda: runs_page(self._stores, self._projection, **chosen))

    async def compare(self, request: Request) -> Response:
        page = await self._compare(request)
        return self._html(request, "compare.html", page=page, Axis=IntervalAxis, address=address)

    async def compare_json(self, request: Request) -> Response:
        return _json(request, await self._compare(request))

    async def _compare(self, request: Request) -> ComparePage:
        keys = request.query_params.getlist("run")
        return await self._made(lambda: compare_page(self._stores, self._projection, keys, self._comparisons))

    async def run(self, request: Request) -> Response:
        return await self._run(request, "run.html")

    async def run_live(self, request: Request) -> Response:
        """The part of a run's page that changes while the run is in progress."""
        return await self._run(request, "run_live.html")

    async def run_json(self, request: Request) -> Response:
        page, _ = await self._one_run(request)
        return _json(request, page)

    async def _run(self, request: Request, template: str) -> Response:
        page, trials = await self._one_run(request)
        drawn = parallel_plot(trials, page.run.best)
        return self._html(
            request, template, page=page, trials=trials, loom=drawn, chart=chart, Axis=IntervalAxis, address=address
        )

    async def _one_run(self, request: Request) -> tuple[RunPage, tuple[Trial, ...]]:
        model, number = request.path_params["model"], _number(request.path_params["number"])
        if number is None:
            raise HTTPException(404)
        return await self._made(lambda: run_page(self._stores, self._projection, model, number))

    async def _made(self, make: Callable[[], _T]) -> _T:
        def alone() -> _T:
            with self._one_at_a_time:
                return make()

        return await run_in_threadpool(alone)

    async def static(self, request: Request) -> Response:
        asset = self._assets.get(request.path_params["name"])
        if asset is None:
            raise HTTPException(404)
        content, media, _ = asset
        return Response(content, media_type=media, headers={"cache-control": _FOREVER})

    async def alive(self, request: Request) -> Response:
        return Response("ok\n", media_type="text/plain")

    # ---- errors

    async def refused(self, request: Request, error: Exception) -> Response:
        """An HTTP error of the router: page not found, or a method other than GET."""
        assert isinstance(error, HTTPException)
        says = {404: "Page not found.", 405: "The console is read-only; make changes on the command line."}
        text = says.get(error.status_code, error.detail)
        return self._problem(request, error.status_code, ServeError(text), error.headers)

    async def failed(self, request: Request, error: Exception) -> Response:
        """A tidemill error, with its code and its tip."""
        assert isinstance(error, TidemillError)
        absent = isinstance(error, NoSuchRelease | NotPublished | UnknownName)
        return self._problem(request, 404 if absent else status(error), error)

    async def broken(self, request: Request, error: Exception) -> Response:
        """An unexpected error: its location is logged, and the page shows no details."""
        place = "".join(traceback.format_tb(error.__traceback__)[-4:])
        _log.error("%s while showing %s:\n%s", type(error).__name__, request.url.path, place)
        return self._problem(
            request, 500, ServeError("The console failed on this page.", tip="see the log of the console")
        )

    def _problem(self, request: Request, code: int, error: TidemillError, headers: Any = None) -> Response:
        if request.url.path.endswith(".json"):
            return Response(body(error), code, headers, "application/json")
        page = self._environment.get_template("error.html").render(
            mill=self._stores.mill_name, status=code, error=error
        )
        return Response(page, code, headers, "text/html")

    def _html(self, request: Request, template: str, **given: Any) -> Response:
        page = self._environment.get_template(template).render(mill=self._stores.mill_name, **given)
        return _tagged(request, page.encode(), "text/html; charset=utf-8")


def _number(text: str) -> int | None:
    """The number in a path or query; `None` for any other text, and for more digits than a number has."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


def _json(request: Request, page: Record) -> Response:
    return _tagged(request, msgspec.json.encode(page), "application/json")


def _tagged(request: Request, content: bytes, media: str) -> Response:
    """A response that a browser may cache and must revalidate; if unchanged, the response is a 304."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if tag in [one.strip() for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media, headers=headers)


def _assets() -> dict[str, tuple[bytes, str, str]]:
    """Name -> content, media type and a short hash that is part of the URL, so that it can be cached for a year."""
    found = {}
    for file in (resources.files("tidemill.console") / "static").iterdir():
        media = _MEDIA.get("." + file.name.rpartition(".")[2])
        if media is not None:
            content = file.read_bytes()
            found[file.name] = (content, media, hashlib.sha256(content).hexdigest()[:12])
    return found


def _environment(assets: dict[str, tuple[bytes, str, str]]) -> Environment:
    environment = Environment(
        loader=PackageLoader("tidemill.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = lambda name: f"/static/{name}?{assets[name][2]}"
    environment.filters |= {
        name: getattr(formatting, name)
        for name in (
            "age", "chance", "counted", "day", "figure", "headings", "instant", "interval", "measure", "milliseconds",
            "minute", "number", "share", "size", "span", "spoken", "through", "took",
        )
    }  # fmt: skip
    environment.filters |= {"number_of": number_of, "short": short}
    return environment
