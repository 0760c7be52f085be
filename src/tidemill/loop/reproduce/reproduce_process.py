"""Reproduction process: trains or evaluates again from stored code and read-only files of the lake.

It opens no ledger, no key and no vault, so it cannot change the project. The job is a line of JSON on stdin, the result
is written to a file; when stdin ends before that, the parent is gone and the process exits.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import msgspec

from tidemill.core.errors import TidemillError
from tidemill.core.records.quality import Metric
from tidemill.governance.reproduction import AnswerComparison
from tidemill.lake import LakeSnapshot
from tidemill.lake.manifest import Manifests
from tidemill.lake.publications import PublishedVersion
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.mill import Mill
from tidemill.loop.project.open_port import open_port
from tidemill.loop.project.pretrained_folders import take_from_bundle
from tidemill.loop.project.project import load_mill
from tidemill.loop.provenance.environment_lock import EnvironmentLock, environment_lock
from tidemill.loop.reproduce.compare_bundles import compare_bundles
from tidemill.loop.reproduce.relearn import RecordedSettings, RelearnOutcome, measure_again, relearn
from tidemill.release import seal_bundle


class RelearnJob(msgspec.Struct, frozen=True, kw_only=True):
    """What to learn again, from what, and where to leave it."""

    settled: RecordedSettings
    #: The folder of the kept code, laid out as a project.
    project: str
    #: The publication as the ledger has it.
    known: PublishedVersion
    #: The project's own folder, and its settings `lake` and `engine`; a lake may be relative to that folder.
    home: str
    lake: str
    engine: str
    #: The file for the answer, and the empty folder for the bundle; without one it is only measured.
    answer: str
    folder: str = ""
    #: The name of the bundle that was made then, and its folder, empty where it is gone.
    recorded: str = ""
    before: str = ""


class RelearnResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    #: sha256 of the bundle's manifest.
    bundle: str = ""
    relearned: RelearnOutcome | None = None
    #: The figures of a test by the settled settings, where it was only measured.
    metrics: dict[str, Metric] = {}
    #: How the answers of the two bundles differ, where they are not the same.
    compared: AnswerComparison | None = None
    environment: EnvironmentLock | None = None
    seconds: float = 0.0
    #: Why it did not work; empty where it did.
    problem: str = ""


def do(asked: RelearnJob) -> RelearnResult:
    """Learn it and seal the folder, or measure it."""
    started = time.monotonic()
    project = Path(asked.project)
    home = Path(asked.home)
    engine = open_port("engine", asked.engine, home)
    graph = ProjectGraph(_mill(asked, project), engine, project)
    tables, objects = (open_port(port, asked.lake, home) for port in ("tables", "objects"))
    view = LakeSnapshot(asked.known, tables, engine, Manifests(objects, tables))
    if not asked.folder:
        return RelearnResult(metrics=measure_again(graph, asked.settled, view), seconds=time.monotonic() - started)
    folder = Path(asked.folder)
    indexed = asked.settled.model in graph.mill.recommenders  # a tabular model has no index
    search = open_port("search", asked.settled.search if indexed else "exact", home)
    relearned = relearn(graph, asked.settled, view, folder, search)
    bundle = seal_bundle(folder)
    compared = None
    if asked.before and bundle != asked.recorded:
        compared = compare_bundles(graph, asked.settled.model, view, Path(asked.before), folder, search)
    return RelearnResult(
        bundle=bundle,
        relearned=relearned,
        compared=compared,
        environment=environment_lock(project),
        seconds=time.monotonic() - started,
    )


def _mill(asked: RelearnJob, project: Path) -> Mill:
    """The kept code's; of tabular models the one that is asked for, with the pre-trained models of its old bundle."""
    mill, model = load_mill(project), asked.settled.model
    if model in mill.models:
        mill.models = {model: mill.models[model]}
    if asked.before:
        take_from_bundle(mill, Path(asked.before))
    return mill


def main() -> None:
    """Do what stdin asks, and leave the answer in the file that it names."""
    asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=RelearnJob)
    threading.Thread(target=_leave_with_asker, daemon=True).start()
    try:
        told = do(asked)
    except TidemillError as error:
        told = RelearnResult(problem=error.message)
    except Exception as error:  # of one that the house does not know only its kind: what it says may quote data
        told = RelearnResult(problem=f"{type(error).__name__} was raised")
    Path(asked.answer).write_bytes(msgspec.json.encode(told))
    os._exit(0)  # engines' threads have nothing left to do


def _leave_with_asker() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
