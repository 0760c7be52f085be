"""Days of the simulated shop: its ratings, new items and item changes."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import numpy as np

from tidemill.core.clock import to_micros
from tidemill.sources.simulated_shop.world import CATEGORIES, Bools, Ints, ShopWorld

_MINUTE = 60_000_000
_AGAIN = 0.02  # share of ratings that repeat an item the customer has rated before


class ShopRating(NamedTuple):
    """One line of the reviews as it arrives; customer and item are indices."""

    at: int
    customer: int
    item: int
    stars: float


class ItemState(NamedTuple):
    """One line of the items' snapshot, valid from `at` (microseconds) on."""

    at: int
    item: int
    category: str
    in_stock: bool
    price: float


class ShopDays:
    """Simulates a world day by day, each day with its own seed; days are cached."""

    def __init__(self, world: ShopWorld) -> None:
        self.world = world
        self._bought: list[dict[int, int]] = [{} for _ in range(world.url.customers)]  # item -> day, per customer
        self._arrivals: dict[int, list[ShopRating]] = {}
        self._played = 0

    def number(self, day: date) -> int:
        """Days since the shop opened; negative before."""
        return (day - self.world.url.start).days

    def arrivals(self, day: int) -> list[ShopRating]:
        """The ratings that arrive on a day: its own except late ones, late ones of earlier days, and duplicates."""
        while self._played <= day:
            self._play(self._played)
            self._played += 1
        return self._arrivals.get(day, [])

    def deliveries(self, day: int) -> list[ShopRating]:
        """The ratings of a day as the producer sends them, corrupted on the URL's `bad` day."""
        ratings = self.arrivals(day)
        return spoiled(ratings) if self.world.url.start + timedelta(days=day) == self.world.url.bad else ratings

    def bought(self, customer: int, day: int) -> Ints:
        """Items that a customer has rated by the end of a day."""
        self.arrivals(day)
        return np.array([item for item, when in self._bought[customer].items() if when <= day], dtype=np.int64)

    def shelf(self, day: int) -> list[ItemState]:
        """Items that appeared or whose stock changed on a day; on the first day, all items."""
        if day < 0:
            return []
        now = self.world.in_stock(day)
        before: Bools = self.world.in_stock(day - 1) if day else np.zeros_like(now)
        changed = (now != before) & (self.world.appears <= day)
        if day == 0:
            changed = self.world.appears == 0
        at = self._midnight(day)
        return [
            ItemState(
                at, int(item), CATEGORIES[self.world.category[item]], bool(now[item]), float(self.world.price[item])
            )
            for item in np.flatnonzero(changed)
        ]

    def _midnight(self, day: int) -> int:
        return to_micros(datetime.combine(self.world.url.start + timedelta(days=day), time(), UTC))

    def _play(self, day: int) -> None:
        url = self.world.url
        random = np.random.default_rng([url.seed, 1, day])
        ratings = [*self._visits(day, random), *self._bots(day, random)]
        fate = random.random((len(ratings), 2))
        delay = random.integers(1, 6, len(ratings))
        for (late, again), days, rating in zip(fate, delay, ratings, strict=True):
            due = day + int(days) if late < url.late else day
            self._arrivals.setdefault(due, []).append(rating)
            if again < url.repeated:
                self._arrivals.setdefault(due + int(again * 1e6) % 2, []).append(rating)
        self._arrivals.setdefault(day, []).sort()

    def _visits(self, day: int, random: np.random.Generator) -> list[ShopRating]:
        """In rounds, because an item bought in one round is not chosen in the next."""
        left = self.world.visits(day, random)
        ratings: list[ShopRating] = []
        while (who := np.flatnonzero(left)).size:
            left[who] -= 1
            ratings += self._round(day, who, random)
        return ratings

    def _round(self, day: int, who: Ints, random: np.random.Generator) -> list[ShopRating]:
        world = self.world
        liking = world.affinity(who, day)
        scores = world.utilities(liking, day)
        scores += random.gumbel(size=scores.shape)  # Gumbel-max: the largest is a draw from the softmax
        for row, customer in enumerate(who):
            bought = list(self._bought[customer])
            if bought and random.random() < _AGAIN:
                scores[row] = -np.inf
                scores[row, bought] = random.gumbel(size=len(bought))
            else:
                scores[row, bought] = -np.inf
        items = scores.argmax(axis=1)
        able = np.isfinite(scores.max(axis=1))
        affinity = liking[np.arange(who.size), items]
        stars = np.clip(np.rint(world.stars(who, affinity) + random.normal(0, 0.7, who.size)), 1, 5)
        minutes = np.clip(random.normal(16 * 60, 200, who.size), 0, 1439).astype(np.int64)
        start = self._midnight(day)
        ratings = []
        for n in np.flatnonzero(able):
            self._bought[int(who[n])].setdefault(int(items[n]), day)
            ratings.append(ShopRating(start + int(minutes[n]) * _MINUTE, int(who[n]), int(items[n]), float(stars[n])))
        return ratings

    def _bots(self, day: int, random: np.random.Generator) -> list[ShopRating]:
        """Five stars for the target items, and for some popular items as camouflage."""
        world, start = self.world, self._midnight(day)
        ratings = []
        for bot, begin in sorted(world.bot_days.items()):
            if not begin <= day < begin + 21:
                continue
            popular = random.choice(np.argsort(-world.appeal)[: max(1, world.url.items // 20)], size=3)
            for item in {*world.targets.tolist(), *popular.tolist()}:
                if world.appears[item] <= day and item not in self._bought[bot]:
                    self._bought[bot][item] = day
                    at = start + int(random.integers(0, 1440)) * _MINUTE
                    ratings.append(ShopRating(at, bot, int(item), 5.0))
        return ratings


def spoiled(ratings: list[ShopRating]) -> list[ShopRating]:
    """The same ratings as a faulty producer sends them: on a scale to 100, each twice."""
    wrong = [rating._replace(stars=rating.stars * 20) for rating in ratings]
    return [rating for rating in wrong for _ in range(2)]
