"""World model of the simulated shop: customers' preferences, the catalogue, and the rate of visits.

An item has a taste vector near that of its category, and a power-law appeal; a customer has a taste vector that drifts
slowly from one direction to another. The next choice is a softmax over the items for sale and not yet bought: appeal,
novelty, and the cosine of item and taste (McFadden's conditional logit).
"""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from tidemill.sources.simulated_shop.shop_url import ShopUrl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

CATEGORIES = (
    "Arts", "Business", "Cooking", "Crafts", "Fashion", "Gardening",
    "History", "Music", "Nature", "Science", "Sports", "Travel",
)  # fmt: skip
_DIMENSIONS = 8
_TASTE = 6.0  # weight of taste in the logit: large enough that a good recommender beats popularity
_WEEK = np.array([0.8, 0.8, 0.9, 1.0, 1.1, 1.3, 1.2])  # Monday first
_NEW_DAYS = 14.0


class ShopWorld:
    """The fixed state for the given options. Arrays are indexed by item or customer."""

    def __init__(self, url: ShopUrl) -> None:
        self.url = url
        random = np.random.default_rng([url.seed, 0])
        centres = _unit(random.normal(size=(len(CATEGORIES), _DIMENSIONS)))
        self._draw_items(random, centres)
        self._draw_customers(random, centres)
        self._draw_stock(random)
        self.targets = random.choice(url.items, size=min(3, url.items), replace=False)
        self.item_ids = [f"M{number:06d}" for number in range(url.items)]
        self.customer_ids = [_name(url.seed, number) for number in range(url.customers)]
        #: Customers that are bots, and the first day of each one's three active weeks.
        self.bot_days = {
            int(who): int(day)
            for who, day in zip(
                random.choice(url.customers, size=min(url.bots, url.customers), replace=False),
                random.integers(0, max(1, url.days - 21), size=url.bots),
                strict=False,
            )
        }

    def _draw_items(self, random: np.random.Generator, centres: Floats) -> None:
        n = self.url.items
        self.category = random.integers(0, len(CATEGORIES), n)
        self.places = _unit(centres[self.category] + 0.22 * random.normal(size=(n, _DIMENSIONS)))  # (items, d)
        self.appeal = -0.8 * np.log(1 + random.permutation(n))  # log of a power law over ranks
        self.price = np.round(4 + 20 * random.beta(2, 5, n), 2)
        old = random.random(n) < 0.75
        self.appears = np.where(old, 0, random.integers(1, max(2, self.url.days), n))  # day of first sale
        self.appears[int(np.argmax(self.appeal))] = 0

    def _draw_customers(self, random: np.random.Generator, centres: Floats) -> None:
        n = self.url.customers
        first, second, later = (random.integers(0, len(CATEGORIES), n) for _ in range(3))
        share = random.uniform(0.5, 1, n)[:, None]
        noise = 0.2 * random.normal(size=(n, _DIMENSIONS))
        self._taste = _unit(share * centres[first] + (1 - share) * centres[second] + noise)  # (customers, d)
        self._turn = _unit(centres[later] + noise)
        self._drift = random.uniform(0, 0.6, n)
        self.activity = np.minimum(random.pareto(1.6, n) + 0.15, 12)
        self.activity *= n / self.activity.sum()
        self.joins = np.where(random.random(n) < 0.6, 0, random.integers(0, max(1, self.url.days), n))
        self.mood = 0.4 * random.normal(size=n)  # rating bias of the customer

    def _draw_stock(self, random: np.random.Generator) -> None:
        """Draw periods without stock: bool (items, days), true where the item is in stock."""
        self._stock = np.ones((self.url.items, self.url.days), dtype=np.bool_)
        spells = random.poisson(self.url.days / 150, self.url.items)
        for item in np.flatnonzero(spells):
            for begin in random.integers(1, max(2, self.url.days), spells[item]):
                self._stock[item, begin : begin + int(random.integers(3, 11))] = False

    def tastes(self, customers: Ints, day: int) -> Floats:
        """Unit taste vectors (customers, d) on a day."""
        share = (self._drift[customers] * min(day, self.url.days) / self.url.days)[:, None]
        return _unit((1 - share) * self._taste[customers] + share * self._turn[customers])

    def in_stock(self, day: int) -> Bools:
        """Mask of items that can be bought on a day; items that have not appeared yet cannot."""
        return np.asarray((self.appears <= day) & self._stock[:, day % self.url.days])

    def utilities(self, affinity: Floats, day: int) -> Floats:
        """Logits (customers, items) of the next choice from their affinities, -inf where the item is not for sale."""
        novelty = np.log1p(2 * np.exp(-np.maximum(day - self.appears, 0) / _NEW_DAYS))
        scores: Floats = _TASTE * affinity + (self.appeal + novelty)
        scores[:, ~self.in_stock(day)] = -np.inf
        return scores

    def affinity(self, customers: Ints, day: int) -> Floats:
        """Cosines (customers, items) of taste and item, -1 to 1."""
        # einsum instead of BLAS, whose threads cost more than these few products and sum in no fixed order
        return np.asarray(np.einsum("cd,id->ci", self.tastes(customers, day), self.places))

    def stars(self, customers: Ints, affinity: Floats) -> Floats:
        """Mean rating, 1 to 5, for an affinity; the first axis of `affinity` is the customer."""
        mood = self.mood[customers].reshape(-1, *([1] * (affinity.ndim - 1)))
        return np.asarray(1 + 4 / (1 + np.exp(-(0.3 + 1.8 * affinity + mood))))

    def visits(self, day: int, random: np.random.Generator) -> Ints:
        """The number of ratings of each customer on a day, int64 (customers,)."""
        week = _WEEK[(self.url.start.weekday() + day) % 7]
        present = (self.joins <= day) & ~np.isin(np.arange(self.url.customers), list(self.bot_days))
        return np.asarray(random.poisson(self.url.rate * week * self.activity * present), dtype=np.int64)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


def _name(seed: int, number: int) -> str:
    return "shopper-" + hashlib.sha256(f"{seed}/{number}".encode()).hexdigest()[:12]
