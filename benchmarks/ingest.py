"""Ingest compared with its peer: 2,000,000 generated reviews with text, gzipped, from file to a checked Delta table.

    python benchmarks/ingest.py [--rows 2000000] [--keep FOLDER]

The peer is Polars reading the same file and writing it to Delta, without keys, checks or checksums; the cheaper of its
two ways counts. Ours parses, checks the contract, drops repeated keys, evaluates expectations, writes, fsyncs, hashes
and publishes. Surrogates, the vault and the commitment are what a peer does not do at all: they stand in lines of their
own, outside the ratio. Each part runs in a process of its own; times are CPU seconds of all its threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import WriterProperties
from isal import igzip

from tidemill.backends.delta.delta_tables import DeltaTables
from tidemill.backends.file_leases import FileLeases
from tidemill.backends.folder_objects import FolderObjects
from tidemill.backends.polars import PolarsEngine
from tidemill.backends.sqlite_ledger import SqliteLedger
from tidemill.backends.sqlite_vault import SqliteVault
from tidemill.checks import between, defaults, evaluate, split_refused
from tidemill.core.clock import SystemClock, as_of, to_micros
from tidemill.core.contract import contract
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.identity.surrogates import Surrogates, Vault
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.records.ingest import Increment, RowCounts
from tidemill.core.source_read import ReadRequest
from tidemill.lake import Lake
from tidemill.lake.commitment import commitment
from tidemill.sources import FileSource

BUDGET = 1.25
#: The peer with our compression: by default it writes snappy, which is a third larger and cheaper.
SAME_COMPRESSION = "polars, eager, zstd"
COLUMNS = ("item_id", "user_id", "rating", "reviewed_at", "text")
KEY = ("user_id", "item_id", "reviewed_at")
LAST = date(2018, 9, 19)


class Review(contract.Event):
    item_id: str = contract.item()
    user_id: str = contract.subject()
    rating: float = contract.field(ge=1, le=5)
    reviewed_at: datetime = contract.event_time(zone="UTC")
    text: str = ""


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


def ours(file: Path, folder: Path) -> dict[str, float]:
    told: dict[str, float] = {}
    lines = SqliteLedger(folder / "ledger.sqlite")
    keys = Keys.open(folder / "keys", create=True)
    ledger = Ledger(lines, keys, SystemClock(), Account(name="benchmark", kind="process"))
    engine = PolarsEngine()
    lake = Lake(DeltaTables(folder / "lake"), engine, ledger, FolderObjects(folder / "lake"))
    url = f"file:{file}?columns=item_id,user_id,rating,reviewed_at:unix_s,text"
    with timed(told, "read"):
        read = FileSource(url, Review.contract, folder).read(ReadRequest(until=LAST))
    rows = read.good.drop_columns(["_day"])
    with timed(told, "surrogates*"):
        encoded = rows["user_id"].combine_chunks().dictionary_encode()
        people = encoded.dictionary.to_pylist()
        known = Surrogates(keys.subject).many("user_id", people)
        place = rows.column_names.index("user_id")
        rows = rows.set_column(place, "user_id", pc.take(pa.array(known, pa.string()), encoded.indices))
    with timed(told, "vault*"):
        Vault(SqliteVault(folder / "vault.sqlite"), keys).remember("user_id", known, people)
    with timed(told, "contract"):
        good, broken = split_refused(Review.contract, rows)
    n = good.num_rows
    end = to_micros(as_of(LAST))
    stamp = pa.array(np.full(n, end), pa.int64()).cast(pa.timestamp("us", "UTC"))
    good = good.append_column("_increment", pa.array(np.ones(n, np.int64))).append_column("_known_at", stamp)
    with FileLeases(folder, lines).take("run") as lease, lake.draft(lease) as draft:
        with timed(told, "merge and write"):
            merged = draft.merge_stream("reviews", good, KEY)
        counts = RowCounts(
            arrived=rows.num_rows,
            refused=broken.num_rows,
            repeated=merged.repeated,
            contradicted=merged.contradicted,
            merged=merged.merged,
        )
        with timed(told, "checks"):
            verdict = evaluate(
                "reviews",
                rows,
                [*defaults(()), between("rating", 1, 5, share=0.95)],
                engine=engine,
                counts=counts,
                as_of=end,
                event_time="reviewed_at",
                history=(),
            )
        with timed(told, "commitment*"):
            sealed = commitment(rows, keys.subject, "reviews/1")
        increment = Increment(
            stream="reviews",
            number=1,
            day=LAST,
            as_of=end,
            backfill=True,
            arrived_at=end,
            first_event=None,
            last_event=None,
            counts=counts,
            commitment=sealed,
        )
        with timed(told, "publish"):
            draft.publish(increment, verdict)
    return told | {"rows": float(lake.view().rows("reviews"))}


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
    "ours": ours,
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
    own = told.pop("ours")
    cheaper = min(part["read and write"] for part in told.values())
    alike = told[SAME_COMPRESSION]["read and write"]
    inside = sum(value for name, value in own.items() if name not in ("rows", "memory_gb") and not name.endswith("*"))
    for name, part in told.items():
        print(f"{name:28} {part['read and write']:8.2f} CPU s   {part['memory_gb']:.2f} GB")
    for name, value in own.items():
        if name not in ("rows", "memory_gb"):
            print(f"tidemill: {name:18} {value:8.2f} CPU s" + ("   (outside the ratio)" if name.endswith("*") else ""))
    print(f"{'tidemill, inside the ratio':28} {inside:8.2f} CPU s   {own['memory_gb']:.2f} GB")
    written = ", ".join(f"{part['rows']:,.0f}" for part in told.values())
    print(f"rows written: tidemill {own['rows']:,.0f}, repeats dropped; the peer, with repeats: {written}")
    print(f"ratio to the cheaper peer: {inside / cheaper:.2f} (budget {BUDGET}); its files are snappy, ours zstd")
    print(f"ratio to the peer writing zstd too: {inside / alike:.2f}")
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
