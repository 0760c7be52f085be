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
from tidemill.serving.events.post_events import PostEvents
from tidemill.serving.events.post_outcomes import PostOutcomes
from tidemill.serving.events.streams import FILE as STREAMS
from tidemill.serving.events.streams import Streams
from tidemill.serving.http.access import Access
from tidemill.serving.http.http_app import App
from tidemill.serving.http.http_server import HttpServer
from tidemill.serving.http.metrics import Counters
from tidemill.serving.http.routes import Route, Routes
from tidemill.serving.infer.infer_route import InferRoute
from tidemill.serving.infer.invocations import Invocations
from tidemill.serving.infer.model_metadata import ModelMetadata
from tidemill.serving.live.fact_publication import WatchedPublication
from tidemill.serving.live.live_model import LiveModel, LoadFailure, Opener
from tidemill.serving.live.prediction_log import PredictionLog
from tidemill.serving.live.prediction_writer import PredictionWriter
from tidemill.serving.live.server_clock import ServerClock
from tidemill.serving.live.state_files import WatchedFile, write_state
from tidemill.serving.process.health import Health
from tidemill.serving.recommend.recommend_route import RecommendRoute

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
        self.inferring = InferRoute(
            self.models, surrogate=stores.surrogate, writer=writer, counters=self.counters, limits=settings
        )
        self.server = HttpServer(App(self._routes(settings), access, self.counters), settings)
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
        invocations = Invocations(self.models, self.inferring, settings)
        return Routes(
            [
                Route("recommend", "POST", "/v1/recommend/{model}", self.recommending.post),
                Route("recommend_token", "GET", "/v1/recommend/{model}/{token}", self.recommending.get),
                Route("infer", "POST", "/v2/models/{model}/infer", infer, tensors=True),
                Route("infer_version", "POST", "/v2/models/{model}/versions/{version}/infer", infer, tensors=True),
                Route("invocations", "POST", "/invocations", invocations),
                Route("v2", "GET", "/v2", metadata.server),
                Route("v2_live", "GET", "/v2/health/live", metadata.live),
                Route("v2_ready", "GET", "/v2/health/ready", metadata.ready),
                Route("model", "GET", "/v2/models/{model}", metadata.model),
                Route("model_ready", "GET", "/v2/models/{model}/ready", metadata.model_ready),
                Route("model_version", "GET", "/v2/models/{model}/versions/{version}", metadata.model),
                Route(
                    "model_version_ready", "GET", "/v2/models/{model}/versions/{version}/ready", metadata.model_ready
                ),
                Route("events", "POST", "/v1/events/{stream}", self.events),
                Route("outcomes", "POST", "/v1/outcomes", outcomes),
                Route("livez", "GET", "/livez", health.livez),
                Route("readyz", "GET", "/readyz", health.readyz),
                Route("healthz", "GET", "/healthz", health.healthz),
                Route("metrics", "GET", "/metrics", health.metrics),
            ]
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

    def _about(self) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "place": self._place,
            "as_of": self.clock.now().isoformat(),
            "replaying": self.clock.replaying,
            "models": {
                name: {"release": model.release, "off": model.off, "failed": model.failed}
                for name, model in self.models.items()
            },
            "streams": sorted(self.streams.streams),
        }

    def _report(self) -> None:
        failed = {name: model.failed for name, model in self.models.items() if model.failed}
        report = WorkerReport(pid=os.getpid(), place=self._place, live=self.releases(), failed=failed, since=0)
        if report != self._reported:
            self._reported = report
            since = to_micros(self._stores.wall.now())
            write_state(self.root / WORKERS / f"{os.getpid()}.json", msgspec.structs.replace(report, since=since))
