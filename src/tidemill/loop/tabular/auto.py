"""From a file of rows to a champion: the project is written, its rows come in, a model is learned and promoted."""

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
from tidemill.core.release import Release
from tidemill.core.settings import load
from tidemill.loop.graph import Graph
from tidemill.loop.house import House, open_house
from tidemill.loop.learn import Learned
from tidemill.loop.project import load_mill
from tidemill.loop.refresh import tell_server
from tidemill.loop.run import RunReport, Teller, run, silent
from tidemill.loop.tabular.auto_project import AutoAsked, event_time, write_auto_project
from tidemill.loop.train import train
from tidemill.loop.verdicts import refused
from tidemill.training import Effort


@dataclass(frozen=True)
class AutoMade:
    """What came of a file."""

    house: House
    graph: Graph
    report: RunReport
    learned: Learned
    release: Release


def from_file(
    folder: Path,
    asked: AutoAsked,
    *,
    clock: Clock,
    overrides: Mapping[str, Any] | None = None,
    actor: str = "local",
    tell: Teller = silent,
) -> AutoMade:
    """Write the project into the empty `folder`, bring all rows in, learn within the minutes asked for, and promote.

    Raises `UsageError` where something is in the folder, and `SourceUnknown` where no row of the file came in; of a
    file that gives no model the folder does not stay, so that the mended file can be tried under the same name.
    """
    there = folder.exists()
    write_auto_project(folder, asked)
    try:
        return _made(folder, asked, clock, overrides, actor, tell)
    except TidemillError:
        shutil.rmtree(folder, ignore_errors=True)
        if there:
            folder.mkdir()
        raise


def _made(
    folder: Path, asked: AutoAsked, clock: Clock, overrides: Mapping[str, Any] | None, actor: str, tell: Teller
) -> AutoMade:
    settings = load(folder, overrides=overrides)
    mill = load_mill(folder)
    house = open_house(folder, settings, clock, name=mill.name, actor=actor)
    graph = Graph(mill, house.engine, folder)
    time = event_time(asked)
    newest = last_full_day(clock.now(), "UTC")
    until = min(time.last, newest) if time is not None and time.last is not None else newest
    report = run(house, graph, until=until, backfill=True)
    tell("rows", {"merged": report.merged, "refused": report.refused})
    if not report.merged:
        raise SourceUnknown(
            f"none of the {asked.file.n_rows:,} rows of {asked.file.path} came in: {_why(house, graph)}",
            tip="mend the file, or name the columns with --columns",
        )
    learned = train(house, graph, asked.name, effort=Effort(minutes=asked.minutes), tell=tell)
    with wait_for_lease(house.leases, live_lease(asked.name)) as lease:
        release = house.releases.promote(learned.release.name, lease=lease)
    tell_server(house, graph)
    return AutoMade(house, graph, report, learned, release)


def _why(house: House, graph: Graph) -> str:
    """The commonest reason for which lines were refused."""
    reasons = Counter(f"{line.column or 'the line'}: {line.reason}" for line in refused(house, graph, "rows"))
    return f"{len(reasons):,} reasons, first of all {reasons.most_common(1)[0][0]}" if reasons else "no day has any"
