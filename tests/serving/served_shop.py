"""A small shop with real stores: two tastes, sixty items, a learned recommender, and releases to promote."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import tidemill.core.settings as settings_module
from tidemill.core.clock import SystemClock, to_micros
from tidemill.core.contract.contract import Event, event_time, item, subject
from tidemill.core.contract.contract import field as column
from tidemill.core.identity.account import Account
from tidemill.core.records.release import Card, Release
from tidemill.loop.project.stores import Stores, open_stores
from tidemill.loop.serve.server_processes import serve_plan
from tidemill.models import Interactions, cooccurrence, learn, write_recommender
from tidemill.models.slates.slate_spec import SlateSpec, diverse, eligible, nearest, popular, slate, trending, unseen
from tidemill.serving import ServedStream, ServerPlan, switch, write_streams
from tidemill.serving.live.kill_switch import heal_switch

MODEL = "for_you"
DAY = 86_400_000_000
#: The last day of the shop's history; items and users are drawn from a seed, so every shop is the same one.
END = datetime(2026, 6, 1, tzinfo=UTC)
ITEMS = [f"item{i:02d}" for i in range(60)]
OUT_OF_STOCK = {"item03", "item33"}


class Review(Event):
    user_id: str = subject()
    item_id: str = item()
    rating: float = column(ge=1, le=5)
    reviewed_at: datetime = event_time(zone="UTC")


def default_slate() -> SlateSpec:
    return slate(
        retrieve=[nearest(50), trending(days=7)],
        filter=[unseen(), eligible("in_stock")],
        order=[diverse(by="category")],
        fallback=popular(days=30),
    )


@dataclass
class Shop:
    stores: Stores
    #: (user, item, time) of the published history.
    events: list[tuple[str, str, int]]
    overrides: dict[str, Any] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.stores.serving_root

    def token(self, user: str) -> str:
        return self.stores.surrogates("user_id", user)

    def seen(self, user: str) -> set[str]:
        return {item for who, item, _ in self.events if who == user}

    def plan(self) -> ServerPlan:
        return serve_plan(self.stores.settings, overrides=self.overrides)

    def publish(self, version: str = "1", in_stock: Mapping[str, bool] | None = None) -> None:
        """Leave the views that a run leaves."""
        latest = self.stores.latest
        stock = {name: name not in OUT_OF_STOCK for name in ITEMS} | dict(in_stock or {})
        facts = {
            "item_id": ITEMS,
            "category": [f"c{i % 5}" for i in range(len(ITEMS))],
            "in_stock": [stock[name] for name in ITEMS],
        }
        latest.write("facts", "item_id", pa.table(facts), version)
        latest.write(f"{MODEL}.history", "user_id", histories(self.stores, self.events), version)
        latest.write(f"{MODEL}.items", "item_id", counts(self.events), version)

    def release(self, spec: SlateSpec | None = None, *, seed: int = 0, **more: Any) -> Release:
        """A release of a bundle that differs with `seed`."""
        spec = spec or default_slate()
        views = {"facts": ("category", "in_stock")}
        folder = self.stores.state / f"bundle-{seed}"
        if not folder.exists():
            write_recommender(learned(self.events, seed), folder, self.stores.search())
        card = Card(
            model=MODEL, helps="Readers.", could_harm="Narrow choice.", learner="cooccurrence",
            parameters={"seed": seed}, evaluation=None, data={}, n_rows=len(self.events), n_users=0, n_items=0,
            learned_at=seed, as_of=to_micros(END),
        )  # fmt: skip
        return self.stores.releases.create(
            MODEL, folder, spec.rules(views), card, facts=spec.facts(views), modules=spec.modules(), **more
        )

    def promote(self, release: Release) -> Release:
        promoted = self.stores.releases.promote(release.name)
        heal_switch(self.root, MODEL, self.stores.ledger)
        return promoted

    def turn(self, *, off: bool) -> None:
        """Use the kill switch while the ledger may be away."""
        turn(self.stores, MODEL, off=off)


def turn(stores: Stores, model: str, *, off: bool) -> None:
    switch(
        stores.serving_root, model, off=off, account=Account(name="ada"), why="odd", clock=SystemClock(),
        keys=stores.keys, ledger=None,
    )  # fmt: skip


def history(seed: int = 7) -> list[tuple[str, str, int]]:
    """Events of 80 users: those with an even number like the first half of the items, the others the second."""
    draw = random.Random(seed)
    found = []
    for user in range(80):
        liked = ITEMS[:30] if user % 2 == 0 else ITEMS[30:]
        for _ in range(draw.randint(2, 8)):
            at = END - timedelta(days=draw.random() * 60)
            found.append((f"user{user}@example.org", draw.choice(liked), to_micros(at)))
    return sorted(set(found), key=lambda event: (event[0], event[2], event[1]))


def histories(stores: Stores, events: list[tuple[str, str, int]]) -> pa.Table:
    rows: dict[str, tuple[list[str], list[int]]] = {}
    for user, item_id, at in events:
        items, times = rows.setdefault(stores.surrogates("user_id", user), ([], []))
        items.append(item_id)
        times.append(at)
    return pa.table(
        {
            "user_id": list(rows),
            "items": [items for items, _ in rows.values()],
            "times": [at for _, at in rows.values()],
        }
    )


def counts(events: list[tuple[str, str, int]]) -> pa.Table:
    daily: dict[str, dict[int, int]] = {}
    for _, item_id, at in events:
        days = daily.setdefault(item_id, {})
        days[at // DAY] = days.get(at // DAY, 0) + 1
    names = sorted(daily)
    return pa.table(
        {
            "item_id": names,
            "n_all": pa.array([sum(daily[name].values()) for name in names], pa.int64()),
            "days": pa.array([sorted(daily[name]) for name in names], pa.list_(pa.int32())),
            "counts": pa.array(
                [[daily[name][day] for day in sorted(daily[name])] for name in names], pa.list_(pa.int32())
            ),
        }
    )


def learned(events: list[tuple[str, str, int]], seed: int) -> Any:
    """A recommender; another seed drops some events, so that it is another bundle."""
    kept = [event for i, event in enumerate(events) if not seed or i % (seed + 7)]
    rows = pa.table(
        {
            "user_id": [user for user, _, _ in kept],
            "item_id": [item_id for _, item_id, _ in kept],
            "reviewed_at": pa.array(np.array([at for _, _, at in kept]), pa.int64()),
        }
    )
    events_ = Interactions.from_arrow(rows, user="user_id", item="item_id", time="reviewed_at")
    return learn(cooccurrence(), events_, to_micros(END) + DAY)


def open_shop(folder: Path, **serve: Any) -> Shop:
    """A shop in an empty folder; `serve` are settings of the server."""
    folder.mkdir(parents=True, exist_ok=True)
    overrides = {"keys": str(folder.parent / f"{folder.name}-keys"), "search": "exact"}
    overrides |= {f"serve.{name}": value for name, value in serve.items()}
    settings = settings_module.load(folder, overrides=overrides, environ={})
    stores = open_stores(folder, settings, SystemClock(), name="shop")
    shop = Shop(stores, history(), overrides)
    shop.publish()
    write_streams(shop.root, {"reviews": ServedStream(contract=Review.contract, feeds=(MODEL,))}, shop.stores.keys)
    return shop
