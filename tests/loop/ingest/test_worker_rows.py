"""Rows that an engine's workers read and merge: the same tables, verdicts, quarantine and people as in memory."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest_loop import FIRST, Project, seconds

import tidemill as tm
from tidemill.core.errors import KeyMissing, SchemaChanged, SourceDamaged, SourceError
from tidemill.core.identity.keys import KeyReference
from tidemill.core.storage import failpoint
from tidemill.lake import part_exchange
from tidemill.loop.ingest import worker_rows
from tidemill.loop.ingest.sealed_table import opened_table
from tidemill.loop.pipeline.run import RunReport
from tidemill.sources.files.detect_format import detect_layout
from tidemill.sources.files.file_url import parse_file_url
from tidemill.sources.files.scan import DueDays, FileSplit, FileTask, ScanContext

#: Most bytes that are read, and rows that are merged, in this process.
LIMITS = [(-1, part_exchange.MEMORY_ROWS), (-1, 40), (-1, -1)]


@pytest.fixture
def twin(project: Project) -> Project:
    """The same mill, with the same keys, in another folder."""
    project.open()
    other = Project(project.path.with_name("twin"), project.clock)
    shutil.copytree(project.path, other.path)
    return other


def lines(draw: random.Random, days: range, n: int) -> list[str]:
    """Lines of reviews: some twice, some with the same key and another rating, some unfit, some malformed."""
    made: list[str] = []
    for _ in range(n):
        at = seconds(FIRST + timedelta(days=draw.choice(days)))
        match draw.randrange(80):
            case kind if kind < 4 and made:
                made.append(draw.choice(made))
            case 5:
                made.append(f"i{draw.randrange(9)},u{draw.randrange(9)},99,{at}")  # above the contract's largest
            case 6 if made:
                made.append(draw.choice(["i1,u1", ",u1,3,1704067200", "i1,u1,x,1704067200", '{"user_id": "u77"}']))
            case _:
                made.append(f"i{draw.randrange(9)},u{draw.randrange(30)},{draw.randrange(1, 6)},{at}")
    return made


def deliver(draw: random.Random, folders: list[Path], name: str, content: list[str], *, more: bool = False) -> None:
    body = "".join(f"{line}\n" for line in content).encode()
    for folder in folders:
        with (folder / "data" / name).open("ab" if more else "wb") as file:
            file.write(gzip.compress(body) if name.endswith(".gz") else body)


def content(project: Project, reports: list[RunReport]) -> dict[str, Any]:
    """What a reader sees of a project."""
    stores, graph = project.open()
    view = stores.lake.view()
    found: dict[str, Any] = {
        name: sorted(map(repr, view.arrow(name).to_pylist())) for name in graph.schemas if name in view.versions
    }
    states = stores.lake.increments("reviews")
    found["increments"] = [(state.state, state.increment, state.verdict) for state in states]
    held = [stores.lake.held("reviews", state.increment.number) for state in states if state.state == "held"]
    found["held"] = [opened_table(stores.vault, one.rows)[0].to_pylist() for one in held]
    quarantined = stores.lake.quarantined("reviews")
    lines = [] if quarantined is None else quarantined.to_pylist()
    found["quarantine"] = sorted(repr(line | {"raw": stores.vault.unseal(line["raw"])}) for line in lines)
    found["notes"] = [[note.replace(str(project.path), "") for note in report.notes] for report in reports]
    found["counts"] = [(report.arrived, report.refused, report.merged, report.repeated) for report in reports]
    people = [surrogate for surrogate, *_ in stores.vault._store.entries()]
    found["people"] = {surrogate: stores.vault.identity(surrogate) for surrogate in people}
    return found


@pytest.mark.parametrize("limits", LIMITS, ids=["read", "mixed", "all"])
@pytest.mark.parametrize("seed", range(3))
def test_workers_give_the_same_as_memory(
    project: Project, twin: Project, monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], seed: int
) -> None:
    draw = random.Random(seed)
    folders = [project.path, twin.path]
    deliver(draw, folders, "reviews-1.csv", lines(draw, range(5), 60))
    deliver(draw, folders, "reviews-2.csv.gz", lines(draw, range(5), 80))
    deliver(draw, folders, "reviews-3.csv", [f"i1,u5,3,{seconds(date(1999, 1, 1))}", *lines(draw, range(3), 20)])
    for folder in folders:
        shutil.copy(folder / "data" / "reviews-1.csv", folder / "data" / "reviews-4.csv")  # delivered twice
    reports: dict[Path, list[RunReport]] = {folder: [] for folder in folders}

    def run(until: date, *, backfill: bool = False) -> None:
        for one in (project, twin):
            with monkeypatch.context() as patch:
                if one is twin:
                    patch.setattr(worker_rows, "IN_PROCESS_BYTES", limits[0])
                    patch.setattr(part_exchange, "MEMORY_ROWS", limits[1])
                reports[one.path].append(one.run(until, backfill=backfill))

    run(FIRST + timedelta(days=2), backfill=True)
    deliver(draw, folders, "reviews-1.csv", lines(draw, range(3, 7), 30), more=True)  # it grows, with late rows
    for folder in folders:
        (folder / "data" / "reviews-2.csv.gz").rename(folder / "data" / "reviews-0.csv.gz")
    deliver(draw, folders, "reviews-5.csv", lines(draw, range(4, 8), 50))
    run(FIRST + timedelta(days=7))
    deliver(draw, folders, "reviews-3.csv", lines(draw, range(8, 9), 30))  # other lines under a known name
    run(FIRST + timedelta(days=9))
    expected = content(project, reports[project.path])
    assert content(twin, reports[twin.path]) == expected
    assert len(expected["reviews"]) > 150 and expected["held"] and expected["quarantine"]
    assert "same content" in expected["notes"][0][0]
    assert sum(increment.counts.contradicted for _, increment, _ in expected["increments"])


def test_a_damaged_file_is_an_error_and_its_people_are_not_remembered(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_rows, "IN_PROCESS_BYTES", -1)
    whole = project.write("reviews-1.csv.gz", [(f"u{i}", "i1", 3.0, FIRST) for i in range(50_000)])
    whole.write_bytes(whole.read_bytes()[:-4_000])
    with pytest.raises(SourceDamaged, match=r"reviews-1\.csv\.gz is truncated"):
        project.run(FIRST, backfill=True)
    (project.path / "data" / "reviews-1.csv.gz").write_bytes(b"")
    project.write("reviews-2.csv", [("u1", "i1", 3.0, FIRST)] * 3)
    file = project.path / "data" / "reviews-2.csv"
    file.write_text(file.read_text() + "i1,u1,five,1704067200\n" * 20)
    with pytest.raises(SchemaChanged, match="20 of 23 new lines are not valid"):
        project.run(FIRST, backfill=True)
    assert not list(project.open()[0].vault._store.entries())


def test_a_worker_without_the_keys_says_so_and_leaves_no_identifier(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text of errors of other libraries may have values, and would be in the engine's logs."""
    monkeypatch.setattr(worker_rows, "IN_PROCESS_BYTES", -1)
    project.write("reviews.csv", [("u1", "i1", 3.0, FIRST)])
    project.open()
    with monkeypatch.context() as patch:
        patch.setattr(worker_rows.Keys, "reference", lambda self: KeyReference(Path("/nowhere"), self.marks()))
        with pytest.raises(KeyMissing, match="/nowhere has no subject"):
            project.run(FIRST, backfill=True)

    def fail(*_: Any) -> None:
        raise ValueError("u1 is no number")

    monkeypatch.setattr(worker_rows, "marked_rows", fail)
    with pytest.raises(SourceError, match="ValueError") as raised:
        project.run(FIRST, backfill=True)
    assert "u1" not in str(raised.value)


@pytest.mark.parametrize(
    "point", ["increment.read:1", "vault.stored:1", "publish.staged:1", "publish.staged:2", "publish.checked:1"]
)
def test_a_run_killed_while_workers_ingest_is_completed_by_the_next(
    project: Project, twin: Project, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    class DiedError(BaseException):
        pass

    def die(*_: object) -> None:
        raise DiedError

    draw = random.Random(1)
    folders = [project.path, twin.path]
    deliver(draw, folders, "reviews-1.csv", lines(draw, range(5), 60))
    deliver(draw, folders, "reviews-2.csv.gz", lines(draw, range(5), 80))
    until = FIRST + timedelta(days=6)
    report = project.run(until, backfill=True)
    monkeypatch.setattr(worker_rows, "IN_PROCESS_BYTES", -1)
    monkeypatch.setattr(part_exchange, "MEMORY_ROWS", -1)
    with monkeypatch.context() as patch:
        patch.setattr(failpoint.os, "kill", die)
        failpoint.arm(point)
        with pytest.raises(DiedError):
            twin.run(until, backfill=True)
        failpoint.arm("")
    again = twin.run(until, backfill=True)
    expected, found = content(project, [report]), content(twin, [again])
    same = expected.keys() - {"notes", "counts"}  # a table may have been published before the kill
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    assert expected["reviews"] and expected["people"]
    assert twin.run(until).increments == 0


def split_of(file: Path) -> FileSplit:
    stat = file.stat()
    layout = detect_layout(file, parse_file_url(f"file:{file}"), ROWS, timeless=False)
    due = DueDays(until=None, after=None)
    context = ScanContext(zone="UTC", arrival=None, take_tail=True)
    task = FileTask(path=file, layout=layout, due=due, context=context, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    return FileSplit(file.name, task, stat.st_size)


class Row(tm.Event):
    item_id: str = tm.item()
    at: datetime = tm.event_time(zone="UTC")


ROWS = Row.contract


def test_a_split_has_the_same_rows_when_it_is_read_again(tmp_path: Path) -> None:
    """A worker that was lost is replaced, and the file may have grown meanwhile; one that was replaced is refused."""
    plain, packed = tmp_path / "rows.csv", tmp_path / "rows.csv.gz"
    text = "item_id,at\n" + "".join(f"i{n},2024-01-0{1 + n % 9}\n" for n in range(50))
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    splits = [split_of(plain), split_of(packed)]

    def read(split: FileSplit) -> tuple[list[Any], bytes]:
        blocks = list(split.read())
        return [row for block in blocks if block.rows is not None for row in block.rows.to_pylist()], blocks[-1].summary

    first = [read(split) for split in splits]
    assert len(first[0][0]) == len(first[1][0]) == 50
    plain.write_text(text + "i99,2024-01-01\n")
    assert read(splits[0]) == first[0]
    packed.write_bytes(gzip.compress((text + "i99,2024-01-01\n").encode()))
    os.utime(packed, ns=(1, 1))
    with pytest.raises(SourceDamaged, match="was changed while it was read"):
        read(splits[1])
    plain.write_text(text[:100])
    with pytest.raises(SourceDamaged, match="was changed while it was read"):
        read(splits[0])
