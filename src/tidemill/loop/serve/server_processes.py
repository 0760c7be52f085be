"""Server processes, built from a project's settings: the API workers and the log writer.

The supervisor starts them by name (`tidemill.loop.serve.server_processes:worker`), each in a separate process. A
worker opens neither the ledger nor mill.py: deployments, streams and kill switches reach it as files, so that it
can serve while those are unavailable.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tidemill import sources as source_files
from tidemill.core.clock import SystemClock
from tidemill.core.errors import TidemillError
from tidemill.core.identity.account import Account
from tidemill.core.identity.surrogates import Surrogates, Vault
from tidemill.core.lease import LOG
from tidemill.core.processes.start_process import ProcessStart
from tidemill.core.records.deployment import Deployment
from tidemill.core.settings import Settings, load
from tidemill.core.storage.failpoint import arm
from tidemill.feedback import LogWriter, SegmentLog
from tidemill.loop.families.model_family import ServingSources, family_named
from tidemill.loop.project.existing_vault import ExistingVault
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.project.recovery import LiveFiles
from tidemill.loop.project.stores import STATE, open_stores, project_keys
from tidemill.release import open_arm
from tidemill.serving.http.access import LoopbackAccess
from tidemill.serving.live.kill_switch import flush_spool
from tidemill.serving.live.live_model import AnyPredictor, Opener
from tidemill.serving.live.server_clock import ServerClock
from tidemill.serving.process.supervisor import ServerPlan
from tidemill.serving.process.worker import run_worker
from tidemill.serving.process.worker_site import WorkerSite, WorkerStores

_log = logging.getLogger(__name__)

#: Seconds until the log writer tries again after a failure: minimum and maximum.
_SHORTEST_S, _LONGEST_S = 1.0, 10.0
#: Seconds between two looks at the log.
_LOOK_S = 1.0


def serve_plan(
    settings: Settings, *, overrides: Mapping[str, Any] | None = None, console: ProcessStart | None = None
) -> ServerPlan:
    """The processes of `tidemill serve` for a project; `overrides` are the arguments used to load `settings`."""
    project = settings.project.resolve()
    given: dict[str, Any] = {
        "project": str(project),
        "profile": settings.profile,
        "overrides": {key: value for key, value in (overrides or {}).items() if value is not None},
    }
    side_processes = {"log writer": ProcessStart("tidemill.loop.serve.server_processes:log_writer", given)}
    if console is not None:
        side_processes["console"] = console
    serve = settings.serve
    return ServerPlan(
        blobs=ProcessStart("tidemill.loop.serve.blob_store:open_blobs", given),
        root=str(project / STATE / "serving"),
        host=serve.host,
        port=serve.port,
        workers=serve.workers,
        drain_s=serve.drain_s,
        worker=ProcessStart("tidemill.loop.serve.server_processes:worker", given),
        side_processes=side_processes,
        console_port=serve.console_port if console is not None else 0,
        public=project_keys(settings).public,
    )


def worker(project: str, profile: str, overrides: Mapping[str, Any], *, place: int, host: str, port: int) -> None:
    """One API worker: serves until SIGTERM."""
    settings = load(Path(project), profile=profile, overrides=overrides)
    access = LoopbackAccess([port, settings.serve.console_port])
    log: list[SegmentLog] = []

    def make() -> WorkerSite:
        stores = _stores(settings)
        log.append(stores.log)  # type: ignore[arg-type]  # it is the one created below
        return WorkerSite(stores, settings.serve, access, place=place)

    try:
        run_worker(make, host=host, port=port)
    finally:
        for opened in log:
            opened.close()


def _stores(settings: Settings) -> WorkerStores:
    state = settings.project / STATE
    keys = project_keys(settings)
    wall = SystemClock()
    ports = PortOpener(settings)
    latest = ports.latest()
    blobs = ports.blobs()
    surrogate = Surrogates(keys.subject)
    search = ports.search()

    def opener(clock: ServerClock, feeding: Callable[[str], Sequence[str]]) -> Opener:
        sources = ServingSources(latest, search, clock, settings.serve.slot_s, feeding)

        def open_deployment(deployment: Deployment) -> AnyPredictor:
            pointer = open_arm(deployment, deployment.champion, blobs)
            return family_named(pointer.release.family).predictor(pointer, sources)

        return open_deployment

    return WorkerStores(
        state=state,
        public=keys.public,
        latest=latest,
        events=ports.events(),
        surrogate=surrogate,
        vault=Vault(ExistingVault.from_settings(settings), keys),
        log=SegmentLog(state / "log", wall),
        wall=wall,
        opener=opener,
        read_csv=lambda body, fields: source_files.read_csv_body(body, fields),  # imports Polars, on the first use
    )


def log_writer(project: str, profile: str, overrides: Mapping[str, Any]) -> None:
    """Write logged predictions and outcomes to the lake, and spooled switch entries to the ledger, until SIGTERM.

    While the ledger or the lake is unavailable, records stay in their segments and serving continues.
    """
    settings = load(Path(project), profile=profile, overrides=overrides)
    arm(settings.failpoint)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    wait = _SHORTEST_S
    while True:
        last = stopping.is_set()
        try:
            if _write_all(settings, stopping, last=last):
                return
        except (TidemillError, OSError) as error:
            _log.error("the log writer is waiting: %s", error)
        if last:
            return
        stopping.wait(wait)
        wait = min(2 * wait, _LONGEST_S)


def _write_all(settings: Settings, stopping: threading.Event, *, last: bool) -> bool:
    """Open the stores and write in rounds; `True` after a regular stop."""
    ports = PortOpener(settings)
    if not ports.ledger_exists():
        return False
    stores = open_stores(settings.project, settings, SystemClock(), account=Account(name="server", kind="process"))
    with stores.leases.take(LOG) as lease:
        writer = LogWriter(settings.project / STATE / "log", stores.lake, lease)
        live_files = LiveFiles(stores)
        while ports.ledger_exists():
            last = last or stopping.is_set()
            flush_spool(stores.serving_root, stores.ledger)
            for note in live_files.heal():
                _log.warning("%s", note)
            done = writer.write() if last else writer.write_if_due(time.monotonic())
            if done and (done.torn or done.damaged):
                _log.warning("segments: %d truncated, %d damaged and set aside", done.torn, done.damaged)
            if last:
                return True
            stopping.wait(_LOOK_S)
    return False
