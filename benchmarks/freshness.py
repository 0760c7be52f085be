"""What freshness is worth: Amazon Beauty day by day through the loop, its model frozen, refreshed weekly, and daily.

    OMP_NUM_THREADS=1 python benchmarks/freshness.py [--learner cooccurrence|blend]… [--data FOLDER] [--days N]
                                                     [--svg FILE]

198,502 events, 5-core. Everything before the day of T, the 0.9 quantile of the times, is brought in as a backfill,
learned and promoted. Then day by day: users whose last event lies on the day and after T (6,110 in all) are asked of
the champion before the day is brought in, with every earlier event as history (of the same day too, in the file's
order); the full catalogue is ranked, what they had is dropped, and the last event is the one target, a miss where the
catalogue does not have it. Then the day is brought in. Counts of what is taken are live for every policy.

Both learners have the settings of `benchmarks/beauty.py`, chosen on windows before T whose histories go on to the
question, as they do here: the co-occurrence is the blend's member `session`, without popularity. `tm.cooccurrence()`
would choose its open settings on windows whose histories end where the window begins, that is for people who return;
here 36% of the last events come on the day of the one before. A refresh of the blend leaves the trees and the spectral
vectors as they were learned. What its trees are asked while they learn is a sample in the order of the people's
pseudonyms, which differ from project to project, so its figures move a little from one play to the next.

The file holds people and items with five events or more in all. An item with few so far is bound to come again, most of
all near the file's end: look at the weeks before the last two as well.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.csv as csv

from tidemill.core.clock import FixedClock
from tidemill.core.records.release import Release
from tidemill.core.settings import load
from tidemill.loop.pipeline.run import run
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.project import load_mill
from tidemill.loop.project.recovery import recover_live_files
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.training.train import train
from tidemill.models import EventFacts, SlateEngine, open_recommender
from tidemill.models.learners.blend import blended

ROOT = Path(__file__).resolve().parent.parent
EVENTS = "amazon/beauty_5core_2014_events.csv.gz"
DAY_US = 86_400_000_000
K = 10
SESSION = msgspec.structs.replace(blended()["session"], popularity_share=0.0, popularity_half_life="30 days")
#: As they stand in mill.py.
LEARNERS = {
    "cooccurrence": f"tm.cooccurrence(**{SESSION.settings()})",
    "blend": "tm.blend()",
}
POLICIES = {"frozen": None, "weekly": "7 days", "daily": "1 day"}
COLOURS = {"frozen": "#888", "weekly": "#4a7ebb", "daily": "#c0504d"}

MILL = """
from datetime import datetime
import tidemill as tm

mill = tm.Mill("beauty")

class Review(tm.Event):
    user_id: str = tm.subject()
    item_id: str = tm.item()
    reviewed_at: datetime = tm.event_time(zone="UTC")

reviews = mill.stream("reviews", Review, key=("user_id", "item_id", "reviewed_at"))

for_you = mill.recommender(
    "for_you",
    interactions=reviews,
    learn=LEARNER,
    slate=tm.slate(retrieve=[tm.nearest(200)], filter=[tm.unseen()], fallback=tm.popular(days=30)),
    helps="Customers find things that they would not have looked for.",
    could_harm="Narrow choice; crowding out small makers.",
    refresh=REFRESH,
)
"""


@dataclass(frozen=True)
class History:
    """The events in the file's order, by user; and the users to ask."""

    item: np.ndarray  # of str
    time: np.ndarray  # microseconds
    day: np.ndarray  # days since 1970
    order: np.ndarray  # positions by user, then time, then place in the file
    starts: np.ndarray
    split: int

    @classmethod
    def read(cls, file: Path) -> History:
        rows = csv.read_csv(file)
        time_us = np.asarray(rows["unix_ts"]).astype(np.int64) * 1_000_000
        _, user = np.unique(np.asarray(rows["user"]), return_inverse=True)
        order = np.lexsort((np.arange(len(user)), time_us, user))
        starts = np.concatenate(([0], np.cumsum(np.bincount(user))))
        item = np.asarray(rows["item"]).astype(str)
        split = int(np.quantile(time_us, 0.9, method="higher"))
        return cls(item, time_us, time_us // DAY_US, order, starts, split)

    def asked_on(self, day: int) -> list[np.ndarray]:
        """The events of each user whose last one lies on the day, and after T; oldest first."""
        last = self.order[self.starts[1:] - 1]
        asked = (self.day[last] == day) & (self.time[last] > self.split)
        return [self.order[self.starts[user] : self.starts[user + 1]] for user in np.flatnonzero(asked)]


@dataclass
class Told:
    """What a policy answered, user by user, and what its days cost."""

    ranks: list[int] = field(default_factory=list)  # place of the target from 0; K or more is a miss
    weeks: list[int] = field(default_factory=list)
    ingest_s: list[float] = field(default_factory=list)
    refresh_s: list[float] = field(default_factory=list)  # one for each refresh
    answer_s: float = 0.0

    def hits(self) -> np.ndarray:
        return np.array(self.ranks) < K

    def gains(self) -> np.ndarray:
        ranks = np.array(self.ranks)
        return np.where(ranks < K, 1 / np.log2(2 + np.minimum(ranks, K)), 0.0)


class Mill:
    """A project on disk, played day by day."""

    def __init__(self, folder: Path, learner: str, refresh: str | None) -> None:
        self.folder = folder
        text = MILL.replace("LEARNER", LEARNERS[learner]).replace("REFRESH", repr(refresh))
        (folder / "mill.py").write_text(text.strip() + "\n")

    def open(self) -> tuple[Stores, ProjectGraph]:
        mill = load_mill(self.folder)
        stores = open_stores(
            self.folder, load(self.folder, environ={}), FixedClock(datetime(2026, 1, 1, tzinfo=UTC)), name=mill.name
        )
        return stores, ProjectGraph(mill, stores.engine, self.folder)

    def bring_in(self, until: date, told: Told) -> None:
        stores, graph = self.open()
        views_made = time.process_time()

        def progress(what: str, details: dict[str, Any]) -> None:
            nonlocal views_made
            if what in ("increment", "features"):
                views_made = time.process_time()

        started = time.process_time()
        report = run(stores, graph, until=until, progress=progress)
        assert not report.held
        told.ingest_s.append(views_made - started)
        if report.refreshed:
            told.refresh_s.append(time.process_time() - views_made)


class Asked:
    """The champion of a project, opened once for each release, with live counts."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._opened: dict[str, Any] = {}
        self.spent_s = 0.0  # CPU seconds of answering, without opening and counting

    def answers(self, stores: Stores, release: Release, day: int, users: Sequence[np.ndarray]) -> list[int]:
        """The place of each user's last item in the answer."""
        if release.name not in self._opened:
            self._opened = {release.name: open_recommender(stores.releases.bundle(release.bundle))}
        recommender = self._opened[release.name]
        told = self._history
        known = told.day < day
        names, codes = np.unique(told.item[known], return_inverse=True)
        catalogue = [*recommender.items, *sorted(set(names.tolist()) - set(recommender.items))]
        place = {item: code for code, item in enumerate(catalogue)}
        items = np.array([place[name] for name in names.tolist()], np.int32)[codes]
        facts = EventFacts(catalogue, item=items, time=told.time[known], as_of=day * DAY_US)
        engine = SlateEngine(recommender, release.rules, facts)
        places = []
        started = time.process_time()
        for events in users:
            before, target = events[:-1], told.item[events[-1]]
            answer = engine.answer(told.item[before].tolist(), told.time[before].tolist(), K, as_of=day * DAY_US)
            places.append(answer.items.index(target) if target in answer.items else K)
        self.spent_s += time.process_time() - started
        return places


def begin(folder: Path, learner: str, file: Path, until: date) -> Release:
    """A project with everything up to `until` ingested, trained and promoted."""
    (folder / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{folder / "keys"}"\nsearch = "exact"\n[laptop.sources]\n'
        f'reviews = "file:{file}?columns=user_id=user,item_id=item,reviewed_at=unix_ts:unix_s"\n'
    )
    stores, graph = Mill(folder, learner, None).open()
    started = time.process_time()
    run(stores, graph, until=until, backfill=True)
    print(f"backfill up to {until}: {time.process_time() - started:.1f} CPU s")
    started = time.process_time()
    made = train(stores, graph, "for_you")
    print(f"{learner}: trained in {time.process_time() - started:.1f} CPU s")
    promoted = stores.releases.promote(made.release.name)
    recover_live_files(stores)
    return promoted


def interval(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """The 95% bootstrap interval of the mean over users."""
    rng = np.random.default_rng(seed)
    means = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(1_000)]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def show(policies: dict[str, Told]) -> None:
    frozen = next(iter(policies.values()))
    span = f"{'95% interval':>16}"
    print(f"\n{'policy':<8} {'users':>6} {'HR@10':>7} {span} {'NDCG@10':>8} {span}   over frozen")
    for name, told in policies.items():
        hits, gains = told.hits().astype(float), told.gains()
        spans = ["{:.4f} to {:.4f}".format(*interval(values)) for values in (hits, gains)]
        more = hits - frozen.hits()
        apart = "" if told is frozen else "{:+.4f} ({:+.4f} to {:+.4f})".format(more.mean(), *interval(more))
        figures = f"{hits.mean():>7.4f} {spans[0]:>16} {gains.mean():>8.4f} {spans[1]:>16}"
        print(f"{name:<8} {len(hits):>6} {figures}   {apart}")
    print(f"\n{'CPU':<8} {'ingest a day':>14} {'a refresh':>12} {'refreshes':>10} {'an answer':>12}")
    for name, told in policies.items():
        ingest = f"{np.mean(told.ingest_s):.3f} s" if told.ingest_s else ""
        refresh = f"{np.mean(told.refresh_s):.3f} s" if told.refresh_s else ""
        answer = f"{told.answer_s / len(told.ranks) * 1e6:.0f} µs"
        print(f"{name:<8} {ingest:>14} {refresh:>12} {len(told.refresh_s):>10} {answer:>12}")
    print("\nHR@10 by week after T")
    print(f"{'week':>4} {'users':>6}  " + "  ".join(f"{name:>7}" for name in policies) + "  daily")
    for week in sorted(set(frozen.weeks)):
        here = np.array(frozen.weeks) == week
        figures = [told.hits()[here].mean() for told in policies.values()]
        bars = "  ".join("█" * round(200 * figure) or "▏" for figure in figures[-1:])
        print(f"{week:>4} {here.sum():>6}  " + "  ".join(f"{figure:>7.4f}" for figure in figures) + f"  {bars}")


def draw(found: dict[str, dict[str, Told]], file: Path) -> None:
    """HR@10 by week of each policy as lines in an SVG, one panel for each learner, all on the same scale."""
    wide, height, left, top = 380, 320, 50, 40
    lines = {learner: {name: by_week(told) for name, told in policies.items()} for learner, policies in found.items()}
    most = max(max(line) for policies in lines.values() for line in policies.values()) * 1.1
    size = f'width="{wide * len(lines)}" height="{height}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">']
    parts.append('<rect width="100%" height="100%" fill="#fff"/>')
    for place, (learner, policies) in enumerate(lines.items()):
        parts.append(f'<g transform="translate({place * wide})"><text x="{left}" y="20">{learner}</text>')
        for share in (0, 0.5, 1):
            y = top + (height - 90) * (1 - share)
            parts.append(f'<line x1="{left}" x2="{wide - 70}" y1="{y}" y2="{y}" stroke="#ddd"/>')
            parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{most * share:.2f}</text>')
        below = 0.0
        for name, line in sorted(policies.items(), key=lambda one: one[1][-1]):
            xs = [left + (wide - 120) * i / max(1, len(line) - 1) for i in range(len(line))]
            ys = [top + (height - 90) * (1 - value / most) for value in line]
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
            below = min(ys[-1], below - 14) if below else ys[-1]  # names do not lie on each other
            parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[name]}" stroke-width="2"/>')
            parts.append(f'<text x="{xs[-1] + 6:.1f}" y="{below + 4:.1f}" fill="{COLOURS[name]}">{name}</text>')
        for week in sorted({1, len(line) // 2 + 1, len(line)}):
            x = left + (wide - 120) * (week - 1) / max(1, len(line) - 1)
            parts.append(f'<text x="{x:.1f}" y="{height - 32}" text-anchor="middle">{week}</text>')
        parts.append(f'<text x="{left}" y="{height - 12}">HR@10 by week after learning</text></g>')
    file.write_text("\n".join([*parts, "</svg>"]))


def by_week(told: Told) -> list[float]:
    """HR@10 of each week."""
    weeks = np.array(told.weeks)
    return [float(told.hits()[weeks == week].mean()) for week in sorted(set(told.weeks))]


def play(learner: str, file: Path, history: History, days: int | None) -> dict[str, Told]:
    """Bring in every day under each policy, and ask before it."""
    day_of_split = history.split // DAY_US
    first = datetime.fromtimestamp(history.split / 1e6, UTC).date()
    n_days = int(history.day.max()) - day_of_split + 1 if days is None else days
    place = Path(tempfile.mkdtemp(prefix="tidemill-freshness-"))
    try:
        (place / "weekly").mkdir()
        shutil.copy(file, place / "events.csv.gz")
        learned = begin(place / "weekly", learner, place / "events.csv.gz", first - timedelta(days=1))
        assert learned.card.as_of <= history.split
        shutil.copytree(place / "weekly", place / "daily")
        policies = {name: Told() for name in POLICIES}
        mills = {name: Mill(place / name, learner, every) for name, every in POLICIES.items() if every}
        asked = {name: Asked(history) for name in policies}
        for n in range(n_days):
            day = day_of_split + n
            users = history.asked_on(day)
            for name, told in policies.items():
                stores, _ = mills.get(name, mills["weekly"]).open()
                release = stores.releases.champion("for_you") if name in mills else learned
                assert release is not None
                told.ranks += asked[name].answers(stores, release, day, users)
                told.answer_s = asked[name].spent_s
                told.weeks += [n // 7 + 1] * len(users)
            for name, mill in mills.items():
                mill.bring_in(first + timedelta(days=n), policies[name])
        print(f"T = {first}; {n_days} days; every earlier event of a user is history")
        show(policies)
        bundles = sum(f.stat().st_size for f in (place / "daily" / ".tidemill" / "blobs").rglob("*") if f.is_file())
        print(f"\nbundles kept by the daily project: {bundles / 1e6:.0f} MB\n", flush=True)
        return policies
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--learner", action="append", choices=LEARNERS, help="by default both, one after the other")
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("TIDEMILL_TEST_DATA") or ROOT.parent / "shared/data")
    )
    parser.add_argument("--days", type=int, help="stop after so many days")
    parser.add_argument("--svg", type=Path, help="draw HR@10 by week into this file")
    given = parser.parse_args()
    file = (given.data / EVENTS).resolve()
    if not file.is_file():
        sys.exit(f"no real data in {given.data}: give --data or TIDEMILL_TEST_DATA")
    history = History.read(file)
    learners = given.learner or list(LEARNERS)
    found = {learner: play(learner, file, history, given.days) for learner in learners}
    if given.svg is not None:
        draw(found, given.svg)


if __name__ == "__main__":
    main()
