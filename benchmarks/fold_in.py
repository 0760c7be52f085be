"""Fold-in: recommendations after new events compared with those of a model retrained with them, and their cost.

    python benchmarks/fold_in.py [--data FOLDER] [--users 300] [--seconds 10]

First, for each learner on MovieLens-100k and Amazon Beauty: users whose last k events are hidden from learning are
folded in with their whole history, and compared with the same learner trained on everything: how much of the top 20 is
the same (and in what order, by rank-biased overlap), and the microseconds that folding in takes. Only the chosen users'
events differ, so what is left is what they taught the model about items. How much any training moves is printed beside
it: the same overlap where as many events of other users are hidden instead.

Then a server takes events while it answers: events per second that are durable and counted in answers, and the delay
until an answer heeds one.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

import serve
from tidemill import models
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.models import Interactions, Recommender, learn
from tidemill.serving import start

ROOT = Path(__file__).resolve().parent.parent
NEW_EVENTS = (1, 5)
TOP = 20
#: Of rank-biased overlap: how little a place far down counts.
PERSISTENCE = 0.9


def movielens(folder: Path) -> Interactions:
    """Every rating counts as an event."""
    parse = csv.ParseOptions(delimiter="\t")
    names = csv.ReadOptions(column_names=["user", "item", "rating", "unix_s"])
    rows = csv.read_csv(next((folder / "movielens-100k").rglob("u.data")), read_options=names, parse_options=parse)
    return _interactions(rows, "unix_s")


def beauty(folder: Path) -> Interactions:
    """The 5-core of 2014, in the file's own order within an instant."""
    return _interactions(csv.read_csv(folder / "amazon" / "beauty_5core_2014_events.csv.gz"), "unix_ts")


def _interactions(rows: pa.Table, seconds: str) -> Interactions:
    table = pa.table(
        {
            "user": rows["user"].cast(pa.string()),
            "item": rows["item"].cast(pa.string()),
            "at": pa.array(np.asarray(rows[seconds]) * 1_000_000),
        }
    )
    return Interactions.from_arrow(table, user="user", item="item", time="at")


def learners() -> dict[str, models.LearnerSpec]:
    """Each kind of part by itself, with settings fixed, so that both sides learn the same thing."""
    alone = {"popularity_share": 0.0, "popularity_half_life": "30 days", "recency": "365 days"}
    return {
        "cooccurrence": models.cooccurrence(factors=0, **alone),
        "item_knn": models.item_knn(factors=0, **alone),
        "transitions": models.transitions(**alone),
        "spectral": models.spectral(factors=64, **alone),
        "ease": models.ease(**alone),
        "als": models.als(factors=64, **alone),
    }


def hidden(events: Interactions, users: np.ndarray, k: int) -> Interactions:
    """The events without the last `k` of these users."""
    keep = np.ones(len(events), np.bool_)
    for user in users:
        end = int(events.starts[user + 1])
        keep[end - k : end] = False
    return events.where(keep)


def top(made: Recommender, items: list[str], times: list[int]) -> list[str]:
    """The best unseen items for a history of ids."""
    known = [(made.codes[item], time) for item, time in zip(items, times, strict=True) if item in made.codes]
    found = made.nearest([code for code, _ in known], [time for _, time in known], 100)
    unseen = [made.items[code] for code in found.item.tolist() if made.items[code] not in set(items)]
    return unseen[:TOP]


def overlap(one: list[str], other: list[str]) -> float:
    """Rank-biased overlap of two lists (Webber et al. 2010), normalised to 1 for equal ones."""
    total = worth = 0.0
    for depth in range(1, max(len(one), len(other)) + 1):
        weight = PERSISTENCE ** (depth - 1)
        total += weight * len(set(one[:depth]) & set(other[:depth])) / depth
        worth += weight
    return total / worth if worth else 1.0


def against_learning(name: str, events: Interactions, n_users: int) -> None:
    """Fold-in compared with retraining, for each learner."""
    lengths = np.diff(events.starts)
    able = np.flatnonzero((lengths > max(NEW_EVENTS) + 2) & (lengths <= 100))
    spread = able[np.linspace(0, len(able) - 1, min(2 * n_users, len(able))).astype(int)]
    chosen, others = spread[::2], spread[1::2]
    as_of = int(events.time.max()) + 1
    print(f"\n{name}: {len(events):,} events, {events.n_items:,} items; {len(chosen)} users lose their last k events")
    print(
        f"{'':14}{'k':>3}{'same of top 20':>16}{'rank-biased':>13}{'others hidden':>15}{'µs':>6}{'learning CPU s':>16}"
    )
    for learner, spec in learners().items():
        before = time.process_time()
        whole = learn(spec, events, as_of)
        took = time.process_time() - before
        for k in NEW_EVENTS:
            made, moved = (learn(spec, hidden(events, some, k), as_of) for some in (chosen, others))
            same, biased, spent, apart = [], [], [], []
            for user in chosen.tolist():
                codes, times = events.history(user)
                items = [events.items[code] for code in codes.tolist()]
                start_ns = time.perf_counter_ns()
                one = top(made, items, times.tolist())
                spent.append((time.perf_counter_ns() - start_ns) / 1000)
                other = top(whole, items, times.tolist())
                same.append(len(set(one) & set(other)) / max(len(other), 1))
                biased.append(overlap(one, other))
                apart.append(overlap(top(moved, items, times.tolist()), other))
            print(
                f"{learner:14}{k:3}{np.mean(same):16.3f}{np.mean(biased):13.3f}{np.mean(apart):15.3f}"
                f"{statistics.median(spent):6.0f}{took:16.2f}"
            )


def posting(port: int, seconds: float, batch: int, taken: list[int], number: int) -> None:
    """Posts batches of events by distinct users until the time is up."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    began, n = time.monotonic(), 0
    draw = np.random.default_rng(number)
    while time.monotonic() - began < seconds:
        people, items = draw.integers(0, 50_000, batch), draw.integers(0, 100_000, batch)
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        rows = [
            {"user_id": f"user{person}", "item_id": f"item{item}", "viewed_at": at}
            for person, item in zip(people.tolist(), items.tolist(), strict=True)
        ]
        connection.request("POST", "/v1/events/views", msgspec.json.encode(rows), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        said: dict[str, Any] = msgspec.json.decode(answer.read())
        if answer.status != 202 or not said["heeded"]:
            raise SystemExit(f"the server answered {answer.status}: {said}")
        n += said["accepted"]
    taken.append(n)


def heeded_after(port: int, tries: int) -> list[float]:
    """Seconds from posting an event to the first answer that no longer shows its item, for as many strangers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(method: str, path: str, body: object) -> dict[str, Any]:
        connection.request(method, path, msgspec.json.encode(body), {"Content-Type": "application/json"})
        found: dict[str, Any] = msgspec.json.decode(connection.getresponse().read())
        return found

    delays = []
    for n in range(tries):
        user = f"stranger{os.getpid()}x{n}"
        shown = ask("POST", f"/v1/recommend/{serve.MODEL}", {"user": user, "n": 5})["items"][0]["item"]
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        began = time.monotonic()
        ask("POST", "/v1/events/views", [{"user_id": user, "item_id": shown, "viewed_at": at}])
        while True:
            items = ask("POST", f"/v1/recommend/{serve.MODEL}", {"user": user, "n": 5})["items"]
            if shown not in {one["item"] for one in items}:
                break
            if time.monotonic() - began > 5:
                raise SystemExit("an event was not heeded within five seconds")
        delays.append(time.monotonic() - began)
    return delays


def while_serving(seconds: float) -> None:
    """Events per second and recommendations per second, in one server with one worker."""
    with tempfile.TemporaryDirectory(prefix="tidemill-fold-in-") as place:
        stores, overrides = serve.build(Path(place), 50_000, 100_000)
        with start(serve_plan(stores.settings, overrides=overrides)) as server:
            server.wait_ready(120)
            pid = int(next((stores.serving_root / "workers").glob("*.json")).stem)
            script = serve.RECOMMEND % (49_999, serve.MODEL)
            serve.load(server, pid, 2, script)
            alone, _ = serve.load(server, pid, seconds / 2, script)
            taken: list[int] = []
            spent, began = serve.cpu_us(pid), time.monotonic()
            clients = [threading.Thread(target=posting, args=(server.port, seconds, 1_000, taken, n)) for n in range(2)]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            only, us = sum(taken) / (time.monotonic() - began), (serve.cpu_us(pid) - spent) / max(sum(taken), 1)
            taken.clear()
            began = time.monotonic()
            client = threading.Thread(target=posting, args=(server.port, seconds, 1_000, taken, 9))
            client.start()
            beside, _ = serve.load(server, pid, seconds - 1, script)
            client.join()
            rate = sum(taken) / (time.monotonic() - began)
            delays = heeded_after(server.port, 50)
    print("\none worker, 100,000 items; events come in requests of 1,000, each of another person")
    print(f"events alone               {only:10,.0f} a second, {us:.0f} CPU µs each (durable, sealed, counted)")
    print(f"answers alone              {alone:10,.0f} a second")
    print(f"both at once: events       {rate:10,.0f} a second, answers {beside:,.0f} a second")
    print(f"ratio of events to 10,000  {rate / 10_000:10.2f}")
    slowest, usual = max(delays) * 1000, statistics.median(delays) * 1000
    print(f"an event is heeded after   {usual:10.1f} ms (median), {slowest:.1f} ms at most")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("TIDEMILL_TEST_DATA") or ROOT.parent / "shared/data")
    )
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--part", choices=["learning", "serving", "all"], default="all")
    asked = parser.parse_args()
    if asked.part in ("learning", "all"):
        if not (asked.data / "amazon").is_dir():
            sys.exit(f"no real data in {asked.data}: give --data or TIDEMILL_TEST_DATA")
        against_learning("MovieLens-100k", movielens(asked.data), asked.users)
        against_learning("Amazon Beauty 2014", beauty(asked.data), asked.users)
    if asked.part in ("serving", "all"):
        while_serving(asked.seconds)


if __name__ == "__main__":
    main()
