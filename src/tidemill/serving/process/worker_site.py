"""Site of one API worker: its models, streams and routes, kept up to date with the state files."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from tidemill.core.clock import Clock, to_micros
from tidemill.core.errors import TidemillError
from tidemill.core.identity.surrogates import Vault
from tidemill.core.ports import EventLog, LatestWriter
from tidemill.core.record_format import VersionedRecord
from tidemill.core.settings import Serve
from tidemill.release.live_deployment import promoted_models
from tidemill.serving.events.events_operation import events_operation
from tidemill.serving.events.post_events import AcceptedEvents, PostEvents
from tidemill.serving.events.post_outcomes import AcceptedOutcomes, PostOutcomes
from tidemill.serving.events.streams import FILE as STREAMS
from tidemill.serving.events.streams import Streams
from tidemill.serving.http.access import Access
from tidemill.serving.http.health_status import Liveness, Readiness
from tidemill.serving.http.http_app import App
from tidemill.serving.http.http_messages import CSV, JSON, OCTETS, HttpRequest, HttpResponse
from tidemill.serving.http.http_server import HttpServer
from tidemill.serving.http.metrics import Counters
from tidemill.serving.http.openapi import NamedOperation, openapi_document
from tidemill.serving.http.requests import OutcomeBody, RecommendBody
from tidemill.serving.http.routes import Operation, Route, Routes
from tidemill.serving.infer.infer_operation import infer_operation
from tidemill.serving.infer.infer_route import InferRoute
from tidemill.serving.infer.invocations import InvocationAnswer, InvocationBody, Invocations, ReadCsv
from tidemill.serving.infer.model_metadata import ModelMetadata, ModelReadiness, ServerMetadata, TabularMetadata
from tidemill.serving.infer.model_statistics import ModelStatistics, ModelStats
from tidemill.serving.infer.oip_request import InferBody
from tidemill.serving.infer.oip_response import InferAnswer
from tidemill.serving.infer.tabular_predictor import TabularPredictor
from tidemill.serving.infer.triton_extensions import IndexBody, IndexedModel, ModelConfig, TritonExtensions
from tidemill.serving.live.fact_publication import WatchedPublication
from tidemill.serving.live.live_model import LiveModel, LoadFailure, Opener
from tidemill.serving.live.prediction_log import PredictionLog
from tidemill.serving.live.prediction_writer import PredictionWriter
from tidemill.serving.live.server_clock import ServerClock
from tidemill.serving.live.state_files import WatchedFile, write_state
from tidemill.serving.process.health import Health, ModelHealth, WorkerHealth
from tidemill.serving.recommend.recommend_route import RecommendResponse, RecommendRoute

_log = logging.getLogger(__name__)

WORKERS = "workers"


class WorkerStores(msgspec.Struct, frozen=True, kw_only=True):
    """The stores that a worker uses."""

    #: The project's `.tidemill/`.
    state: Path
    #: The ledger's public key in hex.
    public: str
    latest: LatestWriter
    events: EventLog
    surrogate: Callable[[str, str], str]
    vault: Vault
    log: PredictionLog
    wall: Clock
    #: Builds the predictor of a deployment, from the worker's clock and a function from model to its streams.
    opener: Callable[[ServerClock, Callable[[str], Sequence[str]]], Opener]
    #: Reads the rows of a CSV body.
    read_csv: ReadCsv


class WorkerReport(VersionedRecord, frozen=True, kw_only=True):
    """A worker's report to the supervisor: the releases that it serves, and those that it could not load."""

    KIND: ClassVar[str] = "worker state"
    REQUIRED: ClassVar[tuple[str, ...]] = ("pid",)

    pid: int = 0
    place: int = 0
    live: dict[str, str] = msgspec.field(default_factory=dict)
    failed: dict[str, LoadFailure] = msgspec.field(default_factory=dict)
    since: int = 0


class WorkerSite:
    """Models, streams and routes of one worker. `poll` loads what has changed."""

    def __init__(self, stores: WorkerStores, settings: Serve, access: Access, *, place: int) -> None:
        self.root = stores.state / "serving"
        self._stores = stores
        self._place = place
        self._reported: WorkerReport | None = None
        self._feeds: dict[str, tuple[str, ...]] = {}
        self._streams_file = WatchedFile(self.root / STREAMS, Streams, stores.public)
        self.clock = ServerClock(stores.wall, self.root)
        self.counters = Counters(self.root / WORKERS, place)
        self._opener = stores.opener(self.clock, self._feeding)
        self.models: dict[str, LiveModel] = {}
        self.events = PostEvents(
            stores.events, latest=stores.latest, surrogate=stores.surrogate, vault=stores.vault, clock=self.clock,
            limits=settings, counters=self.counters,
        )  # fmt: skip
        self.publication = WatchedPublication(self.root)
        writer = PredictionWriter(stores.log, self.clock, settings, self.counters, self.publication)
        self.recommending = RecommendRoute(
            self.models, kind=lambda model: self.streams.subject(model), surrogate=stores.surrogate, writer=writer,
            clock=self.clock, limits=settings,
        )  # fmt: skip
        self._statistics = ModelStatistics(self.root / WORKERS, place)
        self.inferring = InferRoute(
            self.models, surrogate=stores.surrogate, writer=writer, counters=self.counters, statistics=self._statistics,
            limits=settings,
        )  # fmt: skip
        self._served = self._routes(settings)
        self.server = HttpServer(App(self._served, access, self.counters), settings)
        self._poll_streams()

    @property
    def streams(self) -> Streams:
        """The streams of the last run."""
        return self._streams_file.content or Streams(streams={})

    def _feeding(self, model: str) -> Sequence[str]:
        return self._feeds.get(model, ())

    def start(self) -> None:
        """Open every model before the first request."""
        self._find_models()
        for model in self.models.values():
            model.start()

    def poll(self) -> None:
        """Load new deployments, switches, streams and clocks, and report the releases that are live here.

        The first call is made when the server accepts connections.
        """
        self.clock.poll()
        self.publication.poll()
        self._poll_streams()
        self._find_models()
        marks = self._marks()
        for model in self.models.values():
            model.poll(marks)
        self.counters.set("beat", to_micros(self._stores.wall.now()))
        self.counters.set("in_flight", self.server.in_flight)
        self._report()

    def folders(self) -> list[Path]:
        """The folders whose files it follows."""
        return [self.root, *(self.root / model for model in self.models)]

    @property
    def loading(self) -> bool:
        """Whether a model is being swapped or reloaded."""
        return any(model.changing for model in self.models.values())

    def releases(self) -> dict[str, str]:
        """Model -> release that this worker serves."""
        return {name: model.release for name, model in self.models.items() if model.release}

    def close(self) -> None:
        """Flush acknowledged events, and remove this worker's report."""
        self.events.close()
        (self.root / WORKERS / f"{os.getpid()}.json").unlink(missing_ok=True)

    def _routes(self, settings: Serve) -> Routes:
        health = Health(self._not_ready, self._about, self.releases, self.root / WORKERS)
        outcomes = PostOutcomes(self._stores.log, self.clock, settings, self.counters)
        metadata = ModelMetadata(self.inferring, self._not_ready)
        infer = self.inferring.infer
        invocations = Invocations(self.models, self.inferring, self._stores.read_csv, settings)
        triton = TritonExtensions(self.models, self._statistics, settings)
        ready = Operation("Readiness", answer=Readiness, others={503: Readiness})
        config = Operation("Configuration of a tabular model, as Triton writes it", answer=ModelConfig)
        stats = Operation("Statistics of a tabular model, as Triton writes them", answer=ModelStats)
        prediction = Operation("Predictions of a tabular model", InferBody, InferAnswer)
        model = Operation("Inputs and outputs of a tabular model", answer=TabularMetadata)
        model_ready = Operation("Whether a model is live", answer=ModelReadiness, others={400: ModelReadiness})
        return Routes(
            [
                Route(
                    "recommend", "POST", "/v1/recommend/{model}", self.recommending.post,
                    Operation("Recommendations for a user", RecommendBody, RecommendResponse),
                ),
                Route(
                    "recommend_token", "GET", "/v1/recommend/{model}/{token}", self.recommending.get,
                    Operation(
                        "Recommendations for a user token", answer=RecommendResponse, others={304: None},
                        query={"n": {"type": "integer", "minimum": 1, "maximum": settings.max_n}},
                    ),
                ),
                Route("infer", "POST", "/v2/models/{model}/infer", infer, prediction, (JSON, OCTETS), undeclared=True),
                Route(
                    "infer_version", "POST", "/v2/models/{model}/versions/{version}/infer", infer, prediction,
                    (JSON, OCTETS), undeclared=True,
                ),
                Route(
                    "invocations", "POST", "/invocations", invocations,
                    Operation(
                        "Predictions of a tabular model, by MLflow's protocol", InvocationBody, InvocationAnswer,
                        query={"model": {"type": "string"}},
                    ),
                    (JSON, CSV),
                ),
                Route("v2", "GET", "/v2", metadata.server, Operation("The server", answer=ServerMetadata)),
                Route("v2_live", "GET", "/v2/health/live", metadata.live, Operation("Liveness", answer=Liveness)),
                Route(
                    "v2_ready", "GET", "/v2/health/ready", metadata.ready,
                    Operation("Readiness", answer=Readiness, others={400: Readiness}),
                ),
                Route(
                    "repository_index", "POST", "/v2/repository/index", triton.index,
                    Operation("The tabular models, as in Triton", IndexBody, list[IndexedModel], required=False),
                    undeclared=True,
                ),
                Route("all_stats", "GET", "/v2/models/stats", triton.all_stats, stats),
                Route("model", "GET", "/v2/models/{model}", metadata.model, model),
                Route("model_config", "GET", "/v2/models/{model}/config", triton.config, config),
                Route("model_stats", "GET", "/v2/models/{model}/stats", triton.stats, stats),
                Route("model_ready", "GET", "/v2/models/{model}/ready", metadata.model_ready, model_ready),
                Route("model_version", "GET", "/v2/models/{model}/versions/{version}", metadata.model, model),
                Route(
                    "model_version_config", "GET", "/v2/models/{model}/versions/{version}/config", triton.config, config
                ),
                Route("model_version_stats", "GET", "/v2/models/{model}/versions/{version}/stats", triton.stats, stats),
                Route(
                    "model_version_ready", "GET", "/v2/models/{model}/versions/{version}/ready", metadata.model_ready,
                    model_ready,
                ),
                Route(
                    "events", "POST", "/v1/events/{stream}", self.events,
                    Operation("Accept events", dict[str, Any] | list[dict[str, Any]], AcceptedEvents, status=202),
                ),
                Route(
                    "outcomes", "POST", "/v1/outcomes", outcomes,
                    Operation("Accept outcomes", OutcomeBody | list[OutcomeBody], AcceptedOutcomes, status=202),
                ),
                Route("livez", "GET", "/livez", health.livez, Operation("Liveness", answer=Liveness)),
                Route("readyz", "GET", "/readyz", health.readyz, ready),
                Route("ping", "GET", "/ping", health.readyz, ready),
                Route("health", "GET", "/health", health.readyz, ready),
                Route(
                    "version", "GET", "/version", health.version,
                    Operation("The version of tidemill", answer=str, media="text/plain"),
                ),
                Route("healthz", "GET", "/healthz", health.healthz, Operation("Health", answer=WorkerHealth)),
                Route(
                    "metrics", "GET", "/metrics", health.metrics,
                    Operation("Metrics of all workers, for Prometheus", answer=str, media="text/plain"),
                ),
                Route(
                    "openapi", "GET", "/openapi.json", self._openapi,
                    Operation("This document", answer=dict[str, Any]),
                ),
            ]
        )  # fmt: skip

    def _openapi(self, request: HttpRequest) -> HttpResponse:
        """The OpenAPI document of the routes, and of the models and streams that are served now."""
        named: list[NamedOperation] = []
        for name, model in sorted(self.models.items()):
            if isinstance(model.predictor, TabularPredictor):
                named.append(infer_operation(name, model.predictor.signature, model.predictor.typical_row()))
            elif model.predictor is not None:
                named.append(NamedOperation("recommend", name, {}, {"user": "…", "n": 5}))
        named += [events_operation(name, stream.contract) for name, stream in sorted(self.streams.streams.items())]
        return HttpResponse(
            200, msgspec.json.encode(openapi_document(self._served.routes, named)), (("cache-control", "no-store"),)
        )

    def _marks(self) -> dict[str, int]:
        """The change marks of all views that the models cache, in one read."""
        views = sorted({view for model in self.models.values() for view in model.views})
        try:
            return dict(zip(views, self._stores.latest.marks(views), strict=True)) if views else {}
        except TidemillError as error:  # what the models have in memory is still served
            _log.error("the online store cannot be read: %s", error.message)
            return {}

    def _poll_streams(self) -> None:
        if self._streams_file.poll():
            self.events.serve(self.streams)
            fed = {model for stream in self.streams.streams.values() for model in stream.feeds}
            self._feeds = {model: tuple(self.streams.feeding(model)) for model in fed}

    def _find_models(self) -> None:
        for path in self.root.glob("*/serving.json"):
            if path.parent.name not in self.models:
                self.models[path.parent.name] = LiveModel(path.parent, self._opener, self.counters, self._stores.public)

    def _not_ready(self) -> list[str]:
        reasons = ["draining"] if self.server.draining else []
        serving = self.releases()
        return reasons + [f"{name} has no live release" for name in promoted_models(self.root) if name not in serving]

    def _about(self) -> WorkerHealth:
        return WorkerHealth(
            pid=os.getpid(),
            place=self._place,
            as_of=self.clock.now().isoformat(),
            replaying=self.clock.replaying,
            models={name: ModelHealth(model.release, model.off, model.failed) for name, model in self.models.items()},
            streams=sorted(self.streams.streams),
        )

    def _report(self) -> None:
        failed = {name: model.failed for name, model in self.models.items() if model.failed}
        report = WorkerReport(pid=os.getpid(), place=self._place, live=self.releases(), failed=failed, since=0)
        if report != self._reported:
            self._reported = report
            since = to_micros(self._stores.wall.now())
            write_state(self.root / WORKERS / f"{os.getpid()}.json", msgspec.structs.replace(report, since=since))
