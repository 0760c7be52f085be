"""What freshness is worth: Amazon Beauty day by day through the loop, its model frozen, refreshed weekly, and daily.

    python benchmarks/freshness.py EVENTS.csv.gz [--days N] [--svg FILE]

EVENTS has the columns unix_ts, date, user, item and pos (Amazon Beauty 2014, 5-core: 198,502 events). Everything before
T, the 0.9 quantile of the times, is brought in as a backfill, learned with settings chosen before T, and promoted. Then
day by day: users whose last event lies on the day and after T (6,110 in all) are asked of the champion before the day
is brought in, with every earlier event as history (of the same day too, in the file's order); the full catalogue is
ranked, what they had is dropped, and the last event is the one target, a miss where the catalogue does not have it.
Then the day is brought in.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as csv

from tidemill.core.clock import FixedClock
from tidemill.core.records import Release
from tidemill.core.settings import load
from tidemill.loop.graph import Graph
from tidemill.loop.house import House, open_house
from tidemill.loop.learn import learn
from tidemill.loop.project import load_mill
from tidemill.loop.run import run
from tidemill.models import EventFacts, SlateEngine, open_recommender

DAY_US = 86_400_000_000
K = 10

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
    learn=tm.cooccurrence(factors=0, spectral_share=0.0, neighbours=500, trend=0.2),
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
    refresh_s: list[float] = field(default_factory=list)
    refreshes: int = 0

    def hits(self) -> np.ndarray:
        return np.array(self.ranks) < K

    def gains(self) -> np.ndarray:
        ranks = np.array(self.ranks)
        return np.where(ranks < K, 1 / np.log2(2 + np.minimum(ranks, K)), 0.0)


class Mill:
    """A project on disk, played day by day."""

    def __init__(self, folder: Path, refresh: str | None) -> None:
        self.folder = folder
        text = MILL.replace("REFRESH", repr(refresh))
        (folder / "mill.py").write_text(text.strip() + "\n")

    def open(self) -> tuple[House, Graph]:
        mill = load_mill(self.folder)
        house = open_house(
            self.folder, load(self.folder, environ={}), FixedClock(datetime(2026, 1, 1, tzinfo=UTC)), name=mill.name
        )
        return house, Graph(mill, house.engine, self.folder)

    def bring_in(self, until: date, told: Told) -> None:
        house, graph = self.open()
        views_made = time.process_time()

        def tell(what: str, details: dict[str, Any]) -> None:
            nonlocal views_made
            if what in ("increment", "features"):
                views_made = time.process_time()

        started = time.process_time()
        report = run(house, graph, until=until, tell=tell)
        assert not report.held
        told.ingest_s.append(views_made - started)
        told.refresh_s.append(time.process_time() - views_made)
        told.refreshes += len(report.refreshed)


class Asked:
    """The champion of a project, opened once for each release, with live counts."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._opened: dict[str, Any] = {}

    def answers(self, house: House, release: Release, day: int, users: Sequence[np.ndarray]) -> list[int]:
        """The place of each user's last item in the answer."""
        if release.name not in self._opened:
            self._opened = {release.name: open_recommender(house.releases.bundle(release.bundle))}
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
        for events in users:
            before, target = events[:-1], told.item[events[-1]]
            answer = engine.answer(told.item[before].tolist(), told.time[before].tolist(), K)
            places.append(answer.items.index(target) if target in answer.items else K)
        return places


def begin(folder: Path, file: Path, until: date) -> Release:
    """A project with everything up to `until` brought in, learned and promoted."""
    (folder / "tidemill.toml").write_text(
        f'[laptop]\nkeys = "{folder / "keys"}"\nsearch = "exact"\n[laptop.sources]\n'
        f'reviews = "file:{file}?columns=user_id=user,item_id=item,reviewed_at=unix_ts:unix_s"\n'
    )
    house, graph = Mill(folder, None).open()
    started = time.process_time()
    run(house, graph, until=until, backfill=True)
    print(f"backfill up to {until}: {time.process_time() - started:.1f} CPU s")
    started = time.process_time()
    made = learn(house, graph, "for_you")
    print(f"learned: {time.process_time() - started:.1f} CPU s; {made.card.parameters}")
    return house.releases.promote(made.release.name)


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
    print(f"\n{'CPU s a day':<12} {'ingest':>8} {'refresh':>8} {'refreshes':>10}")
    for name, told in policies.items():
        if told.ingest_s:
            refresh = sum(told.refresh_s)
            print(
                f"{name:<12} {np.mean(told.ingest_s):>8.3f} {refresh / len(told.refresh_s):>8.3f} {told.refreshes:>10}"
                f"   {refresh / max(1, told.refreshes):.3f} CPU s each"
            )
    print("\nHR@10 by week after T")
    print(f"{'week':>4} {'users':>6}  " + "  ".join(f"{name:>7}" for name in policies) + "  daily")
    for week in sorted(set(frozen.weeks)):
        here = np.array(frozen.weeks) == week
        figures = [told.hits()[here].mean() for told in policies.values()]
        bars = "  ".join("█" * round(200 * figure) or "▏" for figure in figures[-1:])
        print(f"{week:>4} {here.sum():>6}  " + "  ".join(f"{figure:>7.4f}" for figure in figures) + f"  {bars}")


def draw(policies: dict[str, Told], file: Path) -> None:
    """HR@10 by week of each policy as lines in an SVG."""
    width, height, left, top = 640, 320, 50, 20
    weeks = sorted(set(next(iter(policies.values())).weeks))
    lines = {
        name: [told.hits()[np.array(told.weeks) == week].mean() for week in weeks] for name, told in policies.items()
    }
    most = max(max(line) for line in lines.values()) * 1.1
    looks = f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {looks}>']
    for share in (0, 0.5, 1):
        y = top + (height - 70) * (1 - share)
        parts.append(f'<line x1="{left}" x2="{width - 70}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{most * share:.2f}</text>')
    for (name, line), colour in zip(lines.items(), ("#888", "#4a7ebb", "#c0504d"), strict=True):
        xs = [left + (width - 120) * i / max(1, len(weeks) - 1) for i in range(len(weeks))]
        ys = [top + (height - 70) * (1 - value / most) for value in line]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{xs[-1] + 6:.1f}" y="{ys[-1] + 4:.1f}" fill="{colour}">{name}</text>')
    parts += [f'<text x="{left}" y="{height - 20}">HR@10 by week after learning</text>', "</svg>"]
    file.write_text("\n".join(parts))


def main(file: Path, days: int | None, svg: Path | None) -> None:
    history = History.read(file)
    first = datetime.fromtimestamp(history.split / 1e6, UTC).date()
    end = int(history.day.max())
    n_days = end - history.split // DAY_US + 1 if days is None else days
    place = Path(tempfile.mkdtemp(prefix="tidemill-freshness-"))
    try:
        (place / "weekly").mkdir()
        shutil.copy(file, place / "events.csv.gz")
        learned = begin(place / "weekly", place / "events.csv.gz", first - timedelta(days=1))
        assert learned.card.as_of <= history.split
        shutil.copytree(place / "weekly", place / "daily")
        mills = {"weekly": Mill(place / "weekly", "7 days"), "daily": Mill(place / "daily", "1 day")}
        policies = {"frozen": Told(), "weekly": Told(), "daily": Told()}
        asked = {name: Asked(history) for name in policies}
        for n in range(n_days):
            day = history.split // DAY_US + n
            users = history.asked_on(day)
            for name, told in policies.items():
                house, _ = mills.get(name, mills["weekly"]).open()
                release = house.releases.champion("for_you") if name in mills else learned
                assert release is not None
                told.ranks += asked[name].answers(house, release, day, users)
                told.weeks += [n // 7 + 1] * len(users)
            for name, mill in mills.items():
                mill.bring_in(first + timedelta(days=n), policies[name])
        print(f"T = {first}; {n_days} days; settings chosen before T; every earlier event of a user is history")
        show(policies)
        bundles = sum(f.stat().st_size for f in (place / "daily" / ".tidemill" / "blobs").rglob("*") if f.is_file())
        print(f"\nbundles kept by the daily project: {bundles / 1e6:.0f} MB")
        if svg is not None:
            draw(policies, svg)
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("events", type=Path)
    parser.add_argument("--days", type=int, help="stop after so many days")
    parser.add_argument("--svg", type=Path, help="draw HR@10 by week into this file")
    given = parser.parse_args()
    main(given.events.resolve(), given.days, given.svg)
