"""The point-in-time join compared with plain as-of joins and Feast on the same rows, and the cost of views, in one run.

    python benchmarks/point_in_time.py [--scale 1.0] [--no-feast]

1,000,000 labels and three views of 2,000,000 rows each, with late rows, corrections, ties, and a ttl in one view. Ours
joins by known time, and gives rows back in their order; the peers' plain as-of joins go by event time, which lets 2% of
values be seen before they were known. CPU seconds of the join alone, rows in memory, the best of three (Feast: of one,
from files). Each way runs in a process of its own. DuckDB and Feast are installed into a venv below ~/.cache.

Budgets: at most 1.2 times the best plain as-of join, at most half of Feast, rows conserved.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.backends.lmdb.lmdb_latest import LmdbLatest
from tidemill.backends.polars import PolarsEngine
from tidemill.features import (
    PointInTimeJoin,
    ViewSpec,
    point_in_time,
    view_at,
    view_history,
)
from tidemill.features.window_evaluation import each_boundary

PEER = Path(__file__).resolve().parent / "peers" / "point_in_time_peer.py"
CACHE = Path.home() / ".cache" / "tidemill-benchmarks" / "point_in_time"
VIEWS = ("one", "two", "three")
DAY = 86_400_000_000
BEGIN, YEAR = 17_500 * DAY, 365 * DAY
LABELS, ROWS, USERS = 1_000_000, 2_000_000, 200_000


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--scale", type=float, default=1.0, help="share of the full size")
    arguments.add_argument("--no-feast", action="store_true", help="leave Feast out")
    arguments.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.ours:
        _ours(given.ours)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write(root, given.scale)
        _joins(root, feast=not given.no_feast)
        _online(root)
    _windows(given.scale)


def _write(root: Path, scale: float) -> None:
    """Labels and views as files, the same for everybody."""
    chance = np.random.default_rng(1)
    users = np.array([f"u{number:012d}" for number in chance.permutation(max(10, int(USERS * scale)))])
    n = int(LABELS * scale)
    at = BEGIN + chance.integers(0, YEAR, n)
    labels = {
        "user": chance.choice(users, n),
        "at": at,
        "event": pa.array(at, pa.timestamp("us", "UTC")),
        "id": np.arange(n),
    }
    pq.write_table(pa.table(labels), root / "labels.parquet")
    for name in VIEWS:
        pq.write_table(_facts(chance, users, int(ROWS * scale)), root / f"{name}.parquet")


def _facts(chance: np.random.Generator, users: np.ndarray, n: int) -> pa.Table:
    """One in ten is known up to ten days late, one in twenty is corrected later, one in twenty is tied with another."""
    user = chance.integers(0, len(users), n)
    at = BEGIN + chance.integers(0, YEAR // 1_000_000, n) * 1_000_000
    known = at + np.where(chance.random(n) < 0.1, chance.integers(0, 10 * DAY, n), 0)
    some = n // 20
    user[:some], at[:some] = user[some : 2 * some], at[some : 2 * some]
    known[:some] = at[:some] + chance.integers(0, 30 * DAY, some)
    tied = slice(2 * some, 3 * some)
    user[tied], at[tied], known[tied] = (values[3 * some : 4 * some] for values in (user, at, known))
    mixed = chance.permutation(n)
    text = np.array([f"category {number}" for number in range(50)])
    return pa.table(
        {
            "user": users[user[mixed]],
            "_at": at[mixed],
            "_known_at": known[mixed],
            "_row": np.arange(n),
            "x": chance.random(n),
            "n": chance.integers(0, 100, n),
            "s": text[chance.integers(0, 50, n)],
            "event": pa.array(at[mixed], pa.timestamp("us", "UTC")),
            "created": pa.array(known[mixed], pa.timestamp("us", "UTC")),
        }
    )


def _joins(root: Path, *, feast: bool) -> None:
    n_labels = pq.read_metadata(root / "labels.parquet").num_rows
    print(
        f"{n_labels:,} labels, 3 views of {pq.read_metadata(root / 'one.parquet').num_rows:,} rows; CPU s of the join"
    )
    ours = _asked([sys.executable, str(Path(__file__).resolve()), "--ours", str(root)])
    assert ours["rows"] == n_labels, "rows were lost"
    found = {"polars": _asked([sys.executable, str(PEER), "polars", str(root), "3"])}
    python = _peers(feast=feast)
    if python:
        found["duckdb"] = _asked([str(python), str(PEER), "duckdb", str(root), "3"])
    _print("ours, by known time", ours, ours, n_labels)
    _print("ours, by event time", {**ours, "cpu_s": ours["event_s"]}, ours, n_labels)
    for name, cost in found.items():
        _print(f"{name} {cost['version']}, plain", cost, ours, n_labels)
    best = min(cost["cpu_s"] for cost in found.values())
    print(f"  against the best plain as-of: {ours['cpu_s'] / best:.2f} (budget 1.2)")
    print(f"  values that event time would have shown too early: {ours['too_early']:.1%}")
    if python and feast:
        try:
            cost = _asked([str(python), str(PEER), "feast", str(root), "1"])
        except subprocess.CalledProcessError as error:
            print(f"Feast did not run: {error.stderr.strip().splitlines()[-1][:200]}")
            return
        _print(f"feast {cost['version']} on duckdb", cost, ours, n_labels)
        print(
            f"  against Feast: {ours['cpu_s'] / cost['cpu_s']:.2f} (budget 0.5; {cost['start_s']:.0f} s more to start)"
        )


def _print(name: str, cost: dict[str, Any], ours: dict[str, Any], n_labels: int) -> None:
    lost = "" if cost["rows"] == n_labels else f"  ROWS ARE NOT CONSERVED: {n_labels:,} went in"
    print(
        f"{name:28} {cost['cpu_s']:7.2f} s  {cost['cpu_s'] / ours['cpu_s']:5.2f} × ours  {cost['rows']:>9,} rows{lost}"
    )


def _ours(root: Path) -> None:
    """Our own join, in a process of its own as the peers' are."""
    start_s = time.process_time()
    labels = pq.read_table(root / "labels.parquet", columns=["user", "at", "id"])
    rows = {name: pq.read_table(root / f"{name}.parquet").drop_columns(["event", "created"]) for name in VIEWS}

    def join(known: Any) -> pa.Table:
        joins = [
            PointInTimeJoin(
                view,
                "user",
                "user",
                {f"{name}_{column}": column for column in ("x", "n", "s")},
                ttl_us=30 * DAY if name == "two" else None,
                view=name,
                known=known,
            )
            for name, view in rows.items()
        ]
        return point_in_time(labels, time="at", joins=joins)

    made: list[pa.Table] = []
    known_s = min(_cpu(lambda: made.append(join("known"))) for _ in range(3))
    event_s = min(_cpu(lambda: made.append(join("event"))) for _ in range(2))
    pairs = [(made[0][f"{name}_x"].to_numpy(), made[-1][f"{name}_x"].to_numpy()) for name in VIEWS]
    differs = np.mean([np.mean((a != b) & ~(np.isnan(a) & np.isnan(b))) for a, b in pairs])
    cost = {
        "start_s": start_s,
        "cpu_s": known_s,
        "event_s": event_s,
        "rows": made[0].num_rows,
        "too_early": float(differs),
    }
    print(json.dumps(cost))


def _online(root: Path) -> None:
    """A view of rows into the Latest store, and one look-up."""
    rows = pq.read_table(root / "one.parquet").drop_columns(["event", "created"])
    spec = ViewSpec("one", "user", lambda rows: rows, ("rows",), {"rows": "_at"})
    engine = PolarsEngine()
    latest = LmdbLatest(root / "latest")
    columns = ["user", "x", "n", "s", "_at"]
    kept: list[pa.Table] = []

    def make() -> None:
        kept.append(view_at(spec, {"rows": engine.frame(rows)}, engine, as_of=BEGIN + YEAR * 2))

    newest_s = _cpu(make)
    write_s = _cpu(lambda: latest.write("one", "user", kept[0].select(columns), "one"))
    print(f"newest of {rows.num_rows:,} rows: {rows.num_rows / newest_s:,.0f} rows/s; ", end="")
    print(f"materialised: {kept[0].num_rows / write_s:,.0f} rows/s")
    keys = np.random.default_rng(2).choice(kept[0]["user"].to_numpy(zero_copy_only=False), 20_000).tolist()

    def read() -> None:
        for key in keys:
            latest.get("one", key)

    print(f"online read: {min(_cpu(read) for _ in range(2)) / len(keys) * 1e6:.1f} µs")


def _windows(scale: float) -> None:
    """A year of a 90-day window by day: one pass compared with each boundary alone."""
    chance = np.random.default_rng(3)
    n = int(500_000 * scale)
    at = BEGIN + chance.integers(0, YEAR, n)
    rows = pa.table(
        {
            "user": chance.integers(0, max(1, n // 20), n),
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "_known_at": pa.array(at + chance.integers(0, 2 * DAY, n), pa.timestamp("us", "UTC")),
            "x": chance.random(n),
        }
    )

    def counted(rows: Any) -> Any:
        return rows.group_by("user").agg(n=nw.len(), total=nw.col("x").sum(), mean=nw.col("x").mean())

    spec = ViewSpec("v", "user", counted, ("rows",), {"rows": "at"}, window_us=90 * DAY, every_us=DAY)
    engine = PolarsEngine()
    frames = {"rows": engine.frame(rows)}
    made: list[pa.Table] = []
    one_s = _cpu(lambda: made.append(view_history(spec, frames, engine, start=BEGIN, end=BEGIN + YEAR)))
    days = range(BEGIN // DAY, (BEGIN + YEAR) // DAY + 1)
    each_s = _cpu(lambda: made.append(each_boundary(spec, frames, engine, days[0], days[-1])))
    expanded = [int(((table["_until"].to_numpy() - table["_at"].to_numpy()) // DAY + 1).sum()) for table in made]
    assert expanded[0] == expanded[1], "the two ways differ"
    print(f"90-day window by day over a year, {n:,} rows: {one_s:.2f} s, each boundary alone {each_s:.2f} s", end="")
    print(f" ({each_s / one_s:.0f} ×); {made[0].num_rows:,} stretches for {expanded[0]:,} values")


def _peers(*, feast: bool) -> Path | None:
    """The Python of the peers' venv, made when it is not there; `None` where they cannot be installed."""
    python = CACHE / "bin" / "python"
    wanted = ["duckdb", "pyarrow", *(["feast[duckdb]", "pandas"] if feast else [])]
    try:
        if not python.exists():
            venv.create(CACHE, with_pip=True)
        have = subprocess.run([python, "-c", f"import duckdb{', feast' if feast else ''}"], capture_output=True)
        if have.returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"DuckDB and Feast could not be installed, so they are left out: {error}")
        return None
    return python


def _asked(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def _cpu(act: Callable[[], Any]) -> float:
    before = time.process_time()
    act()
    return time.process_time() - before


if __name__ == "__main__":
    main()
