"""AutoML from a file of rows: writes a project, ingests its rows, trains a model, promotes it if its card allows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.core.clock import Clock, last_full_day
from tidemill.core.errors import SourceUnknown
from tidemill.core.identity.account import local_account
from tidemill.core.progress import Progress, no_progress
from tidemill.core.settings import load
from tidemill.loop.auto.auto_project import AutoRequest, event_time, write_auto_project
from tidemill.loop.online.materialise_online import write_serving_metadata
from tidemill.loop.pipeline.increment_history import refused
from tidemill.loop.pipeline.run import RunReport, run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.release.card_review import review_card
from tidemill.loop.release.go_live import go_live
from tidemill.loop.training.train import TrainingResult, train
from tidemill.release import Promotion


@dataclass(frozen=True)
class AutoResult:
    """The result of `auto_from_file`: the opened project, its run, training and promotion."""

    stores: Stores
    graph: ProjectGraph
    report: RunReport
    learned: TrainingResult
    #: `None` if the release is not live; `doubts` are the reasons, one sentence each.
    promotion: Promotion | None
    doubts: tuple[str, ...] = ()


def auto_from_file(
    folder: Path,
    request: AutoRequest,
    *,
    clock: Clock,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress = no_progress,
) -> AutoResult:
    """Write the project into `folder`, ingest all rows, train within the requested minutes, and promote the release if
    its card says whom it helps and could harm, and it is better than its baseline.

    The same request for the same file again trains nothing. Raises `UsageError` if anything else
    is in the folder, and `SourceUnknown` if no row of the file was ingested. On an error the project stays, and the
    next call writes it again, unless its files were edited.
    """
    written = write_auto_project(folder, request)
    settings = load(folder, overrides=overrides)
    mill = load_mill(folder)
    stores = open_stores(folder, settings, clock, name=mill.name, account=local_account().doing("auto"))
    graph = ProjectGraph.of_project(mill, stores)
    time = event_time(request)
    newest = last_full_day(clock.now(), "UTC")
    until = min(time.last, newest) if time is not None and time.last is not None else newest
    report = run(stores, graph, until=until, backfill=True)
    progress("rows", {"merged": report.merged, "refused": report.refused})
    if written and not report.merged:
        raise SourceUnknown(
            f"none of the {request.file.n_rows:,} rows of {request.file.path} was ingested: {_why(stores, graph)}",
            tip="correct the file, or name the columns with --columns",
        )
    learned = train(stores, graph, request.name, progress=progress)
    doubts = review_card(learned.release.card)
    promotion = None if doubts else go_live(stores, graph, learned.release.name)
    write_serving_metadata(stores, graph)
    return AutoResult(stores, graph, report, learned, promotion, doubts)


def _why(stores: Stores, graph: ProjectGraph) -> str:
    """The most frequent reason for refused lines."""
    reasons = Counter(f"{line.column or 'the line'}: {line.reason}" for line in refused(stores, graph, "rows"))
    if not reasons:
        return "no day has any rows"
    first = reasons.most_common(1)[0][0]
    return first if len(reasons) == 1 else f"{first} (and {len(reasons) - 1:,} other reasons)"
