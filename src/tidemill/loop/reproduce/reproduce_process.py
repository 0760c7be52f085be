"""Reproduction process: trains or evaluates again from stored code and read-only files of the lake.

It opens no ledger, no key and no vault, so it cannot change the project.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from tidemill.core.errors import UnknownName, UsageError
from tidemill.core.records.quality import Metric
from tidemill.governance.reproduction import AnswerComparison
from tidemill.lake import LakeSnapshot
from tidemill.lake.manifest import Manifests
from tidemill.lake.publications import PublishedVersion
from tidemill.loop.families.model_family import ModelFamily, RecordedSettings, RelearnOutcome, family_of
from tidemill.loop.project.external_inputs import ExternalInputs
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.mill import Mill
from tidemill.loop.project.open_port import open_port
from tidemill.loop.project.pretrained_folders import take_from_bundle
from tidemill.loop.project.project import load_mill
from tidemill.loop.provenance.environment_lock import EnvironmentLock, environment_lock
from tidemill.release import seal_bundle


class RelearnJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job: the recorded settings, the stored code and data, and the output folder."""

    settled: RecordedSettings
    #: The folder of the stored code, laid out as a project.
    project: str
    #: The publication from the ledger.
    known: PublishedVersion
    #: The project's folder, and its settings `lake` and `engine`; a lake may be relative to that folder.
    home: str
    lake: str
    engine: str
    #: The empty folder for the bundle; without a folder it is only evaluated.
    folder: str = ""
    #: The name of the recorded bundle, and its folder; empty if missing.
    recorded: str = ""
    before: str = ""


class RelearnResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a job."""

    #: sha256 of the bundle's manifest.
    bundle: str = ""
    relearned: RelearnOutcome | None = None
    #: The metrics of a test with the recorded settings, if it was only evaluated.
    metrics: dict[str, Metric] = {}
    #: How the predictions of the two bundles differ, if the bundles are not identical.
    compared: AnswerComparison | None = None
    environment: EnvironmentLock | None = None
    seconds: float = 0.0


def do(job: RelearnJob) -> RelearnResult:
    """Train it and seal the folder, or evaluate it."""
    started = time.monotonic()
    project = Path(job.project)
    home = Path(job.home)
    engine = open_port("engine", job.engine, home)
    mill = _mill(job, project)
    external = ExternalInputs(mill.external_tables, home, pins=job.known.publication.external)
    graph = ProjectGraph(mill, engine, project, external)
    tables, objects = (open_port(port, job.lake, home) for port in ("tables", "objects"))
    view = LakeSnapshot(job.known, tables, engine, Manifests(objects, tables))
    family, model = _family(graph, job.settled.model), job.settled.model
    if not job.folder:
        return RelearnResult(metrics=family.measure(graph, job.settled, view), seconds=time.monotonic() - started)
    folder = Path(job.folder)
    search = open_port("search", job.settled.search, home)
    relearned = family.retrain(graph, job.settled, view, folder, search)
    bundle = seal_bundle(folder)
    compared = None
    if job.before and bundle != job.recorded:
        compared = family.compare(graph, model, view, Path(job.before), folder, search)
    return RelearnResult(
        bundle=bundle,
        relearned=relearned,
        compared=compared,
        environment=environment_lock(project),
        seconds=time.monotonic() - started,
    )


def _family(graph: ProjectGraph, model: str) -> ModelFamily:
    try:
        return family_of(graph, model)
    except UnknownName as error:
        message = f"the stored code has no model {model!r} that can be trained again"
        raise UsageError(message, tip=error.tip) from error


def _mill(job: RelearnJob, project: Path) -> Mill:
    """The mill of the stored code, with only the requested model and its old bundle's pre-trained models."""
    mill, model = load_mill(project), job.settled.model
    if model in mill.models:
        mill.models = {model: mill.models[model]}
    if job.before:
        take_from_bundle(mill, Path(job.before))
    return mill
