"""Demo worlds: a simulated shop with known ground truth, and a file of real reviews."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import pyarrow.compute as pc

from tidemill.core.clock import to_micros
from tidemill.core.contract.contract import Contract
from tidemill.core.errors import UsageError
from tidemill.core.source_read import ReadRequest
from tidemill.sources import FileSource, Shop


class DemoWorld(Protocol):
    """The source of the demo's rows and customers; files are written to the project's `data/`."""

    #: The sources of the settings, and the last day of the history at the start.
    sources: dict[str, str]
    history_until: date
    #: The days that are ingested one by one, and the one with a broken delivery.
    days: list[date]
    bad_day: date
    #: Raw ids of the customers who send requests.
    customers: list[str]

    def open(self, data: Path) -> None:
        """Write the history."""
        ...

    def arrive(self, data: Path, day: date) -> None:
        """Write the rows that arrive on a day."""
        ...

    def takes(self, customer: str, items: Sequence[str], day: date) -> list[str]:
        """The shown items that the customer takes."""
        ...

    def true_hit_rate(self, customer: str, items: Sequence[str], day: date) -> tuple[float, float] | None:
        """The true probability that the customer's next choice is among the items, and that of the best list."""
        ...


class SimulatedShop:
    """Customers with known tastes, power-law items, new items, weekly seasons, drift, a few bots."""

    def __init__(self, *, history_days: int = 120, lived: int = 4, seed: int = 7) -> None:
        self._shop = Shop(f"shop:?seed={seed}&customers=3000&items=800&days={history_days + lived}")
        start = self._shop.start
        self.sources = {
            "reviews": "file:data/reviews*.csv.gz?columns=item_id,user_id,rating,reviewed_at:unix_s",
            "items": "file:data/items*.jsonl.gz",
        }
        self.history_until = start + timedelta(days=history_days - 1)
        self.days = [start + timedelta(days=history_days + day) for day in range(lived)]
        self.bad_day = self.days[1]
        bots = self._shop.bots
        people = [customer for customer in self._shop.customers if customer not in bots]
        self.customers = people[:: max(1, len(people) // 400)]

    def open(self, data: Path) -> None:
        day = self._shop.start
        while day <= self.history_until:
            self.arrive(data, day)
            day += timedelta(days=1)

    def arrive(self, data: Path, day: date) -> None:
        self._shop.write_reviews(data, day, bad=True if day == self.bad_day else None)
        self._shop.write_items(data, day)

    def takes(self, customer: str, items: Sequence[str], day: date) -> list[str]:
        return [response.item for response in self._shop.respond(customer, items, day) if response.taken]

    def true_hit_rate(self, customer: str, items: Sequence[str], day: date) -> tuple[float, float] | None:
        return self._shop.hit_rate(customer, items, day), self._shop.oracle(customer, day, len(items)).hit_rate


class RealReviews:
    """Reviews from a file; the last `lived` days are ingested one by one."""

    def __init__(
        self, reviews: Path, items: Path | None, contract: Contract, *, lived: int = 20, seed: int = 7
    ) -> None:
        for file in (reviews, items):
            if file is not None and not file.is_file():
                raise UsageError(f"there is no file {file}")
        self._reviews, self._items, self._seed = reviews, items, seed
        self.sources = {"reviews": "file:data/reviews*", "items": "file:data/items*" if items else "events:"}
        rows = (
            FileSource(f"file:{reviews.resolve()}", contract, reviews.parent)
            .read(ReadRequest())
            .good.sort_by(contract.event_time)
        )
        if not rows.num_rows:
            raise UsageError(f"{reviews} has no readable reviews")
        last: date = pc.max(rows["_day"]).as_py()
        self.history_until = last - timedelta(days=lived)
        self.days = [self.history_until + timedelta(days=1 + day) for day in range(lived)]
        self.bad_day = self.days[lived // 2]
        person, thing = contract.role("subject")[0], contract.role("item")[0]
        recent = rows.slice(max(0, rows.num_rows - 4000))
        self._later = dict.fromkeys(zip(recent[person].to_pylist(), recent[thing].to_pylist(), strict=True))
        self._sample = list(self._later)
        self.customers = list(dict.fromkeys(recent[person].to_pylist()))[-400:]

    def open(self, data: Path) -> None:
        shutil.copyfile(self._reviews, data / f"reviews{''.join(self._reviews.suffixes[-2:])}")
        if self._items is not None:
            shutil.copyfile(self._items, data / f"items{''.join(self._items.suffixes[-2:])}")

    def arrive(self, data: Path, day: date) -> None:
        """The rows are already in the file; on the bad day a broken delivery is added: wrong scale, every row twice."""
        if day != self.bad_day:
            return
        at = to_micros(datetime.fromisoformat(f"{day}T00:00:00+00:00")) // 1_000_000
        random = np.random.default_rng(self._seed)
        chosen = random.integers(0, len(self._sample), 60)
        lines = [
            msgspec.json.encode(
                {
                    "asin": self._sample[i][1],
                    "reviewerID": self._sample[i][0],
                    "overall": float(random.integers(20, 101)),
                    "unixReviewTime": at,
                }
            )
            for i in chosen.tolist()
        ]
        (data / f"reviews-{day}.json").write_bytes(b"\n".join(line for line in lines for _ in range(2)) + b"\n")

    def takes(self, customer: str, items: Sequence[str], day: date) -> list[str]:
        """The items that the customer reviewed at the end of the file: the only outcomes in reviews."""
        return [item for item in items if (customer, item) in self._later]

    def true_hit_rate(self, customer: str, items: Sequence[str], day: date) -> tuple[float, float] | None:
        return None
