"""Ingest compared with its peer: 2,000,000 generated reviews with text, gzipped, from file to a checked Delta table.

    python benchmarks/ingest.py [--rows 2000000] [--keep FOLDER]

The peer is Polars reading the same file and writing it to Delta, without keys, checks or checksums; the cheaper of its
two ways counts. Ours parses, checks the contract, drops repeated keys, evaluates expectations, writes, fsyncs, hashes
and publishes, as `tidemill run --backfill` does: once without people in the contract, as the peer does it, and once
with surrogates and the vault. The commitment is outside of the first ratio. Each part runs in a process of its own;
times are CPU seconds of all its threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from deltalake import WriterProperties
from isal import igzip

from tidemill.core.clock import SystemClock
from tidemill.core.settings import load
from tidemill.lake import PublicationDraft
from tidemill.loop.ingest import ingest_increment
from tidemill.loop.ingest.worker_rows import WorkerRows
from tidemill.loop.pipeline.run import run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.stores import open_stores

BUDGET = 1.25
#: The peer with our compression: by default it writes snappy, which is a third larger and cheaper.
SAME_COMPRESSION = "polars, eager, zstd"
COLUMNS = ("item_id", "user_id", "rating", "reviewed_at", "text")
KEY = ("user_id", "item_id", "reviewed_at")
LAST = date(2018, 9, 19)


def generate(file: Path, rows: int) -> None:
    """Reviews of power-law items with 5 to 75 words each, 1% of them twice."""
    rng = np.random.default_rng(7)
    words = np.array([f"w{number:x}" for number in rng.integers(0, 2**24, 40_000)])
    with igzip.open(file, "wb", compresslevel=2) as sink:
        for start in range(0, rows, 50_000):
            n = min(50_000, rows - start)
            users, items = rng.integers(0, rows // 4, n), (rng.pareto(1.2, n) * 50).astype(int) % 60_000
            stars, days = rng.integers(1, 6, n), rng.integers(11_000, 17_793, n)
            lengths = rng.integers(5, 76, n)
            drawn = words[np.minimum((rng.pareto(0.6, int(lengths.sum())) * 100).astype(int), len(words) - 1)]
            texts = np.split(drawn, np.cumsum(lengths)[:-1])
            lines = [
                f"B{item:09d},A{user:013X},{star}.0,{day * 86_400},{' '.join(text)}\n"
                for item, user, star, day, text in zip(items, users, stars, days, texts, strict=True)
            ]
            sink.write("".join(lines + lines[: n // 100]).encode())


@contextmanager
def timed(told: dict[str, float], name: str) -> Iterator[None]:
    """CPU seconds of all threads, added up under `name`."""
    before = time.process_time()
    yield
    told[name] = told.get(name, 0.0) + time.process_time() - before


MILL = """
from datetime import datetime

import tidemill as tm

mill = tm.Mill("benchmark")


class Review(tm.Event):
    item_id: str = tm.item()
    user_id: str{person}
    rating: float = tm.field(ge=1, le=5)
    reviewed_at: datetime = tm.event_time()
    text: str | None


reviews = mill.stream("reviews", Review, key={key})
mill.check(reviews, tm.between("rating", 1, 5, share=0.95))
"""
#: What is timed: module or class, the name of its function, and the name of the time.
TIMED = [
    (WorkerRows, "read", "read"),
    (WorkerRows, "remember_people", "vault*"),
    (PublicationDraft, "merge_frame", "merge and write"),
    (PublicationDraft, "publish", "publish"),
    (ingest_increment, "evaluate", "checks"),
    (ingest_increment, "frame_commitment", "commitment*"),
]


def ours(file: Path, folder: Path, *, personal: bool) -> dict[str, float]:
    """One backfill of a project, without people as the peer does it, or with surrogates and the vault."""
    told: dict[str, float] = {}
    person = " = tm.subject()" if personal else ""
    (folder / "mill.py").write_text(MILL.format(person=person, key=KEY))
    url = f"file:{file}?columns=item_id,user_id,rating,reviewed_at:unix_s,text"
    (folder / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{folder}/keys"\nsource_roots = ["{file.parent}"]\n[laptop.sources]\nreviews = "{url}"\n'
    )
    for place, name, part in TIMED:
        setattr(place, name, timing(getattr(place, name), told, part))
    mill = load_mill(folder)
    stores = open_stores(folder, load(folder, environ={}), SystemClock(), name=mill.name)
    with timed(told, "all"):
        run(stores, ProjectGraph(mill, stores.engine, folder), until=LAST, backfill=True)
    return told | {"rows": float(stores.lake.view().rows("reviews"))}


def timing(function: Callable[..., Any], told: dict[str, float], part: str) -> Callable[..., Any]:
    """A function whose CPU seconds are added up under `part`."""

    def call(*arguments: Any, **options: Any) -> Any:
        with timed(told, part):
            return function(*arguments, **options)

    return call


def peer(file: Path, folder: Path, *, lazy: bool = False, zstd: bool = False) -> dict[str, float]:
    told: dict[str, float] = {}
    with timed(told, "read and write"):
        frame = pl.scan_csv(file, has_header=False, new_columns=list(COLUMNS)).with_columns(
            pl.from_epoch("reviewed_at", "s").dt.replace_time_zone("UTC")
        )
        if lazy:
            frame.sink_delta(str(folder / "table"))
        elif zstd:
            options = {"writer_properties": WriterProperties(compression="ZSTD")}
            frame.collect().write_delta(str(folder / "table"), delta_write_options=options)
        else:
            frame.collect().write_delta(str(folder / "table"))
    return told | {"rows": float(pl.scan_delta(str(folder / "table")).select(pl.len()).collect().item())}


PARTS = {
    "ours": lambda file, folder: ours(file, folder, personal=False),
    "with people": lambda file, folder: ours(file, folder, personal=True),
    "polars, eager": peer,
    "polars, streaming": lambda file, folder: peer(file, folder, lazy=True),
    SAME_COMPRESSION: lambda file, folder: peer(file, folder, zstd=True),
}


def apart(part: str, file: Path) -> dict[str, float]:
    """One part in a process and a folder of its own."""
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        command = [sys.executable, __file__, "--part", part, str(file), folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def show(told: dict[str, dict[str, float]]) -> float:
    own, people = told.pop("ours"), told.pop("with people")
    cheaper = min(part["read and write"] for part in told.values())
    alike = told[SAME_COMPRESSION]["read and write"]
    inside = own["all"] - own["commitment*"]
    for name, part in told.items():
        print(f"{name:28} {part['read and write']:8.2f} CPU s   {part['memory_gb']:.2f} GB")
    for name, value in own.items():
        if name not in ("rows", "memory_gb", "all"):
            print(f"tidemill: {name:18} {value:8.2f} CPU s, with people {people[name]:.2f}")
    print(f"{'tidemill, no commitment':28} {inside:8.2f} CPU s   {own['memory_gb']:.2f} GB")
    print(f"{'tidemill, people and all':28} {people['all']:8.2f} CPU s   {people['memory_gb']:.2f} GB")
    written = ", ".join(f"{part['rows']:,.0f}" for part in told.values())
    print(f"rows written: tidemill {own['rows']:,.0f}, repeats dropped; the peer, with repeats: {written}")
    print(f"ratio to the cheaper peer: {inside / cheaper:.2f} (budget {BUDGET}); its files are snappy, ours zstd")
    print(f"ratio to the peer writing zstd too: {inside / alike:.2f}")
    print(f"ratio with surrogates, vault and commitment: {people['all'] / cheaper:.2f}")
    return inside / cheaper


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--keep", type=Path, help="a folder for the generated file, used again if it is there")
    parser.add_argument("--part", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        part, file, folder = asked.part
        told = PARTS[part](Path(file), Path(folder))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps(told | {"memory_gb": memory}))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"reviews-{asked.rows}.csv.gz"
        if not file.is_file():
            generate(file, asked.rows)
        print(f"{asked.rows:,} reviews, {file.stat().st_size / 1e6:.0f} MB gzipped, {datetime.now(UTC):%Y-%m-%d}")
        show({part: apart(part, file) for part in PARTS})


if __name__ == "__main__":
    main()
