"""What an answer costs: CPU microseconds of the server for a recommendation from 100,000 simulated items.

    python benchmarks/serve.py [--items 100000] [--users 50000] [--seconds 8]

Printed next to the same server's no-op (`GET /livez`) and the budget: 500 µs for the answer, 30 µs for the log. CPU is
that of the worker process, all of it, so it does not matter what else the machine does; requests per second do.
Load comes from `wrk` where it is installed, else from a plain client.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

import tidemill.core.settings as settings_module
from tidemill.core.clock import SystemClock, to_micros
from tidemill.core.contract.contract import Event, event_time, item, subject
from tidemill.core.records.release import Card
from tidemill.feedback import SegmentLog
from tidemill.loop.project.recovery import recover_live_files
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.models import Interactions, cooccurrence, learn, open_recommender, write_recommender
from tidemill.models.slates.slate_spec import diverse, eligible, nearest, popular, slate, trending, unseen
from tidemill.release import open_arm, read_deployment
from tidemill.serving import (
    Predictor,
    PredictorSources,
    RecommendationRequest,
    ServedStream,
    ServerClock,
    ServerHandle,
    UserHistories,
    start,
    write_streams,
)

MODEL = "for_you"
BUDGET_US, LOG_BUDGET_US = 500, 30
DAY = 86_400_000_000
HISTORY = 20
VIEWS = {"facts": ("category", "in_stock")}


class View(Event):
    user_id: str = subject()
    item_id: str = item()
    viewed_at: datetime = event_time(zone="UTC")


def simulated(n_users: int, n_items: int) -> pa.Table:
    """Users with 20 events each in one of 200 tastes, items by a power law within it, over the last year."""
    draw = np.random.default_rng(7)
    users = np.repeat(np.arange(n_users), HISTORY)
    taste = draw.integers(0, 200, n_users)[users]
    size = n_items // 200
    items = taste * size + np.minimum((size * draw.random(len(users)) ** 2.5).astype(int), size - 1)
    elsewhere = draw.random(len(users)) < 0.2
    items[elsewhere] = (n_items * draw.random(elsewhere.sum()) ** 2.5).astype(int)
    now = to_micros(datetime.now(UTC))
    times = now - (draw.random(len(users)) * 365 * DAY).astype(np.int64)
    order = np.lexsort((times, users))
    return pa.table(
        {
            "user_id": np.char.add("user", users[order].astype(str)),
            "item_id": np.char.add("item", items[order].astype(str)),
            "viewed_at": times[order],
        }
    )


def build(folder: Path, n_users: int, n_items: int) -> tuple[Stores, dict[str, Any]]:
    """A project with a promoted release over the simulated events."""
    overrides = {"keys": str(folder / "keys"), "serve.port": 0, "serve.workers": 1, "serve.slot_s": 3600}
    settings = settings_module.load(folder, overrides=overrides, environ={})
    stores = open_stores(folder, settings, SystemClock(), name="benchmark")
    events = simulated(n_users, n_items)
    publish(stores, events, n_items)
    interactions = Interactions.from_arrow(events, user="user_id", item="item_id", time="viewed_at")
    recommender = learn(cooccurrence(), interactions, to_micros(datetime.now(UTC)) + DAY)
    write_recommender(recommender, folder / "bundle", stores.search())
    spec = slate(
        retrieve=[nearest(200), trending(days=7)],
        filter=[unseen(), eligible("in_stock")],
        order=[diverse(by="category")],
        fallback=popular(days=30),
    )
    card = Card(
        model=MODEL, helps="Nobody.", could_harm="Nobody.", learner="cooccurrence", parameters={}, evaluation=None,
        data={}, n_rows=events.num_rows, n_users=n_users, n_items=recommender.n_items, learned_at=0, as_of=0,
    )  # fmt: skip
    release = stores.releases.create(MODEL, folder / "bundle", spec.rules(VIEWS), card, facts=spec.facts(VIEWS))
    stores.releases.promote(release.name)
    recover_live_files(stores)
    write_streams(stores.serving_root, {"views": ServedStream(contract=View.contract, feeds=(MODEL,))}, stores.keys)
    print(f"{events.num_rows:,} events of {n_users:,} users, {recommender.n_items:,} items in the bundle")
    return stores, overrides


def publish(stores: Stores, events: pa.Table, n_items: int) -> None:
    """The views that a run leaves."""
    names = [f"item{i}" for i in range(n_items)]
    facts = {
        "item_id": names,
        "category": [f"c{i % 50}" for i in range(n_items)],
        "in_stock": [i % 20 > 0 for i in range(n_items)],
    }
    stores.latest.write("facts", "item_id", pa.table(facts), "1")
    users = events["user_id"].to_numpy(zero_copy_only=False)
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]])
    offsets = pa.array(np.r_[starts, len(users)].astype(np.int32))
    histories = {
        "user_id": stores.surrogates.many("user_id", users[starts].tolist()),
        "items": pa.ListArray.from_arrays(offsets, events["item_id"].combine_chunks()),
        "times": pa.ListArray.from_arrays(offsets, events["viewed_at"].combine_chunks()),
    }
    stores.latest.write(f"{MODEL}.history", "user_id", pa.table(histories), "1")
    days = events.append_column("day", pa.array(events["viewed_at"].to_numpy() // DAY, pa.int32()))
    daily = days.group_by(["item_id", "day"]).aggregate([("viewed_at", "count")]).sort_by("item_id")
    by_item = daily.group_by("item_id", use_threads=False).aggregate(
        [("viewed_at_count", "sum"), ("day", "list"), ("viewed_at_count", "list")]
    )
    counts = pa.table(
        {
            "item_id": by_item["item_id"],
            "n_all": by_item["viewed_at_count_sum"].cast(pa.int64()),
            "days": by_item["day_list"].cast(pa.list_(pa.int32())),
            "counts": by_item["viewed_at_count_list"].cast(pa.list_(pa.int32())),
        }
    )
    stores.latest.write(f"{MODEL}.items", "item_id", counts, "1")


def cpu_us(pid: int) -> float:
    """CPU time of a process so far, user and system, in microseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1e6 / os.sysconf("SC_CLK_TCK")


RECOMMEND = """
local draw = math.random
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function init(args) math.randomseed(tonumber(args[1])) end
function request()
  local body = '{"user":"user' .. draw(0, %d) .. '","n":20,"context":{"r":' .. draw(1, 1e9) .. '}}'
  return wrk.format(nil, "/v1/recommend/%s", nil, body)
end
"""


#: A seed for each load: the same requests again would be repeats, which a server answers from memory.
_seeds = itertools.count(1)


def load(server: ServerHandle, pid: int, seconds: float, script: str | None) -> tuple[float, float]:
    """Requests per second, and CPU microseconds of the worker for each."""
    seed = next(_seeds)
    if not shutil.which("wrk"):
        return plain_load(server, pid, seconds, seed if script else None)
    command = ["wrk", "-t1", "-c8", f"-d{seconds:g}s", f"{server.url}/livez", "--", str(seed)]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if script:
            file.write(script)
            file.flush()
            command[1:1] = ["-s", file.name]
        before, began = cpu_us(pid), time.monotonic()
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        took, spent = time.monotonic() - began, cpu_us(pid) - before
    if "Non-2xx" in said:
        raise SystemExit(said)
    found = re.search(r"(\d+) requests in", said)
    assert found is not None
    return int(found[1]) / took, spent / int(found[1])


def plain_load(server: ServerHandle, pid: int, seconds: float, seed: int | None) -> tuple[float, float]:
    """One connection, one request after the other; recommendations if there is a seed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    n, before, began = 0, cpu_us(pid), time.monotonic()
    while time.monotonic() - began < seconds:
        if seed:
            body = msgspec.json.encode({"user": f"user{n}", "n": 20, "context": {"r": seed}})
            connection.request("POST", f"/v1/recommend/{MODEL}", body, {"Content-Type": "application/json"})
        else:
            connection.request("GET", "/livez")
        connection.getresponse().read()
        n += 1
    return n / (time.monotonic() - began), (cpu_us(pid) - before) / n


def timed(what: Callable[[int], object], n: int) -> float:
    """CPU microseconds of one call."""
    for i in range(n // 10):
        what(i)
    before = time.process_time()
    for i in range(n):
        what(i)
    return (time.process_time() - before) * 1e6 / n


def inside(stores: Stores, n_users: int) -> dict[str, float]:
    """The parts of an answer in this process, CPU microseconds each."""
    from tidemill.core.records.prediction import Prediction

    live = read_deployment(stores.serving_root, MODEL, stores.keys.public)
    assert live is not None
    pointer = open_arm(live, live.champion, stores.blobs)
    clock = ServerClock(SystemClock(), stores.serving_root)
    histories = UserHistories(stores.latest, MODEL, lambda: ["views"])
    recommender = open_recommender(Path(pointer.bundle), stores.search())
    predictor = Predictor(pointer, recommender, {}, PredictorSources(stores.latest, histories, clock, 3600))
    tokens = stores.surrogates.many("user_id", [f"user{i % n_users}" for i in range(3_000)])
    prepared = [predictor.prepare(RecommendationRequest(token, 20)) for token in tokens]
    answers = [predictor.answer(one) for one in prepared]
    log = SegmentLog(stores.state / "benchmark-log", SystemClock())

    def write(i: int) -> object:
        one = prepared[i % 3_000]
        return log.write(
            Prediction(
                prediction_id=one.prediction_id, model=MODEL, release=predictor.release.name, arm="champion",
                propensity=1.0, served_at=clock.micros(), as_of=one.as_of, subject=one.request.subject, n=20,
                items=answers[i % 3_000].items, short=None, features=predictor.features(one), context="", latency_us=1,
                kind="computed",
            )
        )  # fmt: skip

    return {
        "history and id": timed(lambda i: predictor.prepare(RecommendationRequest(tokens[i % 3_000], 20)), 3_000),
        "slate": timed(lambda i: predictor.answer(prepared[i % 3_000]), 3_000),
        "log": timed(write, 20_000),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=8.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemill-serve-") as place:
        stores, overrides = build(Path(place), asked.users, asked.items)
        parts = inside(stores, asked.users)
        with start(serve_plan(stores.settings, overrides=overrides)) as server:
            server.wait_ready(120)
            pid = int(next((stores.serving_root / "workers").glob("*.json")).stem)
            script = RECOMMEND % (asked.users - 1, MODEL)
            load(server, pid, 2, script)
            noop_rate, noop_us = load(server, pid, asked.seconds, None)
            rate, us = load(server, pid, asked.seconds, script)
    print(f"{'':24}{'CPU µs':>10}{'a second':>12}")
    print(f"{'no-op':24}{noop_us:10.0f}{noop_rate:12,.0f}")
    print(f"{'recommendation of 20':24}{us:10.0f}{rate:12,.0f}")
    for name, value in parts.items():
        print(f"{'  of it ' + name:24}{value:10.1f}")
    print(f"ratio to the no-op {us / noop_us:.1f}; to the aim of {BUDGET_US} µs {us / BUDGET_US:.2f}")
    print(f"log {parts['log']:.1f} µs, {parts['log'] / LOG_BUDGET_US:.2f} of its budget of {LOG_BUDGET_US} µs")


if __name__ == "__main__":
    main()
