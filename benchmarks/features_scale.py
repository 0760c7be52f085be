"""Growth of the point-in-time join and of windowed features with their rows, on Polars and on local Spark.

    python benchmarks/features_scale.py [--rows 250000] [--times 1,4,16] [--engines polars,spark:local[2]]

As many examples as facts, ten facts an entity; a view of rows, and a view of counts, sums and means over 30 days at
every midnight of a year. Each case is a process of its own, which reads Parquet files and gives its result away in
batches: CPU seconds of all its processes, wall time, and the largest sum of their memory (proportional set sizes) at
any time. `start` is an engine that only counts rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.features import ViewSpec
from tidemill.features.engine_join import HistoryJoin, point_in_time_frame
from tidemill.features.feature_history import history_frame
from tidemill.lake.part_exchange import parts_of
from tidemill.loop.project.open_port import open_port

DAY = 86_400_000_000
BEGIN, YEAR = 17_500 * DAY, 365 * DAY
CASES = ("start", "join", "windows", "join of windows")
_TICKS_PER_S = 100


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", type=int, default=250_000)
    arguments.add_argument("--times", default="1,4,16")
    arguments.add_argument("--engines", default="polars,spark:local[1],spark:local[2]")
    arguments.add_argument("--cases", default=",".join(CASES))
    arguments.add_argument("--case", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.case:
        _run(*json.loads(given.case))
        return
    print(f"{'':34}{'CPU s':>8}{'wall s':>8}{'MB':>8}{'rows out':>12}")
    with tempfile.TemporaryDirectory() as folder:
        for times in map(int, given.times.split(",")):
            n = given.rows * times
            for name in ("facts", "examples"):
                _write(Path(folder, f"{name}.parquet"), n, name)
            for engine in given.engines.split(","):
                for case in given.cases.split(","):
                    cost = _measured([sys.executable, __file__, "--case", json.dumps([engine, case, folder])])
                    print(f"{engine:14}{case:16}{times:3}x ", end="")
                    print(f"{cost['cpu_s']:8.1f}{cost['wall_s']:8.1f}{cost['mb']:8.0f}{cost['rows']:12,}", flush=True)


def _write(file: Path, n: int, name: str) -> None:
    chance = np.random.default_rng(len(name))
    at = BEGIN + chance.integers(0, YEAR, n)
    users = np.array([f"u{number:025d}" for number in range(max(1, n // 10))])
    rows = pa.table(
        {
            "user": users[chance.integers(0, len(users), n)],
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "_known_at": pa.array(at + chance.integers(0, 2 * DAY, n), pa.timestamp("us", "UTC")),
            "_row": np.arange(n),
            "x": chance.random(n),
            "n": chance.integers(0, 100, n),
        }
    )
    pq.write_table(
        rows.rename_columns({"x": "y", "n": "m"}) if name == "examples" else rows, file, row_group_size=131_072
    )


def _run(engine_url: str, case: str, folder: str) -> None:
    """One case, in this process."""
    engine = open_port("engine", engine_url, Path(folder))
    files = {name: Path(folder, f"{name}.parquet") for name in ("facts", "examples")}
    schemas = {name: pq.read_schema(file) for name, file in files.items()}
    frames = {name: engine.scan([str(file)], schemas[name]) for name, file in files.items()}
    parts = parts_of(pq.read_metadata(files["facts"]).num_rows)
    if case == "start":
        print(engine.collect(frames["facts"].select(nw.len().alias("n")))["n"][0].as_py())
        return
    windowed = {"window_us": 30 * DAY, "every_us": DAY} if "windows" in case else {}
    spec = ViewSpec("v", "user", _totals if windowed else _same, ("facts",), {"facts": "at"}, **windowed)
    history = history_frame(spec, {"facts": frames["facts"]}, engine, start=None, end=BEGIN + 2 * YEAR, parts=parts)
    frame = history.frame
    if "join" in case:
        columns = {"n": "n", "mean": "mean"} if windowed else {"n": "n", "x": "x"}
        joins = [HistoryJoin(history, spec, "user", columns)]
        frame, _ = point_in_time_frame(
            engine, frames["examples"], schemas["examples"], time="at", joins=joins, parts=parts
        )
    print(sum(batch.num_rows for batch in engine.batches(frame)))


def _same(facts: Any) -> Any:
    return facts


def _totals(facts: Any) -> Any:
    return facts.group_by("user").agg(n=nw.len(), total=nw.col("x").sum(), mean=nw.col("x").mean())


def _measured(command: list[str]) -> dict[str, Any]:
    """The cost of a command and all processes below it."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    used: dict[int, int] = {}
    most = 0
    while process.poll() is None:
        memory = 0
        for one in _tree(process.pid):
            try:
                fields = Path(f"/proc/{one}/stat").read_text().rsplit(")", 1)[1].split()
                lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            except OSError:  # it has ended
                continue
            used[one] = int(fields[11]) + int(fields[12])
            memory += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
        most = max(most, memory)
        time.sleep(0.1)
    said, errors = process.communicate()
    if process.returncode:
        raise SystemExit(errors)
    rows = int(said.strip().splitlines()[-1])
    return {
        "cpu_s": sum(used.values()) / _TICKS_PER_S,
        "wall_s": time.perf_counter() - start,
        "mb": most / 1000,
        "rows": rows,
    }


def _tree(root: int) -> list[int]:
    found = [root]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text().split()]
            except OSError:
                continue
    return found


if __name__ == "__main__":
    main()
