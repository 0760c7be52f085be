"""From segments to tables, each record exactly once, whatever dies in between."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import tidemill.core.settings as settings_module
from tidemill.core.clock import FixedClock
from tidemill.core.records.prediction import Outcome, Prediction, ScoredItem
from tidemill.core.storage.segments import read_frames, segment_files
from tidemill.feedback import (
    OUTCOMES,
    PREDICTIONS,
    LogWriter,
    SegmentLog,
    damaged_records,
    log_writer,
    outcome_schema,
    prediction_schema,
)
from tidemill.loop.project.stores import Stores, open_stores

CLOCK = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


def prediction(i: int, n: int = 2) -> Prediction:
    return Prediction(
        prediction_id=f"{i:032x}", model="m", release="m@1", arm="champion", policy="single", propensity=1.0,
        served_at=1_000_000 + i, as_of=1_000_000, subject="a" * 26, n=n,
        items=tuple(ScoredItem(item=f"i{k}", score=1.0 / (k + 1), reason="near") for k in range(n)), short=None,
        features="{}", context="", latency_us=7, kind="computed" if n else "repeat",
    )  # fmt: skip


def outcome(i: int, item: str = "i0") -> Outcome:
    return Outcome(prediction_id=f"{i:032x}", item=item, what="click", value=1.0, happened_at=5, received_at=6)


def stores(folder: Path) -> Stores:
    folder.mkdir(exist_ok=True)
    overrides = {"keys": str(folder / "keys"), "search": "exact"}
    return open_stores(folder, settings_module.load(folder, overrides=overrides, environ={}), CLOCK, name="m")


def write(opened: Stores, **more: Any) -> Any:
    with opened.leases.take("log") as lease:
        return LogWriter(opened.state / "log", opened.lake, lease, **more).write()


def ids(opened: Stores) -> list[str]:
    rows = opened.lake.log(PREDICTIONS)
    return [] if rows is None else rows["prediction_id"].to_pylist()


def test_rows_have_the_declared_columns_and_values(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    log = SegmentLog(opened.state / "log", CLOCK)
    assert log.write(prediction(1)) and log.write(prediction(2, n=0))
    asyncio.run(log.outcomes([outcome(1), outcome(1, "i1")]))
    done = write(opened)
    assert (done.predictions, done.outcomes, done.torn, done.damaged) == (2, 2, 0, 0)
    rows = opened.lake.log(PREDICTIONS)
    assert rows is not None and rows.schema.equals(prediction_schema())
    first, second = rows.to_pylist()
    assert first["items"] == ["i0", "i1"] and first["scores"] == [1.0, 0.5] and first["reasons"] == ["near", "near"]
    assert first["served_at"] == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)
    assert second["items"] == [] and second["kind"] == "repeat"
    happened = opened.lake.log(OUTCOMES)
    assert happened is not None and happened.schema.equals(outcome_schema()) and happened.num_rows == 2
    log.close()


def test_what_tells_of_a_person_is_not_in_the_table_s_own_log(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    log = SegmentLog(opened.state / "log", CLOCK)
    log.write(prediction(1))
    log.close()
    write(opened)
    commits = list((opened.state / "lake" / PREDICTIONS / "_delta_log").glob("*.json"))
    content = b"".join(path.read_bytes() for path in commits)
    assert b"minValues" in content and b"a" * 26 not in content


def test_writing_again_takes_only_what_came_since_and_closed_segments_go(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    log = SegmentLog(opened.state / "log", CLOCK)
    log.write(prediction(1))
    assert write(opened).predictions == 1
    assert write(opened).predictions == 0
    log.write(prediction(2))
    assert write(opened).predictions == 1
    assert len(segment_files(opened.state / "log" / PREDICTIONS)) == 1, "its writer is at it still"
    log.close()
    done = write(opened)
    assert done.predictions == 0 and done.segments == 1
    assert segment_files(opened.state / "log" / PREDICTIONS) == []
    assert ids(opened) == [f"{1:032x}", f"{2:032x}"]


def test_small_batches_and_many_segments_lose_and_double_nothing(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    for worker in range(3):
        log = SegmentLog(opened.state / "log", CLOCK, segment_bytes=700)
        for i in range(10):
            log.write(prediction(worker * 10 + i))
        if worker:
            log.close()
    done = write(opened, batch=7)
    assert done.predictions == 30
    assert sorted(ids(opened)) == [f"{i:032x}" for i in range(30)]


def test_a_torn_tail_and_a_damaged_record_are_counted_and_kept(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    folder = opened.state / "log"
    for i in (1, 2):
        log = SegmentLog(folder, CLOCK)
        log.write(prediction(10 * i))
        log.write(prediction(10 * i + 1))
        log.close()
    torn, damaged = segment_files(folder / PREDICTIONS)
    torn.write_bytes(torn.read_bytes()[:-3])
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    done = write(opened)
    assert (done.predictions, done.torn, done.damaged) == (2, 1, 1)
    assert sorted(ids(opened)) == [f"{10:032x}", f"{20:032x}"]
    kept = sorted((folder / PREDICTIONS / "damaged").iterdir())
    assert [path.name.partition(".seg.")[0] for path in kept] == [torn.stem, damaged.stem]
    assert bytes(content).endswith(kept[1].read_bytes())
    assert segment_files(folder / PREDICTIONS) == []


@pytest.mark.parametrize("bit", range(64))
def test_a_flipped_bit_in_the_header_of_a_record_loses_that_record_alone(tmp_path: Path, bit: int) -> None:
    opened = stores(tmp_path)
    folder = opened.state / "log"
    log = SegmentLog(folder, CLOCK)
    for i in range(5):
        log.write(prediction(i))
    log.close()
    (segment,) = segment_files(folder / PREDICTIONS)
    second, content = list(read_frames(segment))[1], bytearray(segment.read_bytes())
    content[second.start + bit // 8] ^= 1 << bit % 8
    segment.write_bytes(content)
    done = write(opened)
    assert (done.predictions, done.torn, done.damaged) == (4, 0, 1)
    assert sorted(ids(opened)) == [f"{i:032x}" for i in (0, 2, 3, 4)]
    (kept,) = damaged_records(folder)[PREDICTIONS]
    assert kept.read_bytes() == content[second.start : second.end]
    (line,) = opened.ledger.find("log")
    assert '"damaged":"1"' in line.details["sources"]


def test_damage_alone_is_counted_once_while_the_segment_is_open(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    folder = opened.state / "log"
    log = SegmentLog(folder, CLOCK)
    log.write(prediction(0))
    log.write(prediction(1))
    (segment,) = segment_files(folder / PREDICTIONS)
    content = bytearray(segment.read_bytes())
    content[-1] ^= 1
    content[next(iter(read_frames(segment))).end - 1] ^= 1
    segment.write_bytes(content)
    done = write(opened)
    assert (done.predictions, done.damaged) == (0, 2)
    assert write(opened).damaged == 0 and len(opened.ledger.find("log")) == 1
    log.write(prediction(2))
    log.close()
    assert write(opened).predictions == 1 and ids(opened) == [f"{2:032x}"]


@pytest.mark.parametrize("bit", range(6 * 8))
def test_a_flipped_bit_in_the_magic_of_a_segment_loses_no_record(tmp_path: Path, bit: int) -> None:
    opened = stores(tmp_path)
    folder = opened.state / "log"
    log = SegmentLog(folder, CLOCK)
    log.write(prediction(0))
    log.close()
    (segment,) = segment_files(folder / PREDICTIONS)
    content = bytearray(segment.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    segment.write_bytes(content)
    done = write(opened)
    assert (done.predictions, done.damaged, done.segments) == (1, 1, 1) and ids(opened) == [f"{0:032x}"]


def test_a_log_that_takes_nothing_says_so_and_recovers(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path, CLOCK)
    assert log.write(prediction(1))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
    try:
        assert not log.write(prediction(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert log.write(prediction(3))


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_log import stores, write
from tidemill.core.storage.failpoint import arm
opened = stores(Path(sys.argv[2]))
arm(sys.argv[3])
write(opened, batch=4)
"""


def killed_anywhere(folder: Path, rerun: Any) -> list[str]:
    """Ten records; the writer is killed at each of its failpoints in turn, each followed by a rerun."""
    opened = stores(folder)
    expected = 0
    for i, point in enumerate(("log.staged", "log.committed", "log.staged:2", "log.committed:2")):
        log = SegmentLog(opened.state / "log", CLOCK)
        for k in range(10):
            log.write(prediction(i * 10 + k))
        log.close()
        expected += 10
        script = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(folder), point]
        assert subprocess.run(script, check=False, env={**os.environ}).returncode == -signal.SIGKILL
        rerun(opened)
    assert opened.ledger.verify() == [] and opened.lake.verify() == []
    return ids(opened)


@pytest.mark.slow
def test_a_killed_writer_run_again_takes_each_record_once(tmp_path: Path) -> None:
    found = killed_anywhere(tmp_path / "m", write)
    assert sorted(found) == [f"{i:032x}" for i in range(40)]


@pytest.mark.slow
def test_a_writer_that_forgets_its_offsets_is_caught(tmp_path: Path) -> None:
    """Wrong: starts from the segments' beginnings, as if the last commit had said nothing."""

    class Forgetful:
        def __init__(self, opened: Stores) -> None:
            self.lake = opened.lake

        def record(self, *given: Any) -> int:
            return int(self.lake.record(*given))

        def recorded(self, table: str) -> Any:
            last = self.lake.recorded(table)
            return last and (last[0], last[1], {})

    def forgetful(opened: Stores) -> None:
        with opened.leases.take("log") as lease:
            LogWriter(opened.state / "log", Forgetful(opened), lease).write()  # type: ignore[arg-type]

    found = killed_anywhere(tmp_path / "m", forgetful)
    assert sorted(found) != [f"{i:032x}" for i in range(40)]


def test_commits_get_rarer_under_steady_traffic_and_come_at_once_for_many_records(tmp_path: Path) -> None:
    opened = stores(tmp_path)
    log = SegmentLog(opened.state / "log", CLOCK)
    with opened.leases.take("log") as lease:
        writer = LogWriter(opened.state / "log", opened.lake, lease)
        at = []
        for second in range(300):
            log.write(prediction(second))
            if writer.write_if_due(second):
                at.append(second)
        assert at[:7] == [0, 2, 6, 14, 30, 60, 90] and at[-1] == 270
        assert writer.write_if_due(302) is not None and writer.write_if_due(302.5) is None
        big = prediction(1000)
        count = log_writer.BACKLOG_BYTES // len(log.encoded(big)) + 1
        log.write_all([log.encoded(big)] * count)
        done = writer.write_if_due(302.6)
        assert done is not None and done.predictions == count
        assert [writer.write_if_due(302.7 + second) is not None for second in range(3)] == [False] * 3
        for second in range(400, 410):
            writer.write_if_due(second)
        log.write(prediction(2000))
        done = writer.write_if_due(411)
        assert done is not None and done.predictions == 1  # after a pause, within a second or two
    log.close()


def test_records_are_decoded_in_bounded_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "_DECODED", 7)
    opened = stores(tmp_path)
    log = SegmentLog(opened.state / "log", CLOCK)
    for i in range(50):
        log.write(prediction(i))
    log.close()
    assert write(opened).predictions == 50
    assert ids(opened) == [f"{i:032x}" for i in range(50)]
    assert len(opened.ledger.find("log")) == 1
