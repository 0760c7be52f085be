"""What the loop costs: starting up, a run with nothing to do, a day among many, and a new day to a live release.

    python benchmarks/loop.py [DAYS]

Each figure is printed with its budget. The data are a simulated shop, so that the run can be repeated.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from tidemill.cli.commands.init_command import write_project
from tidemill.core.clock import SystemClock
from tidemill.core.settings import load
from tidemill.loop.pipeline.run import run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import open_stores
from tidemill.sources import Shop

TIDEMILL = str(Path(sys.executable).parent / "tidemill")


def cpu_of(*command: str, at: Path) -> float:
    """CPU seconds of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=at, check=True, capture_output=True, env={**os.environ, "HOME": str(at)})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def say(what: str, figure: float, budget: float, unit: str) -> None:
    print(f"{what:<58} {figure:8.2f} {unit:<6} budget {budget:g}: ratio {figure / budget:.2f}")


def main(days: int) -> None:
    place = Path(tempfile.mkdtemp(prefix="tidemill-bench-"))
    try:
        say("import tidemill", cpu_of(sys.executable, "-c", "import tidemill", at=place), 0.3, "CPU s")
        say("tidemill --help", cpu_of(TIDEMILL, "--help", at=place), 0.3, "CPU s")
        project = place / "shop"
        write_project(project, "shop")
        (project / "tidemill.toml").write_text(
            '[laptop.sources]\nitems = "file:data/items*.jsonl.gz"\n'
            'reviews = "file:data/reviews*.csv.gz?columns=item_id,user_id,rating,reviewed_at:unix_s"\n'
        )
        shop = Shop(f"shop:?customers=3000&items=800&days={days + 5}")
        last = shop.start + timedelta(days=days - 1)
        for day in range(days + 1):
            shop.write_reviews(project / "data", shop.start + timedelta(days=day))
            shop.write_items(project / "data", shop.start + timedelta(days=day))
        os.environ["HOME"] = str(project)
        mill = load_mill(project)
        stores = open_stores(project, load(project), SystemClock(), name=mill.name)
        report = run(stores, ProjectGraph(mill, stores.engine, project), until=last)
        ours = [cost for cost in report.costs if cost[1] == "reviews"]
        early, late = ours[min(9, len(ours) - 1)], ours[-1]
        for name, cost in (("day 10", early), (f"day {len(ours)}", late)):
            print(f"{name:<58} {cost[4] / 1e6:8.3f} CPU s  {cost[2]} rows in, {cost[3]:,} rows read")
        print(f"{f'day {len(ours)} over day 10':<58} {late[4] / early[4]:8.2f} times the CPU")
        del stores
        again = cpu_of(TIDEMILL, "run", "--until", str(last), at=project)
        say("a run with nothing to do", again, 1.0, "CPU s")
        cpu_of(TIDEMILL, "train", "for_you", at=project)
        cpu_of(TIDEMILL, "promote", "for_you@1", at=project)
        started = time.perf_counter()
        day = last + timedelta(days=1)
        for words in (["run", "--until", str(day)], ["train", "for_you"], ["promote", "for_you@2"]):
            cpu_of(TIDEMILL, *words, at=project)
        say("a new day to a promoted release", time.perf_counter() - started, 60, "s")
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
