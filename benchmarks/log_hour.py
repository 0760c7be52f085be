"""Hours of a loaded server in minutes: handles, memory, files, versions and log bytes after each quarter of an hour.

    python benchmarks/log_hour.py [--hours 4] [--per-second 5] [--longest-s 30]

One API worker answers recommendations and takes events and outcomes, and the log writer moves its records into the
lake, each in its own process, with a clock that the driver advances second by second: nothing sleeps. The last line has
the most of each in the second half, as a ratio to the first. `bytes/answer` are those beside the data: table logs and
manifests. Memory is the proportional set size (PSS). `--longest-s` is the longest time between commits under steady
traffic; a smaller one makes more commits of fewer records.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec

from tidemill.core.clock import FixedClock
from tidemill.core.identity.account import Account
from tidemill.core.lease import LOG
from tidemill.core.settings import load
from tidemill.feedback import LogWriter, SegmentLog, log_writer
from tidemill.loop.project.stores import STATE, open_stores
from tidemill.loop.serve import server_processes
from tidemill.serving.http.access import LoopbackAccess
from tidemill.serving.http.http_messages import HttpRequest
from tidemill.serving.process.worker_site import WorkerSite

TIDEMILL = str(Path(sys.executable).with_name("tidemill"))
START = datetime(2026, 3, 21, tzinfo=UTC)
STEP_S = 900
SETTINGS = """[laptop]
keys = "{keys}"
search = "exact"
[laptop.sources]
reviews = "shop:reviews?customers=150&items=60&days=90"
items = "shop:items?customers=150&items=60&days=90"
"""


def state_of_process() -> dict[str, float]:
    """Open files, megabytes (PSS) and CPU seconds of this process."""
    memory = Path("/proc/self/smaps_rollup").read_text()
    pss = next(int(line.split()[1]) for line in memory.splitlines() if line.startswith("Pss:"))
    return {"handles": len(os.listdir("/proc/self/fd")), "mb": pss / 1024, "cpu_s": time.process_time()}  # noqa: PTH208


def worker(project: Path, per_second: int, driver: Connection) -> None:
    """Answer `per_second` requests, one event and one outcome for each second that the driver names."""
    settings = load(project, environ={})
    clock = FixedClock(START)
    log = SegmentLog(project / STATE / "log", clock)
    stores = msgspec.structs.replace(server_processes._stores(settings), wall=clock, log=log)
    site = WorkerSite(stores, settings.serve, LoopbackAccess([8400]), place=0)
    site.start()
    site.poll()

    async def post(path: str, body: object) -> bytes:
        headers = {"host": "127.0.0.1:8400", "content-type": "application/json"}
        answer = site.server.application(
            HttpRequest(
                "POST", path, headers=headers, body=msgspec.json.encode(body), started_ns=time.perf_counter_ns()
            )
        )
        found = await answer if inspect.iscoroutine(answer) else answer
        assert found.status in (200, 202), found
        return found.body

    async def serve() -> None:
        n = 0
        while (second := driver.recv()) is not None:
            clock.set(START + timedelta(seconds=second))
            for _ in range(per_second):
                n += 1
                shown = msgspec.json.decode(await post("/v1/recommend/for_you", {"user": f"c{n % 4000}", "n": 10}))
            item = shown["items"][0]["item"]
            await post("/v1/outcomes", {"prediction_id": shown["prediction_id"], "item": item, "what": "click"})
            event = {"user_id": f"c{n % 4000}", "item_id": item, "rating": 4, "reviewed_at": clock.now().isoformat()}
            await post("/v1/events/reviews", event)
            if second % 10 == 0:
                site.poll()
            driver.send(state_of_process() if second % STEP_S == 0 else None)

    asyncio.run(serve())
    site.close()
    log.close()


def writer(project: Path, longest_s: float, driver: Connection) -> None:
    """Write the log whenever it is due at the seconds that the driver names."""
    log_writer.LONGEST_S = longest_s
    settings = load(project, environ={})
    clock = FixedClock(START)
    stores = open_stores(project, settings, clock, account=Account(name="server", kind="process"))
    commits = 0
    with stores.leases.take(LOG) as lease:
        moving = LogWriter(project / STATE / "log", stores.lake, lease)
        while (second := driver.recv()) is not None:
            clock.set(START + timedelta(seconds=second))
            commits += moving.write_if_due(second) is not None
            driver.send(state_of_process() | {"commits": commits} if second % STEP_S == 0 else None)


def sizes(project: Path) -> dict[str, float]:
    """Files, versions, and megabytes of data files, table logs and manifests, of the two tables of the log."""
    lake = project / STATE / "lake"
    of = {"files": 0.0, "versions": 0.0, "data": 0.0, "log": 0.0}
    for table in ("predictions", "outcomes"):
        for path in [*(lake / table).rglob("*"), *(lake / "_tidemill" / "manifests" / table).rglob("*")]:
            if path.is_file():
                of["files"] += 1
                of["versions"] += path.suffix == ".json" and path.parent.name == "_delta_log"
                of["data" if path.suffix == ".parquet" and path.parent.name == table else "log"] += (
                    path.stat().st_size / 1e6
                )
    return of


def begin(place: Path) -> Path:
    """A new project with one champion."""
    project = place / "corner"
    subprocess.run([TIDEMILL, "init", "corner"], cwd=place, check=True, capture_output=True)
    (project / "tidemill.toml").write_text(SETTINGS.format(keys=place / "keys"))
    for words in ("run --backfill --until 2026-03-20", "train for_you", "promote for_you@1"):
        subprocess.run([TIDEMILL, *words.split()], cwd=project, check=True, capture_output=True)
    served = project / STATE / "serving" / "for_you"
    shutil.copy(served / "live.json", served / "serving.json")  # as the supervisor does
    return project


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=4.0)
    parser.add_argument("--per-second", type=int, default=5)
    parser.add_argument("--project", type=Path, help="a project with a champion `for_you`, instead of a new one")
    parser.add_argument("--longest-s", type=float, default=log_writer.LONGEST_S)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-log-hour-") as place:
        project = asked.project or begin(Path(place))
        context = multiprocessing.get_context("spawn")
        pipes = [context.Pipe() for _ in range(2)]
        context.Process(target=worker, args=(project, asked.per_second, pipes[0][1]), daemon=True).start()
        context.Process(target=writer, args=(project, asked.longest_s, pipes[1][1]), daemon=True).start()
        print(
            "   min  worker: handles  MB   writer: handles  MB  commits  CPU s   files versions  data MB  bytes/answer"
        )
        steps = []
        names = ("worker handles", "worker MB", "writer handles", "writer MB", "files", "versions", "bytes/answer")
        for second in range(1, int(asked.hours * 3600) + 1):
            found = []
            for pipe, _ in pipes:
                pipe.send(second)
                found.append(pipe.recv())
            if second % STEP_S == 0:
                server, moved, kept = *found, sizes(project)
                beside = kept["log"] * 1e6 / (second * asked.per_second)
                used = (server["handles"], server["mb"], moved["handles"], moved["mb"])
                steps.append((*used, kept["files"], kept["versions"], beside))
                print(
                    f"{second // 60:6} {server['handles']:16.0f} {server['mb']:4.0f} {moved['handles']:17.0f} "
                    f"{moved['mb']:4.0f} {moved['commits']:8.0f} {moved['cpu_s']:6.1f} {kept['files']:7.0f} "
                    f"{kept['versions']:8.0f} {kept['data']:8.2f} {beside:13.1f}",
                    flush=True,
                )
        for pipe, _ in pipes:
            pipe.send(None)
        if len(steps) > 3:
            half = len(steps) // 2
            most = [[max(values) for values in zip(*part, strict=True)] for part in (steps[:half], steps[half:])]
            grown = [f"{name} {later / before:.2f}" for name, before, later in zip(names, *most, strict=True)]
            print(f"most in the second half, to the first: {', '.join(grown)}")


if __name__ == "__main__":
    main()
