"""Contract suite of `EventLog` back-ends. Override `make`.

Some tests use several processes. They are started by `spawn`, so the class that overrides `make` must be at the top
level of a module.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tidemill.core.errors import TidemillError
from tidemill.core.ports import EventLog, LoggedEvent


class EventLogSuite:
    """One test per guarantee of the port."""

    def make(self, root: Path) -> EventLog:
        """A log under `root`. Calls with the same root, from any process, give the same log."""
        raise NotImplementedError

    def test_nothing_is_there_at_first(self, tmp_path: Path) -> None:
        found = self.make(tmp_path).read("reviews")
        assert found.events == ()
        assert self.make(tmp_path).read("reviews", found.positions).events == ()

    def test_events_come_back_exactly_and_in_order(self, tmp_path: Path) -> None:
        payloads = [b"one", bytes(range(256)), b"\0" * 40, os.urandom(100_000)]
        writer = self.make(tmp_path).writer("reviews")
        writer.write(*payloads[:2])
        asyncio.run(writer.append(*payloads[2:]))
        assert payloads_of(self.make(tmp_path)) == payloads
        writer.close()
        writer.write(b"again")
        writer.close()
        assert payloads_of(self.make(tmp_path)) == [*payloads, b"again"]

    def test_streams_are_apart(self, tmp_path: Path) -> None:
        log = self.make(tmp_path)
        for stream in ("reviews", "loans"):
            log.writer(stream).write(stream.encode())
        assert [event.payload for event in log.read("reviews").events] == [b"reviews"]

    @pytest.mark.parametrize("limit", [1, 3, 7, 100])
    def test_a_reader_goes_on_from_a_position(self, tmp_path: Path, limit: int) -> None:
        """Read in steps while two writers write alternately: every event is read exactly once."""
        log, found = self.make(tmp_path), list[LoggedEvent]()
        positions: Mapping[str, str] = {}
        writers = [log.writer("reviews"), log.writer("reviews")]
        for turn in range(10):
            for number, writer in enumerate(writers):
                writer.write(b"%d-%d" % (number, turn))
            if turn == 5:
                writers[0].close()
            batch = log.read("reviews", positions, limit)
            assert len(batch.events) <= limit
            found, positions = [*found, *batch.events], batch.positions
        while (batch := self.make(tmp_path).read("reviews", positions, limit)).events:
            found, positions = [*found, *batch.events], batch.positions
        assert len(found) == 20
        for number in range(2):  # each writer's order is kept
            mine = [event.payload for event in found if event.payload.startswith(b"%d-" % number)]
            assert mine == [b"%d-%d" % (number, turn) for turn in range(10)]

    def test_an_event_has_the_same_name_in_every_read(self, tmp_path: Path) -> None:
        log = self.make(tmp_path)
        writer = log.writer("reviews")
        writer.write(b"a", b"b")
        first = log.read("reviews", limit=1)
        writer.write(b"c")
        log.writer("reviews").write(b"d")
        stepwise = [*first.events, *log.read("reviews", first.positions).events]
        names = {(event.partition, event.number): event.payload for event in stepwise}
        assert len(names) == 4 and min(number for _, number in names) == 1
        assert {(event.partition, event.number): event.payload for event in log.read("reviews").events} == names

    def test_of_a_refused_batch_nothing_is_there(self, tmp_path: Path) -> None:
        log = self.make(tmp_path)
        writer = log.writer("reviews")
        writer.write(b"before")
        with pytest.raises(ValueError):
            writer.write(b"in the batch", b"")
        writer.write(b"after")
        assert payloads_of(log) == [b"before", b"after"]

    def test_appends_that_wait_together_are_all_there(self, tmp_path: Path) -> None:
        log = self.make(tmp_path)

        async def append_all() -> None:
            writer = log.writer("reviews")
            await asyncio.gather(*(writer.append(b"%d" % number, b"%d." % number) for number in range(100)))
            writer.close()

        asyncio.run(append_all())
        assert payloads_of(log) == [part for number in range(100) for part in (b"%d" % number, b"%d." % number)]

    @pytest.mark.parametrize("durable", [True, False], ids=["append", "write"])
    def test_nothing_that_was_acknowledged_is_lost_with_its_writers(self, tmp_path: Path, durable: bool) -> None:
        """Kill two writers at an arbitrary moment: acknowledged events are stored in order, and no event is torn."""
        context = multiprocessing.get_context("spawn")
        children = [
            context.Process(target=_write_until_killed, args=(self.make, tmp_path, name, durable)) for name in "ab"
        ]
        for child in children:
            child.start()
        for name in "ab":
            told_file = tmp_path / f"told {name}"
            while not told_file.exists() or not told_file.stat().st_size:
                assert all(child.is_alive() for child in children)
                time.sleep(0.002)
        time.sleep(0.02)
        for child in children:
            os.kill(child.pid or 0, signal.SIGKILL)
            child.join()
        log = self.make(tmp_path / "log")
        found = payloads_of(log)
        for name in "ab":
            told = (tmp_path / f"told {name}").read_text().split()
            mine = [payload for payload in found if payload.startswith(name.encode())]
            assert len(told) <= len(mine) and told
            assert mine == [_payload(name, number) for number in range(len(mine))]
        log.writer("reviews").write(b"after")
        assert sorted(payloads_of(log)) == sorted([*found, b"after"])

    @pytest.mark.parametrize("stream", ["", ".", "..", "a/b", "../a", "/a", ".hidden"])
    def test_other_names_of_streams_are_refused(self, tmp_path: Path, stream: str) -> None:
        log = self.make(tmp_path)
        for act in (log.read, lambda stream: log.writer(stream).write(b"x")):
            with pytest.raises(TidemillError):
                act(stream)


def payloads_of(log: EventLog) -> list[bytes]:
    """All payloads of the stream `reviews`."""
    return [event.payload for event in log.read("reviews", limit=1_000_000).events]


def _payload(name: str, number: int) -> bytes:
    return f"{name}{number}".encode() * 500


def _write_until_killed(make: Callable[[Path], EventLog], folder: Path, name: str, durable: bool) -> None:
    asyncio.run(_write_all(make, folder, name, durable))


async def _write_all(make: Callable[[Path], EventLog], folder: Path, name: str, durable: bool) -> None:
    writer = make(folder / "log").writer("reviews", durable=durable)
    with (folder / f"told {name}").open("a") as told:
        for number in range(1_000_000):
            if durable:
                await writer.append(_payload(name, number))
            else:
                writer.write(_payload(name, number))
            told.write(f"{number}\n")
            told.flush()
