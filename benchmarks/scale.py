"""Scaling of training and serving: 1,000,000 users x 100,000 items simulated, a tenth of it, and a peer.

    python benchmarks/scale.py [--users 1000000] [--items 100000] [--peer PYTHON]

Each size is learned in a process of its own: CPU seconds and peak memory of learning, seconds for the index and its
recall, size of the bundle, seconds of one day's refresh, CPU µs of an answer. The peer does the same work on the same
item vectors with FastAPI, hnswlib and numpy (`benchmarks/peers`); `--peer` names a Python that has fastapi, uvicorn and
hnswlib (`pip install fastapi uvicorn[standard] hnswlib`); without them the peer is skipped, and the run reports it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import serve
import tidemill.core.settings as settings_module
from tidemill.core.clock import SystemClock
from tidemill.core.records.release import Card
from tidemill.loop.project.open_port import PortOpener
from tidemill.loop.project.recovery import recover_live_files
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.models import (
    Interactions,
    LearnerSpec,
    cooccurrence,
    learn,
    open_recommender,
    spectral,
    write_recommender,
)
from tidemill.models.recommender.user_vectors import Vectors
from tidemill.models.slates.slate_spec import diverse, eligible, nearest, popular, slate, unseen
from tidemill.serving import ServedStream, start, write_streams
from tidemill.training import index_recall
from tidemill.training.recommender.train import queries

DAY = serve.DAY
TASTES, YEAR = 500, 365
LEARNERS: dict[str, LearnerSpec] = {
    "cooccurrence": cooccurrence(factors=64),
    "spectral": spectral(factors=64),
}


def simulated(n_users: int, n_items: int) -> tuple[pa.Table, int]:
    """About ten events a user in one of 500 tastes, a fifth of them elsewhere; popularity by a power law; one year."""
    draw = np.random.default_rng(11)
    lengths = np.minimum(2 + draw.geometric(1 / 8, n_users), 100)
    users = np.repeat(np.arange(n_users, dtype=np.int32), lengths)
    size = n_items // TASTES
    taste = draw.integers(0, TASTES, n_users, dtype=np.int32)[users]
    items = taste * size + np.minimum((size * draw.random(len(users)) ** 2.0).astype(np.int32), size - 1)
    elsewhere = draw.random(len(users)) < 0.2
    items[elsewhere] = (n_items * draw.random(int(elsewhere.sum())) ** 2.0).astype(np.int32)
    now = time.time_ns() // 1000
    start_of = draw.integers(0, YEAR * DAY, n_users)[users]
    times = (
        now - YEAR * DAY + np.minimum(start_of + (draw.exponential(30 * DAY, len(users))).astype(np.int64), YEAR * DAY)
    )
    order = np.lexsort((times, users))
    ids = pa.array([f"user{n}" for n in range(n_users)]), pa.array([f"item{n}" for n in range(n_items)])
    table = pa.table(
        {
            "user_id": pa.DictionaryArray.from_arrays(pa.array(users[order]), ids[0]),
            "item_id": pa.DictionaryArray.from_arrays(pa.array(items[order]), ids[1]),
            "viewed_at": times[order],
        }
    )
    return table, now


def one_size(folder: Path, learner: str, n_users: int, n_items: int) -> dict[str, float]:
    """Learn, write, open: what it took. Runs in a process of its own, so that its peak memory is its own."""
    table, now = simulated(n_users, n_items)
    events = Interactions.from_arrow(table, user="user_id", item="item_id", time="viewed_at")
    n_events = len(events)
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu = time.process_time()
    made = learn(LEARNERS[learner], events, now + 1)
    learned = time.process_time() - cpu
    search = PortOpener(settings_module.load(folder, environ={})).search()
    cpu = time.process_time()
    asked = queries(made, events)
    write_recommender(made, folder / "bundle", search, asked)
    indexed = time.process_time() - cpu
    opened = open_recommender(folder / "bundle", search)
    recall = index_recall(opened, events) if opened.index else 1.0
    size = sum(file.stat().st_size for file in (folder / "bundle").rglob("*") if file.is_file())
    return {
        "events": n_events,
        "items in the bundle": made.n_items,
        "learning, CPU s": learned,
        "events a CPU second": n_events / learned,
        "peak memory, MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "  of it the events, MB": before_mb,
        "index and files, CPU s": indexed,
        "index recall at 200": recall,
        "bundle, MB": size / 1e6,
    }


def in_a_process(folder: Path, learner: str, n_users: int, n_items: int) -> dict[str, float]:
    """`one_size` in a new process."""
    command = [sys.executable, __file__, "--one", str(folder), "--learner", learner]
    command += ["--users", str(n_users), "--items", str(n_items)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def served(folder: Path, n_users: int, n_items: int, seconds: float, peer: str | None) -> dict[str, float]:
    """CPU µs of an answer over HTTP by each learner's bundle, of the no-op, and of the peer."""
    table, _ = simulated(n_users, n_items)
    plain = table.set_column(0, "user_id", table["user_id"].cast(pa.string()))
    plain = plain.set_column(1, "item_id", plain["item_id"].cast(pa.string()))
    overrides = {"keys": str(folder / "keys"), "serve.port": 0, "serve.workers": 1, "serve.slot_s": 3600}
    stores = open_stores(
        folder, settings_module.load(folder, overrides=overrides, environ={}), SystemClock(), name="scale"
    )
    serve.publish(stores, plain, n_items)
    write_streams(
        stores.serving_root, {"views": ServedStream(contract=serve.View.contract, feeds=(serve.MODEL,))}, stores.keys
    )
    found: dict[str, float] = {}
    for learner in LEARNERS:
        promote(stores, folder / learner / "bundle", learner)
        with start(serve_plan(stores.settings, overrides=overrides)) as server:
            server.wait_ready(300)
            pid = int(next((stores.serving_root / "workers").glob("*.json")).stem)
            script = serve.RECOMMEND % (n_users - 1, serve.MODEL)
            serve.load(server, pid, 2, script)
            found["no-op"] = serve.load(server, pid, 4, None)[1]
            found[learner] = serve.load(server, pid, seconds, script)[1]
    if peer:
        found |= peer_served(folder, peer, table, n_users, n_items, seconds)
    return found


def promote(stores: Stores, bundle: Path, learner: str) -> None:
    """A release of a bundle, live."""
    spec = slate(
        retrieve=[nearest(200), popular(days=30)],
        filter=[unseen(), eligible("in_stock")],
        order=[diverse(by="category")],
    )
    card = Card(
        model=serve.MODEL, helps="Nobody.", could_harm="Nobody.", learner=learner, parameters={}, evaluation=None,
        data={}, n_rows=0, n_users=0, n_items=0, learned_at=0, as_of=0,
    )  # fmt: skip
    copy = bundle.parent / "copy"
    shutil.copytree(bundle, copy)
    views = serve.VIEWS
    release = stores.releases.create(serve.MODEL, copy, spec.rules(views), card, facts=spec.facts(views))
    stores.releases.promote(release.name)
    recover_live_files(stores)


def peer_served(
    folder: Path, peer: str, table: pa.Table, n_users: int, n_items: int, seconds: float
) -> dict[str, float]:
    """The same vectors behind FastAPI, hnswlib and numpy."""
    place = folder / "peer"
    place.mkdir()
    made = open_recommender(folder / "spectral" / "bundle")
    vectors = made.vectors
    assert isinstance(vectors, Vectors)
    code_of = np.full(n_items, -1, np.int64)
    numbers = np.array([int(item[4:]) for item in made.items])
    code_of[numbers] = np.arange(len(numbers))
    users = table["user_id"].combine_chunks().indices.to_numpy()
    arrays = {
        "encoder": vectors.encoder,
        "items": vectors.items,
        "popularity": made.popularity,
        "category": numbers % 50,
        "in_stock": numbers % 20 > 0,
        "starts": np.searchsorted(users, np.arange(n_users + 1)),
        "codes": code_of[table["item_id"].combine_chunks().indices.to_numpy()],
    }
    for name, array in arrays.items():
        np.save(place / f"{name}.npy", np.ascontiguousarray(array))
    script = Path(__file__).parent / "peers" / "hnsw_index.py"
    said = subprocess.run([peer, str(script), str(place)], check=True, capture_output=True, text=True).stdout
    built, recall = map(float, said.split())
    port = free_port()
    command = [peer, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent / "peers"), "fastapi_hnswlib:app"]
    command += ["--port", str(port), "--no-access-log", "--log-level", "warning"]
    process = subprocess.Popen(command, env={**os.environ, "PEER": str(place), "OMP_NUM_THREADS": "1"})
    try:
        wait_for(f"http://127.0.0.1:{port}/livez")
        server: Any = type("Peer", (), {"url": f"http://127.0.0.1:{port}", "port": port})()
        script = serve.RECOMMEND % (n_users - 1, serve.MODEL)
        serve.load(server, process.pid, 2, script)
        noop = serve.load(server, process.pid, 4, None)[1]
        spent = serve.load(server, process.pid, seconds, script)[1]
    finally:
        process.terminate()
        process.wait()
    return {
        "peer's index, CPU s": built,
        "peer's recall at 200": recall,
        "peer's no-op": noop,
        "FastAPI + hnswlib + numpy": spent,
    }


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=1).read()
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise SystemExit(f"{url} did not answer")


def has_peer(python: str) -> bool:
    found = subprocess.run([python, "-c", "import fastapi, uvicorn, hnswlib"], capture_output=True)
    return found.returncode == 0


def show(name: str, small: dict[str, float], large: dict[str, float]) -> None:
    print(f"\n{name:28}{'a tenth':>14}{'whole':>14}{'ratio':>8}")
    for what, value in large.items():
        print(f"  {what:26}{small[what]:14,.2f}{value:14,.2f}{value / small[what] if small[what] else 0:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--peer", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--learner", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one_size(asked.one, asked.learner, asked.users, asked.items)))
        return
    peer = asked.peer if has_peer(asked.peer) else None
    if peer is None:
        print(f"the peer is skipped: {asked.peer} has no fastapi, uvicorn and hnswlib")
    answers = []
    for part in (10, 1):
        with tempfile.TemporaryDirectory(prefix="tidemill-scale-") as place:
            folder = Path(place)
            n_users, n_items = asked.users // part, asked.items // part
            learned = {}
            for learner in LEARNERS:
                (folder / learner).mkdir()
                learned[learner] = in_a_process(folder / learner, learner, n_users, n_items)
            answers.append((learned, served(folder, n_users, n_items, asked.seconds, peer)))
    (small, few), (large, many) = answers
    for learner in LEARNERS:
        show(f"{learner}: learning", small[learner], large[learner])
    show("CPU µs of one answer of 20", few, many)
    if peer:
        ratio = many["spectral"] / many["FastAPI + hnswlib + numpy"]
        ours, theirs = large["spectral"]["index recall at 200"], many["peer's recall at 200"]
        print(f"\nratio to the peer: {ratio:.2f} on the same vectors")
        print(f"of the true 200 nearest this index finds {ours:.0%}, the peer's {theirs:.0%}")


if __name__ == "__main__":
    main()
