"""A hundred thousand requests through two swaps, a rollback, the crash of a worker, and the switch off and on.

No request may fail that a retry does not answer, no answer may mix releases or come short, and every answer that was
given stands in the log.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from served_shop import MODEL, OUT_OF_STOCK, Shop, open_shop

from tidemill.serving import start, wait_live

pytestmark = pytest.mark.slow
REQUESTS = 100_000
CONNECTIONS = 8
USERS = 4_000
TRIES = 6


class Told(msgspec.Struct):
    item: str
    score: float
    reason: str


class Answer(msgspec.Struct):
    prediction_id: str
    release: str
    switch: str
    items: list[Told]
    logged: bool


decode = msgspec.json.Decoder(Answer).decode


class Tally:
    def __init__(self) -> None:
        self.ids: Counter[str] = Counter()
        self.releases: Counter[str] = Counter()
        self.switches: Counter[str] = Counter()
        #: prediction id -> the answer's items, to hold repeats against each other.
        self.answers: dict[str, tuple[str, ...]] = {}
        self.retries = 0
        self.failures: list[str] = []
        self.wrong: list[str] = []


class Connection:
    """HTTP/1.1 by hand: one request at a time on a raw socket, opened again when it breaks."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, body: bytes) -> tuple[int, bytes]:
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        writer.write(
            b"POST /v1/recommend/%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (MODEL.encode(), len(body), body)
        )
        head = await reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        at = lowered.index(b"content-length: ") + 16
        found = await reader.readexactly(int(lowered[at : lowered.index(b"\r\n", at)]))
        if b"connection: close" in lowered:
            self.drop()
        return int(head[9:12]), found

    def drop(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
        self.streams = None


async def customer(port: int, numbers: AsyncIterator[int], tally: Tally, seen: dict[str, set[str]]) -> None:
    connection = Connection(port)
    async for i in numbers:
        user = f"user{i % USERS}@example.org"
        body = msgspec.json.encode({"user": user, "n": 10})
        for _ in range(TRIES):
            try:
                status, content = await connection.ask(body)
            except (OSError, asyncio.IncompleteReadError) as error:
                tally.retries += 1
                last = repr(error)
                connection.drop()
                await asyncio.sleep(0.05)
                continue
            if status == 200:
                note(tally, decode(content), seen.get(user, set()))
                break
            tally.retries += 1
            last = f"{status} {content[:200]!r}"
            await asyncio.sleep(0.2)
        else:
            tally.failures.append(last)
    connection.drop()


def note(tally: Tally, answer: Answer, seen: set[str]) -> None:
    shown = tuple(told.item for told in answer.items)
    tally.ids[answer.prediction_id] += 1
    tally.releases[answer.release] += 1
    tally.switches[answer.switch] += 1
    if len(shown) != 10 or len(set(shown)) != 10 or set(shown) & (seen | OUT_OF_STOCK) or not answer.logged:
        tally.wrong.append(f"{answer.release}: {shown}")
    before = tally.answers.setdefault(answer.prediction_id, shown)
    if before != shown:
        tally.wrong.append(f"{answer.prediction_id} had two answers")


class Numbers:
    """Hands out the requests' numbers, and says when a share of them has been asked."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.next = 0

    async def __aiter__(self) -> AsyncIterator[int]:
        while self.next < self.total:
            self.next += 1
            yield self.next - 1

    async def reached(self, share: float) -> None:
        while self.next < share * self.total:
            await asyncio.sleep(0.01)


async def disturb(shop: Shop, numbers: Numbers, releases: list[Any]) -> list[str]:
    """Everything that happens meanwhile, each at its share of the requests."""
    said = []

    async def live(name: str) -> None:
        await asyncio.to_thread(wait_live, shop.root, MODEL, name, 60)
        said.append(name)

    def throw(*, off: bool) -> None:
        shop.turn(off=off)

    await numbers.reached(0.1)
    await asyncio.to_thread(shop.promote, releases[1])
    await live(releases[1].name)
    await numbers.reached(0.3)
    await asyncio.to_thread(shop.promote, releases[2])
    await live(releases[2].name)
    await numbers.reached(0.5)
    before = await asyncio.to_thread(shop.stores.releases.rollback, MODEL)
    await live(before.name)
    await numbers.reached(0.65)
    victim = min(int(path.stem) for path in (shop.root / "workers").glob("*.json"))
    os.kill(victim, signal.SIGKILL)
    await numbers.reached(0.8)
    throw(off=True)
    await numbers.reached(0.9)
    throw(off=False)
    return said


@asynccontextmanager
async def customers(port: int, numbers: Numbers, tally: Tally, seen: dict[str, set[str]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(customer(port, aiter(numbers), tally, seen)) for _ in range(CONNECTIONS)]
    yield
    await asyncio.gather(*tasks)


def test_a_hundred_thousand_requests_through_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = open_shop(tmp_path / "project", port=0, workers=2, drain_s=0.3, slot_s=20)
    releases = [shop.release(seed=seed) for seed in range(3)]
    shop.promote(releases[0])
    seen = {user: shop.seen(user) for user, _, _ in shop.events}
    tally, numbers = Tally(), Numbers(REQUESTS)

    async def all_of_it(port: int) -> list[str]:
        async with customers(port, numbers, tally, seen):
            return await disturb(shop, numbers, releases)

    with start(shop.plan()) as server:
        server.wait_ready(120)
        began = time.monotonic()
        said = asyncio.run(all_of_it(server.port))
        took = time.monotonic() - began

    assert tally.failures == [] and tally.wrong == []
    assert sum(tally.ids.values()) == REQUESTS
    assert said == [releases[1].name, releases[2].name, releases[1].name]
    assert set(tally.releases) == {release.name for release in releases}
    assert tally.switches["off"] > 0 and tally.switches["on"] > tally.switches["off"]
    rows = shop.stores.lake.log("predictions")
    assert rows is not None
    kinds = Counter(rows["kind"].to_pylist())
    full = {
        row["prediction_id"]: row
        for row in rows.select(["prediction_id", "kind", "items", "release"]).to_pylist()
        if row["items"]
    }
    assert set(full) >= set(tally.ids), "an answer was given that is not in the log"
    assert all(tuple(full[name]["items"]) == shown for name, shown in tally.answers.items())
    assert rows.num_rows >= REQUESTS and kinds["repeat"] > 0 and kinds["fallback"] > 0
    with capsys.disabled():
        print(f"\n{REQUESTS:,} requests in {took:.0f} s, {tally.retries} retried, kinds {dict(kinds)}")
