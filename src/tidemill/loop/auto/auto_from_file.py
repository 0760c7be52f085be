"""AutoML from a file of rows: writes a project, ingests its rows, trains a model and promotes it."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.core.clock import Clock, last_full_day
from tidemill.core.errors import SourceUnknown, TidemillError
from tidemill.core.lease import live_lease, wait_for_lease
from tidemill.core.progress import Progress, no_progress
from tidemill.core.records.release import Release
from tidemill.core.settings import load
from tidemill.loop.auto.auto_project import AutoRequest, event_time, write_auto_project
from tidemill.loop.online.materialise_online import write_serving_metadata
from tidemill.loop.pipeline.increment_history import refused
from tidemill.loop.pipeline.run import RunReport, run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.training.train import train
from tidemill.loop.training.train_recommender import TrainingResult
from tidemill.training import SearchBudget


@dataclass(frozen=True)
class AutoResult:
    """What came of a file."""

    stores: Stores
    graph: ProjectGraph
    report: RunReport
    learned: TrainingResult
    release: Release


def auto_from_file(
    folder: Path,
    asked: AutoRequest,
    *,
    clock: Clock,
    overrides: Mapping[str, Any] | None = None,
    actor: str = "local",
    progress: Progress = no_progress,
) -> AutoResult:
    """Write the project into the empty `folder`, bring all rows in, learn within the minutes asked for, and promote.

    Raises `UsageError` where something is in the folder, and `SourceUnknown` where no row of the file came in; of a
    file that gives no model the folder does not stay, so that the mended file can be tried under the same name.
    """
    there = folder.exists()
    write_auto_project(folder, asked)
    try:
        return _made(folder, asked, clock, overrides, actor, progress)
    except TidemillError:
        shutil.rmtree(folder, ignore_errors=True)
        if there:
            folder.mkdir()
        raise


def _made(
    folder: Path, asked: AutoRequest, clock: Clock, overrides: Mapping[str, Any] | None, actor: str, progress: Progress
) -> AutoResult:
    settings = load(folder, overrides=overrides)
    mill = load_mill(folder)
    stores = open_stores(folder, settings, clock, name=mill.name, actor=actor)
    graph = ProjectGraph(mill, stores.engine, folder)
    time = event_time(asked)
    newest = last_full_day(clock.now(), "UTC")
    until = min(time.last, newest) if time is not None and time.last is not None else newest
    report = run(stores, graph, until=until, backfill=True)
    progress("rows", {"merged": report.merged, "refused": report.refused})
    if not report.merged:
        raise SourceUnknown(
            f"none of the {asked.file.n_rows:,} rows of {asked.file.path} came in: {_why(stores, graph)}",
            tip="mend the file, or name the columns with --columns",
        )
    learned = train(stores, graph, asked.name, effort=SearchBudget(minutes=asked.minutes), progress=progress)
    with wait_for_lease(stores.leases, live_lease(asked.name)) as lease:
        release = stores.releases.promote(learned.release.name, lease=lease)
    write_serving_metadata(stores, graph)
    return AutoResult(stores, graph, report, learned, release)


def _why(stores: Stores, graph: ProjectGraph) -> str:
    """The commonest reason for which lines were refused."""
    reasons = Counter(f"{line.column or 'the line'}: {line.reason}" for line in refused(stores, graph, "rows"))
    return f"{len(reasons):,} reasons, first of all {reasons.most_common(1)[0][0]}" if reasons else "no day has any"
