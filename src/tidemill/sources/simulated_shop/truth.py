"""Ground truth of the simulated shop: true preferences, the best slate, true responses."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from tidemill.core.clock import from_micros
from tidemill.core.errors import UnknownName
from tidemill.sources.simulated_shop.shop_days import ItemState, ShopDays, ShopRating, spoiled
from tidemill.sources.simulated_shop.shop_url import ShopUrl, parse_shop_url
from tidemill.sources.simulated_shop.world import CATEGORIES, Floats, ShopWorld

Form = Literal["csv", "jsonl"]


class ShopTruth(NamedTuple):
    """The ground truth for one customer and one item on a day."""

    #: Probability that it is the customer's next choice, over all items for sale and not yet bought.
    preference: float
    #: Mean rating (stars) that the customer would give.
    expected_rating: float
    #: Probability that it is taken when shown first in a slate.
    chance: float
    in_stock: bool
    bought: bool


class ShopOracle(NamedTuple):
    """The best slate of any recommender."""

    items: tuple[str, ...]
    #: Probability that the customer's next choice is in the slate: the upper bound of the hit rate.
    hit_rate: float


class ShopResponse(NamedTuple):
    """A customer's response to one item of a slate."""

    item: str
    position: int
    #: The true probability that it is taken at this position.
    chance: float
    taken: bool
    #: Stars given, where taken.
    rating: float | None


class Shop:
    """A simulated shop: the rows of each day, and the ground truth.

    Days are UTC days. `day` means the end of that day, after all its purchases.

    >>> shop = Shop("shop:?seed=7&customers=50&items=40")
    >>> best = shop.oracle(shop.customers[0], shop.start, 10)
    >>> len(best.items)
    10
    """

    def __init__(self, url: ShopUrl | str = "shop:") -> None:
        self.url = parse_shop_url(url) if isinstance(url, str) else url
        self._world = ShopWorld(self.url)
        self._days = ShopDays(self._world)
        self._customer = {name: number for number, name in enumerate(self.customers)}
        self._item = {name: number for number, name in enumerate(self.items)}

    @property
    def start(self) -> date:
        """The first day."""
        return self.url.start

    @property
    def customers(self) -> list[str]:
        """Raw identifiers of all customers of all days, including bots."""
        return self._world.customer_ids

    @property
    def items(self) -> list[str]:
        """Identifiers of all items of all days; arrays of preferences are in this order."""
        return self._world.item_ids

    @property
    def bots(self) -> set[str]:
        """The customers that are bots."""
        return {self.customers[number] for number in self._world.bot_days}

    def category(self, item: str) -> str:
        """An item's category."""
        return CATEGORIES[self._world.category[self._number(item, self._item)]]

    def preferences(self, user: str, day: date) -> Floats:
        """Probability of each item (items,) to be the customer's next choice; 0 where bought or not for sale."""
        customer, number = self._number(user, self._customer), self._days.number(day)
        scores = self._world.utilities(self._world.affinity(np.array([customer]), number), number)[0]
        scores[self._days.bought(customer, number)] = -np.inf
        if not np.isfinite(scores).any():
            return np.zeros(len(self.items))
        weights = np.exp(scores - scores.max())
        return np.asarray(weights / weights.sum())

    def truth(self, user: str, item: str, day: date) -> ShopTruth:
        """The ground truth for a customer and an item; `UnknownName` where there is no such customer or item."""
        customer, thing, number = (
            self._number(user, self._customer),
            self._number(item, self._item),
            self._days.number(day),
        )
        affinity = self._world.affinity(np.array([customer]), number)
        return ShopTruth(
            preference=float(self.preferences(user, day)[thing]),
            expected_rating=float(self._world.stars(np.array([customer]), affinity)[0, thing]),
            chance=float(self._chances(customer, np.array([thing]), number)[0]),
            in_stock=bool(self._world.in_stock(number)[thing]),
            bought=thing in self._days.bought(customer, number),
        )

    def oracle(self, user: str, day: date, n: int) -> ShopOracle:
        """The n items that the customer is most likely to choose next."""
        preferences = self.preferences(user, day)
        best = np.argsort(-preferences, kind="stable")[:n]
        best = best[preferences[best] > 0]
        return ShopOracle(tuple(self.items[item] for item in best), float(preferences[best].sum()))

    def hit_rate(self, user: str, slate: Sequence[str], day: date) -> float:
        """Probability that the customer's next choice is in a slate; at most `oracle(…).hit_rate`."""
        preferences = self.preferences(user, day)
        return float(sum(preferences[self._number(item, self._item)] for item in dict.fromkeys(slate)))

    def respond(self, user: str, slate: Sequence[str], day: date, *, draw: int = 0) -> list[ShopResponse]:
        """The customer's response to a slate; deterministic for the same arguments, with a new sample for each `draw`.

        The probability of each item is the probability that its position is examined, 1 / log2(position + 1) (the
        discount of NDCG), times the probability that an examined item is taken, which rises with its true affinity.
        """
        customer, number = self._number(user, self._customer), self._days.number(day)
        things = np.array([self._number(item, self._item) for item in slate], dtype=np.int64)
        random = np.random.default_rng([self.url.seed, 2, customer, number % 2**32, draw])
        chances = self._chances(customer, things, number) / np.log2(np.arange(len(things)) + 2)
        taken = random.random(len(things)) < chances
        mean = self._world.stars(np.array([customer]), self._world.affinity(np.array([customer]), number)[:, things])[0]
        stars = np.clip(np.rint(mean + random.normal(0, 0.7, len(things))), 1, 5)
        return [
            ShopResponse(item, n + 1, float(chances[n]), bool(taken[n]), float(stars[n]) if taken[n] else None)
            for n, item in enumerate(slate)
        ]

    def reviews(self, day: date, *, bad: bool | None = None) -> list[dict[str, Any]]:
        """Lines that arrive on a day: `user_id`, `item_id`, `rating`, `at` (microseconds).

        `bad=True` returns them as a faulty producer sends them, `bad=False` without faults; `None`: the URL's `bad`.
        """
        number = self._days.number(day)
        ratings = self._days.deliveries(number) if bad is None else self._days.arrivals(number)
        return [self._review(rating) for rating in (spoiled(ratings) if bad else ratings)]

    def items_changed(self, day: date) -> list[dict[str, Any]]:
        """Items that are new or whose stock changed on a day: `item_id`, `category`, `in_stock`, `price`, `at`."""
        return [self._state(state) for state in self._days.shelf(self._days.number(day))]

    def write_reviews(self, folder: Path, day: date, *, bad: bool | None = None, form: Form = "csv") -> Path:
        """Write a day's delivery as `reviews-DAY.csv.gz` (item,user,rating,unix seconds) or `.jsonl.gz`; its path.

        Read it with `file:FOLDER/reviews*.csv.gz?columns=item_id,user_id,rating,reviewed_at:unix_s`.
        """
        rows = self.reviews(day, bad=bad)
        if form == "csv":
            lines = [f"{row['item_id']},{row['user_id']},{row['rating']},{row['at'] // 1_000_000}" for row in rows]
        else:
            lines = [msgspec.json.encode(_spoken(row, "reviewed_at")).decode() for row in rows]
        return _write(folder / f"reviews-{day}.{form}.gz", lines)

    def write_items(self, folder: Path, day: date) -> Path | None:
        """Write a day's changed items as `items-DAY.jsonl.gz`; `None` on a day without changes."""
        rows = self.items_changed(day)
        if not rows:
            return None
        return _write(
            folder / f"items-{day}.jsonl.gz", [msgspec.json.encode(_spoken(row, "updated_at")).decode() for row in rows]
        )

    def _chances(self, customer: int, things: np.ndarray, day: int) -> Floats:
        affinity = self._world.affinity(np.array([customer]), day)[0, things]
        able = self._world.in_stock(day)[things] & ~np.isin(things, self._days.bought(customer, day))
        return np.asarray(able * 0.6 / (1 + np.exp(-8 * (affinity - 0.55))))

    def _review(self, rating: ShopRating) -> dict[str, Any]:
        return {
            "user_id": self.customers[rating.customer],
            "item_id": self.items[rating.item],
            "rating": rating.stars,
            "at": rating.at,
        }

    def _state(self, state: ItemState) -> dict[str, Any]:
        return {**state._asdict(), "item_id": self.items[state.item]}

    def _number(self, name: str, known: dict[str, int]) -> int:
        if name not in known:
            raise UnknownName(
                "the simulated shop has no such customer or item", tip="`customers` and `items` list them"
            )
        return known[name]


@lru_cache(maxsize=4)
def shop_of(url: ShopUrl) -> Shop:
    """The shop of a URL; its simulated days are cached in this process."""
    return Shop(url)


def _spoken(row: dict[str, Any], time: str) -> dict[str, Any]:
    """A line of output: with an ISO 8601 time, and without indices."""
    kept = {name: value for name, value in row.items() if name not in ("at", "item")}
    return {**kept, time: from_micros(row["at"]).isoformat()}


def _write(path: Path, lines: list[str]) -> Path:
    """Write a gzip file atomically; the same lines give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for line in lines).encode()
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_bytes(gzip.compress(text, mtime=0))
    return unfinished.rename(path)
