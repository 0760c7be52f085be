"""What a long history costs: a run, `status` and `verify` of a mill that got one small file a day for years.

    python benchmarks/history.py [DAYS,DAYS,…]

The days between the measured ones are brought in by runs in this process, 50 days each. A figure that grows faster than
the days shows in the last column of its row.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from tidemill.core.clock import SystemClock
from tidemill.core.settings import load
from tidemill.loop.pipeline.run import run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import open_stores

TIDEMILL = str(Path(sys.executable).parent / "tidemill")
FIRST = date(2015, 1, 1)
#: Days that one run in this process brings in.
STRIDE = 50
BUDGET_CPU_S = 1.0

MILL = """
from datetime import datetime

import narwhals as nw
import tidemill as tm

mill = tm.Mill("history")


class Review(tm.Event):
    user_id: str = tm.subject()
    item_id: str = tm.item()
    rating: float = tm.field(ge=1, le=5)
    reviewed_at: datetime = tm.event_time(zone="UTC")


mill.stream("reviews", Review, key=("user_id", "item_id", "reviewed_at"))


@mill.table(by=["item_id"])
def per_item(reviews):
    return reviews.group_by("item_id").agg(nw.col("rating").mean().alias("mean"))
"""


def cpu_of(*command: str, at: Path) -> float:
    """CPU seconds of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, cwd=at, check=True, capture_output=True, env={**environment, "HOME": str(at)})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_day(project: Path, day: int) -> None:
    """Twelve reviews of a day, in a file of its own."""
    noon = int(datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), UTC).timestamp()) + 43_200
    rows = (f"i{(n * 5 + day) % 40},u{(n * 7 + day) % 300},{1 + n % 5}.0,{noon + n}\n" for n in range(12))
    (project / "data" / f"reviews-{day:05d}.csv").write_text("".join(rows))


def bring_in(project: Path, until: int) -> None:
    """Everything up to a day, by runs in this process."""
    mill = load_mill(project)
    stores = open_stores(project, load(project, environ={"HOME": str(project)}), SystemClock(), name=mill.name)
    run(stores, ProjectGraph(mill, stores.engine, project), until=FIRST + timedelta(days=until))


def bytes_below(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def measured(project: Path, day: int) -> dict[str, float]:
    """The figures after `day` days; brings in one day more."""
    until = str(FIRST + timedelta(days=day - 1))
    state = project / ".tidemill"
    figures = {"nothing to do, CPU s": min(cpu_of(TIDEMILL, "run", "--until", until, at=project) for _ in range(6))}
    write_day(project, day)
    figures["a day, CPU s"] = cpu_of(TIDEMILL, "run", "--until", str(FIRST + timedelta(days=day)), at=project)
    figures["status, CPU s"] = cpu_of(TIDEMILL, "status", at=project)
    figures["verify, CPU s"] = cpu_of(TIDEMILL, "verify", at=project)
    figures["ledger, kB"] = sum(file.stat().st_size for file in state.glob("ledger.sqlite*")) / 1000
    figures["source states, kB"] = bytes_below(state / "lake" / "_tidemill" / "source_states") / 1000
    figures["manifests, kB"] = bytes_below(state / "lake" / "_tidemill" / "manifests") / 1000
    figures["table logs, kB"] = sum(bytes_below(log) for log in (state / "lake").glob("*/_delta_log")) / 1000
    return figures


def show(days: Sequence[int], rows: Sequence[dict[str, float]]) -> None:
    """One line a figure; growth is the power of the days with which it rose between the last two columns."""
    from math import log

    print(f"{'after days':<24}" + "".join(f"{day:>10}" for day in days) + f"{'power':>8}")
    for name in rows[0]:
        values = [row[name] for row in rows]
        power = log(values[-1] / values[-2]) / log(days[-1] / days[-2]) if len(days) > 1 and values[-2] else 0.0
        print(f"{name:<24}" + "".join(f"{value:10.2f}" for value in values) + f"{power:8.2f}")
    idle = rows[-1]["nothing to do, CPU s"]
    print(f"a run with nothing to do: budget {BUDGET_CPU_S:g} CPU s, ratio {idle / BUDGET_CPU_S:.2f}")


def main(days: Sequence[int]) -> None:
    place = Path(tempfile.mkdtemp(prefix="tidemill-bench-"))
    project = place / "history"
    (project / "data").mkdir(parents=True)
    (project / "mill.py").write_text(MILL)
    (project / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{place / "keys"}"\n[laptop.sources]\n'
        'reviews = "file:data?columns=item_id,user_id,rating,reviewed_at:unix_s"\n'
    )
    written, rows = 0, []
    try:
        for day in days:
            while written < day:
                for each in range(written, min(written + STRIDE, day)):
                    write_day(project, each)
                written = min(written + STRIDE, day)
                bring_in(project, written - 1)
            rows.append(measured(project, day))
            written += 1
            print(f"day {day}: {rows[-1]}", flush=True)
        show(days, rows)
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main([int(day) for day in sys.argv[1].split(",")] if len(sys.argv) > 1 else [10, 100, 400, 2000])
