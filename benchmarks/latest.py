"""Cost of one look-up: the Latest store compared with a dict, LMDB alone, SQLite and its own snapshot, in one run.

    python benchmarks/latest.py [--keys 1000000] [--asked 100000]

CPU µs per look-up of a random key, rows of two numbers and a text. Read ratios: the machine's mood is in all of them.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import numpy as np
import pyarrow as pa

from tidemill.backends.lmdb.lmdb_latest import LmdbLatest
from tidemill.features import ItemFacts


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--keys", type=int, default=1_000_000)
    arguments.add_argument("--asked", type=int, default=100_000)
    given = arguments.parse_args()
    chance = np.random.default_rng(1)
    keys = [f"B{number:09d}" for number in chance.permutation(given.keys)]
    asked = [keys[number] for number in chance.integers(0, given.keys, given.asked)]
    rows = pa.table({"k": keys, "n": np.arange(given.keys), "x": chance.random(given.keys), "s": ["text"] * given.keys})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        latest = LmdbLatest(root / "latest")
        print(f"{given.keys:,} keys, {given.asked:,} look-ups")
        print(f"writing the snapshot     {_cpu(lambda: latest.write('v', 'k', rows, 'one')):8.2f} s")
        _lookups(root, latest, rows, asked)
        _others(latest, asked)


def _lookups(root: Path, latest: LmdbLatest, rows: pa.Table, asked: list[str]) -> None:
    plain = {row["k"]: row for row in rows.to_pylist()}
    snapshot, _ = latest._both("v")
    assert snapshot is not None
    ways: dict[str, Callable[[str], Any]] = {
        "dict": plain.__getitem__,
        "snapshot alone": snapshot.get,
        "latest": lambda key: latest.get("v", key),
        "latest, two keys at once": lambda key: latest.get_many([("v", key), ("v", key)]),
        "LMDB alone": _by_lmdb(root, plain),
        "SQLite": _by_sqlite(root, plain),
    }
    costs = {name: _each(way, asked) for name, way in ways.items()}
    for name, cost in costs.items():
        print(f"{name:24} {cost:8.2f} µs   {cost / costs['latest']:6.2f} × latest")


def _others(latest: LmdbLatest, asked: list[str]) -> None:
    fresh = asked[:500]
    put = _each(lambda key: latest.put("v", key, {"n": 1, "x": 1.0, "s": "fresh"}, at=1), fresh)
    print(f"{'put, durable':24} {put:8.2f} µs")
    print(f"{'latest, a fresh row':24} {_each(lambda key: latest.get('v', key), fresh * 20):8.2f} µs")
    mark, _ = latest.changed("v", 0)
    print(f"{'marks of three views':24} {_each(lambda _: latest.marks(['v', 'w', 'c']), asked):8.2f} µs")
    print(f"{'changed, nothing new':24} {_each(lambda _: latest.changed('v', mark), asked):8.2f} µs")
    take = _cpu(lambda: latest.take("v", asked, ["n", "x"])) / len(asked) * 1e6
    print(f"{'take, each of many':24} {take:8.2f} µs")
    items = sorted({*asked})
    made: list[ItemFacts] = []

    def facts() -> None:
        made.append(ItemFacts(latest, items, views={"w": ["n", "x"]}, counted="c", as_of=lambda: 0))

    some = pa.table({"k": items, "n": np.arange(len(items)), "x": np.ones(len(items))})
    latest.write("w", "k", some, "one")
    print(f"{'facts of ' + format(len(items), ',') + ' items':24} {_cpu(facts) * 1e3:8.2f} ms")
    print(f"{'facts, nothing new':24} {_each(lambda _: made[0].refresh(), asked):8.2f} µs")
    latest.put("w", items[0], {"n": 5}, at=1)
    print(f"{'facts, one new row':24} {_cpu(made[0].refresh) * 1e3:8.2f} ms")


def _by_lmdb(root: Path, plain: dict[str, dict[str, Any]]) -> Callable[[str], Any]:
    env = lmdb.open(str(root / "peer"), map_size=1 << 32)
    with env.begin(write=True) as txn:
        for key, row in plain.items():
            txn.put(key.encode(), msgspec.msgpack.encode(row))

    def get(key: str) -> Any:
        with env.begin() as txn:
            return msgspec.msgpack.decode(txn.get(key.encode()))

    return get


def _by_sqlite(root: Path, plain: dict[str, dict[str, Any]]) -> Callable[[str], Any]:
    peer = sqlite3.connect(root / "peer.sqlite")
    peer.execute("CREATE TABLE v (k TEXT PRIMARY KEY, n INTEGER, x REAL, s TEXT) WITHOUT ROWID")
    peer.executemany("INSERT INTO v VALUES (:k, :n, :x, :s)", plain.values())
    peer.commit()
    return lambda key: peer.execute("SELECT n, x, s FROM v WHERE k = ?", (key,)).fetchone()


def _each(way: Callable[[str], Any], asked: list[str]) -> float:
    """CPU µs per call, the best of two rounds: the first also warms the pages."""

    def all_of_them() -> None:
        for key in asked:
            way(key)

    return min(_cpu(all_of_them) for _ in range(2)) / len(asked) * 1e6


def _cpu(act: Callable[[], Any]) -> float:
    before = time.process_time()
    act()
    return time.process_time() - before


if __name__ == "__main__":
    main()
