"""A large history on a Spark cluster, with a driver of one gigabyte: generated reviews, as gzipped JSON lines.

    python benchmarks/cluster.py [--rows 20000000] [--files 40] [--days 5] [--limit-mb 1024] [--engine spark|polars]

A standalone master and two workers of one core each run on this machine. `tidemill run --backfill`, one run a day and
`tidemill train` each run in a control group whose memory is limited (cgroup v1 or v2, as root); without one, memory is
only measured. The memory printed is the peak of the resident memory of Python and its JVM together, sampled. CPU
seconds are those of the driver and of all processes of Spark. Afterwards it looks for raw identifiers in every byte
that Spark and the project have left.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from isal import igzip

FIRST = date(2018, 1, 1)
#: Days of the history.
HISTORY = 600
MILL = """
from datetime import datetime
import tidemill as tm

mill = tm.Mill("cluster")


class Review(tm.Event):
    user_id: str = tm.subject()
    item_id: str = tm.item()
    rating: float = tm.field(ge=1, le=5)
    reviewed_at: datetime = tm.event_time(zone="UTC")
    text: str | None


reviews = mill.stream("reviews", Review, key=("user_id", "item_id", "reviewed_at"))
mill.check(reviews, tm.between("rating", 1, 5, share=0.95))


@mill.table(by=["user_id", "item_id"])
def ratings(reviews):
    return reviews.drop("text").unique(["user_id", "item_id"], keep="last", order_by=["reviewed_at", "_row"])


mill.recommender(
    "for_you",
    interactions=ratings,
    learn=tm.cooccurrence(),
    sample=0.01,
    slate=tm.slate(retrieve=[tm.nearest(50)]),
    helps="Nobody.",
    could_harm="Nobody.",
)
"""
_TICK = os.sysconf("SC_CLK_TCK")


def write_reviews(file: Path, seed: int, rows: int, first: int, days: int, n_users: int) -> int:
    """Reviews of some days, 1% of them twice; returns the bytes of their text."""
    rng = np.random.default_rng(seed)
    words = np.array([f"w{number:x}" for number in rng.integers(0, 2**24, 4_000)])
    texts = np.array([" ".join(rng.choice(words, 25)) for _ in range(2_000)])
    day = np.sort(rng.integers(first, first + days, rows))
    frame = pl.DataFrame(
        {
            "reviewerID": [f"A{user:013X}" for user in rng.integers(0, n_users, rows)],
            "asin": [f"B{item:09d}" for item in (rng.pareto(1.2, rows) * 50).astype(int) % 60_000],
            "overall": rng.integers(1, 6, rows).astype(float),
            "unixReviewTime": seconds(FIRST) + day * 86_400 + rng.integers(0, 86_400, rows),
            "reviewText": texts[rng.integers(0, len(texts), rows)],
        }
    )
    text = pl.concat([frame, frame.head(rows // 100)]).write_ndjson().encode()
    with igzip.open(file, "wb", compresslevel=1) as sink:
        sink.write(text)
    return len(text)


def seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


@contextmanager
def cluster(folder: Path) -> Iterator[str]:
    """The URL of a standalone master with two workers of one core."""
    import pyspark

    home = Path(pyspark.__file__).parent
    env = os.environ | {"SPARK_HOME": str(home), "SPARK_SCALA_VERSION": "2.13", "SPARK_LOCAL_IP": "127.0.0.1"}
    env |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_DIRS": str(folder / "spark_local")}
    (folder / "spark_local").mkdir()
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    url = f"spark://127.0.0.1:{port}"
    kinds = [("master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")]
    for number in range(2):
        work = str(folder / f"work{number}")
        where = ("--host", "127.0.0.1", "--cores", "1", "--memory", "2g", "--webui-port", "0", "--work-dir", work)
        kinds.append(("worker.Worker", *where, url))
    with ExitStack() as stack:
        for name, *words in kinds:
            log = stack.enter_context((folder / f"{name}.log").open("ab"))
            command = [str(home / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *words]
            server = subprocess.Popen(command, stdout=log, stderr=log, env=env, start_new_session=True)
            stack.callback(server.wait, 30)
            stack.callback(os.killpg, server.pid, 15)
            time.sleep(4)
        yield url


@contextmanager
def control_group(limit: int) -> Iterator[Path | None]:
    """The file that puts a process into a control group of limited memory; `None` where that is not possible."""
    for root, name in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = root / f"tidemill-{os.getpid()}"
        try:
            group.mkdir()
            (group / name).write_text(str(limit))
        except OSError:
            continue
        yield group / "cgroup.procs"
        group.rmdir()
        return
    yield None


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for child in Path(f"/proc/{pid}/task").glob("*/children"):
        for one in child.read_text().split():
            found += tree(int(one))
    return found


def spark_cpu() -> float:
    """CPU seconds of all processes of this machine that belong to Spark or are Python workers of it, so far."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if b"org.apache.spark" in command or b"pyspark" in command:
            total += sum(map(int, words[11:15])) / _TICK
    return total


def run(words: list[str], folder: Path, group: Path | None) -> tuple[float, float, float, float]:
    """Run a command: wall seconds, CPU seconds of the driver and of Spark, and the driver's peak memory in MB."""

    def enter() -> None:
        if group is not None:
            group.write_text(str(os.getpid()))

    started, before, peak = time.monotonic(), spark_cpu(), 0
    command = [str(Path(sys.executable).with_name("tidemill")), *words]
    env = os.environ | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    process = subprocess.Popen(command, cwd=folder, env=env, preexec_fn=enter, stdin=subprocess.DEVNULL)
    done, cpu = threading.Event(), [0.0]

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.1):
            try:
                statuses = [Path(f"/proc/{pid}/statm").read_text().split() for pid in tree(process.pid)]
            except OSError:
                continue
            peak = max(peak, sum(int(words[1]) - int(words[2]) for words in statuses) * 4096)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    cpu[0] = usage.ru_utime + usage.ru_stime
    done.set()
    watcher.join()
    if status:
        raise SystemExit(f"`tidemill {' '.join(words)}` failed with status {os.waitstatus_to_exitcode(status)}")
    return time.monotonic() - started, cpu[0], spark_cpu() - before, peak / 2**20


def raw_identifiers(folder: Path, n_users: int) -> list[Path]:
    """The files with a raw identifier of one of a thousand people, in plain bytes."""
    wanted = [f"A{user:013X}".encode() for user in range(0, n_users, max(1, n_users // 1_000))]
    found = []
    for file in folder.rglob("*"):
        if file.is_file() and file.parent.name != "data":
            content = file.read_bytes()
            if b"A00000" in content and any(one in content for one in wanted):
                found.append(file)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--days", type=int, default=5)
    parser.add_argument("--limit-mb", type=int, default=1_024)
    parser.add_argument("--engine", choices=["spark", "polars"], default="spark")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as stack:
        folder = Path(temporary)
        data, project, n_users = folder / "project" / "data", folder / "project", asked.rows // 10
        data.mkdir(parents=True)
        a_file, size = asked.rows // asked.files, 0
        for number in range(asked.files):
            first, days = number * HISTORY // asked.files, max(1, HISTORY // asked.files)
            size += write_reviews(data / f"reviews-{number:03d}.json.gz", number, a_file, first, days, n_users)
        print(f"{asked.rows:,} reviews in {asked.files} files, {size / 1e9:.1f} GB of text", flush=True)
        engine = "polars"
        if asked.engine == "spark":
            options = "spark.driver.memory=480m&spark.executor.memory=1g&spark.sql.shuffle.partitions=16"
            engine = f"{stack.enter_context(cluster(folder))}?{options}&spark.checkpoint.dir={folder}/checkpoints"
        (project / "mill.py").write_text(MILL)
        (project / "tidemill.toml").write_text(
            f'[laptop]\nengine = "{engine}"\nkeys = "{folder}/keys"\n[laptop.sources]\nreviews = "file:data/reviews*"\n'
        )
        group = stack.enter_context(control_group(asked.limit_mb << 20))
        print(f"driver limited to {asked.limit_mb} MB by a control group" if group else "no control group: no limit")
        print(f"{'':24} {'wall s':>8} {'driver CPU s':>13} {'Spark CPU s':>12} {'driver peak MB':>15}")
        last = FIRST + timedelta(days=HISTORY)
        steps = [("backfill", ["run", "--backfill", "--until", f"{last}"])]
        days = [(f"day {number}", f"{last + timedelta(days=number)}") for number in range(1, asked.days + 1)]
        steps += [(name, ["run", "--until", day]) for name, day in days]
        steps.append(("train", ["train", "for_you"]))
        for name, words in steps:
            if name.startswith("day"):
                number = int(name.split()[1])
                write_reviews(data / f"reviews-day{number}.json.gz", 900 + number, 5_000, HISTORY + number, 1, n_users)
            wall, own, spark, peak = run(words, project, group)
            print(f"{name:24} {wall:8.1f} {own:13.1f} {spark:12.1f} {peak:15.0f}", flush=True)
        leaks = raw_identifiers(folder, n_users)
        print(f"files with a raw identifier besides the source: {len(leaks)} {leaks[:3]}")


if __name__ == "__main__":
    main()
