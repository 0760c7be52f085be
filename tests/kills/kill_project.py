"""A project with a recommender and a tabular model, whose days come in one by one."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

FIRST = date(2024, 1, 1)
#: Days that are ingested before anything is served.
BACKFILLED = 20
USERS, ITEMS, CUSTOMERS = 40, 15, 120
FOR_YOU, BUYS = "for_you", "buys"

_MILL = '''"""The project of the kill driver."""

from datetime import datetime

import narwhals as nw

import tidemill as tm

mill = tm.Mill("kills")


class Review(tm.Event):
    user_id: str = tm.subject()
    item_id: str = tm.item()
    rating: float = tm.field(ge=1, le=5)
    reviewed_at: datetime = tm.event_time(zone="UTC")


class Item(tm.Event):
    item_id: str = tm.item()
    updated_at: datetime = tm.event_time(zone="UTC")
    category: str | None = None
    in_stock: bool = True


class Visit(tm.Event):
    customer: str = tm.subject()
    visits: int = tm.field(ge=0)
    spent: float = tm.field(ge=0)
    plan: str | None = None
    bought: str | None = None
    seen_at: datetime = tm.event_time(zone="UTC")


reviews = mill.stream("reviews", Review, key=("user_id", "item_id", "reviewed_at"))
items = mill.snapshot("items", Item, key="item_id")
visits = mill.stream("visits", Visit, key=("customer", "seen_at"))


@mill.table(by=["user_id", "item_id"])
def ratings(reviews):
    return reviews.unique(["user_id", "item_id"], keep="last", order_by=["reviewed_at", "_row"])


mill.check(ratings, tm.between("rating", 1, 5, share=0.95))


@mill.features(entity="user_id", window="90 days", every="1 day", ttl="2 days")
def taste(ratings):
    return ratings.group_by("user_id").agg(n_ratings=nw.len(), mean_rating=nw.col("rating").mean())


@mill.features(entity="item_id")
def facts(items):
    return items.select("item_id", "category", "in_stock", "updated_at")


for_you = mill.recommender(
    "for_you",
    interactions=ratings,
    items=items,
    features=[taste, facts],
    learn=tm.cooccurrence(
        factors=0, spectral_share=0.0, damping=0.25, half_life="60 days", gap="100 days", backward=0.7,
        recency="30 days", popularity_share=0.2, popularity_half_life="30 days",
    ),
    refresh="1 day",
    slate=tm.slate(
        retrieve=[tm.nearest(200), tm.trending(days=7)],
        filter=[tm.unseen(), tm.eligible("in_stock", missing=True)],
        order=[tm.diverse(by="category")],
        fallback=tm.popular(days=30),
    ),
    helps="Customers.",
    could_harm="Nobody.",
)

buys = mill.model(
    "buys",
    examples=visits,
    target="bought",
    positive="yes",
    inputs=["visits", "spent", "plan"],
    learn=tm.auto(minutes=0.05),
    helps="Customers.",
    could_harm="Nobody.",
)
'''


@dataclass(frozen=True)
class KillProject:
    """The project's folder, beside its keys."""

    path: Path

    def write(self) -> None:
        """The files of a project with `BACKFILLED` days that are due."""
        data = self.path / "data"
        data.mkdir(parents=True)
        (self.path / "mill.py").write_text(_MILL)
        (self.path / "tidemill.toml").write_text(
            f'[laptop]\nkeys = "{self.path.parent / "keys"}"\nsearch = "exact"\nserve.drain_s = 0.2\n'
            "[laptop.sources]\n"
            'reviews = "file:data/reviews*?columns=item_id,user_id,rating,reviewed_at:unix_s"\n'
            'items = "file:data/items.jsonl"\n'
            'visits = "file:data/visits*.csv?header=true"\n'
        )
        (data / "items.jsonl").write_text(
            "".join(
                f'{{"item_id": "i{i}", "updated_at": "2023-12-31T00:00:00Z", "category": "c{i % 3}"}}\n'
                for i in range(ITEMS)
            )
        )
        for number in range(BACKFILLED):
            self.write_day(number)

    def write_day(self, number: int) -> date:
        """The files of a day, the same each time, and the day."""
        draw, day = random.Random(number), day_of(number)
        second = int(datetime(day.year, day.month, day.day, 1, tzinfo=UTC).timestamp())
        reviews = [
            f"i{draw.randrange(ITEMS)},u{draw.randrange(USERS)},{draw.randint(1, 5)}.0,{second + i}\n"
            for i in range(15)
        ]
        visits = ["customer,visits,spent,plan,bought,seen_at\n"]
        for i in range(CUSTOMERS // BACKFILLED * 2):
            n, spent, plan = draw.randint(0, 20), round(draw.uniform(0, 200), 2), draw.choice(["gold", "plain"])
            bought = "yes" if draw.random() < (0.8 if n > 10 and plan == "gold" else 0.2) else "no"
            visits.append(f"c{number}-{i},{n},{spent},{plan},{bought},{day}T02:{i:02}:00Z\n")
        for name, lines in ((f"reviews-{number:04}.csv", reviews), (f"visits-{number:04}.csv", visits)):
            file = self.path / "data" / name
            partial = file.with_name(f"{name}.part")
            partial.write_text("".join(lines))
            partial.rename(file)
        return day


def day_of(number: int) -> date:
    """The day of a number, from 0 on."""
    return FIRST + timedelta(days=number)
