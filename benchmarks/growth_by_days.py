"""How a project grows with its days: the CPU seconds of a day's run and of `verify`, and the number of files.

    python benchmarks/growth_by_days.py [--days 10,100,400] [--customers 300]

A simulated shop runs day by day in one process. At each of the given days the mean of the last days' runs is printed,
the time of a `verify`, the files by folder, and the ratio of a day to the first line. A day costs what its rows and the
rows that they touch cost, so the ratio should stay near the growth of the touched rows.
"""

from __future__ import annotations

import argparse
import collections
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tidemill.cli.commands.init_command import write_project
from tidemill.core.clock import FixedClock
from tidemill.core.settings import load
from tidemill.loop.pipeline.run import run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import open_stores
from tidemill.sources import Shop

#: Days of which the mean is printed.
_MEAN = 8


def files_by_folder(state: Path) -> collections.Counter[str]:
    """Files below each of the first folders of a project's state, the lake's own by one folder more."""
    found: collections.Counter[str] = collections.Counter()
    for path in state.rglob("*"):
        if path.is_file():
            parts = path.relative_to(state).parts
            depth = 3 if parts[:2] == ("lake", "_tidemill") else 1
            found["/".join(parts[: min(depth, len(parts) - 1)]) or "."] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", default="10,100,400")
    parser.add_argument("--customers", type=int, default=300)
    asked = parser.parse_args()
    marks = [int(day) for day in asked.days.split(",")]
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        project = Path(folder) / "shop"
        write_project(project, "shop")
        (project / "tidemill.toml").write_text(
            '[laptop.sources]\nitems = "file:data/items*.jsonl.gz"\n'
            'reviews = "file:data/reviews*.csv.gz?columns=item_id,user_id,rating,reviewed_at:unix_s"\n'
        )
        shop = Shop(f"shop:?customers={asked.customers}&items=200&days={marks[-1] + 5}")
        clock = FixedClock(datetime(2100, 1, 1, tzinfo=UTC))
        mill = load_mill(project)
        stores = open_stores(project, load(project), clock, name=mill.name)
        graph = ProjectGraph(mill, stores.engine, project)
        costs: list[float] = []
        first = 0.0
        for number in range(1, marks[-1] + 1):
            day = shop.start + timedelta(days=number - 1)
            shop.write_reviews(project / "data", day)
            shop.write_items(project / "data", day)
            before = time.process_time()
            report = run(stores, graph, until=day)
            costs.append(time.process_time() - before)
            if number in marks:
                mean = sum(costs[-_MEAN:]) / _MEAN
                first = first or mean
                before = time.process_time()
                problems = stores.lake.verify()
                verify = time.process_time() - before
                files = files_by_folder(stores.state)
                rows = sum(stores.lake.view().rows(name) for name in stores.lake.view().versions)
                print(
                    f"day {number:5}: run {mean:6.3f} CPU s (ratio {mean / first:.2f}), verify {verify:6.2f} CPU s, "
                    f"{len(problems)} problems, {files.total():,} files, {rows:,} rows",
                    flush=True,
                )
                print("   ", ", ".join(f"{name} {n}" for name, n in files.most_common()), report.held or "", flush=True)


if __name__ == "__main__":
    main()
