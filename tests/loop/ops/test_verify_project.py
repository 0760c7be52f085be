"""`tidemill verify` reads every file of a project, and a store that cannot be opened does not stop the others."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest_loop import FIRST, Project, daily, new_project

from tidemill.cli.main import cli
from tidemill.core.settings import load
from tidemill.loop.ops.verify_project import STORES, verify_project
from tidemill.loop.training.train import train

LAST = FIRST + timedelta(days=19)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = new_project(tmp_path_factory.mktemp("lived"))
    project.write("reviews.csv", daily(20))
    with (project.path / "data" / "reviews.csv").open("a") as file:
        file.write("i1,u1,not a number,1704067200\n")
    project.run(LAST, backfill=True)
    stores, graph = project.open()
    made = train(stores, graph, "for_you")
    with stores.leases.take("run") as lease:
        stores.releases.promote(made.release.name, lease=lease)
    project.run(LAST)  # writes the switch
    return project


def verify(project: Project) -> dict[str, list[str]]:
    stores = verify_project(load(project.path, environ={}), project.clock).stores
    return {one.store: [problem.text for problem in one.problems] for one in stores if one.problems}


def test_every_file_is_claimed_by_a_store_and_those_with_data_are_read(lived: Project) -> None:
    found = verify_project(load(lived.path, environ={}), lived.clock)
    assert found.problems == []
    assert not [place for one in found.stores for place in one.unread if place.why == "no store claims it"]
    assert [one.store for one in found.stores] == [*STORES, "other files"]
    files = sum(1 for path in (lived.path / ".tidemill").rglob("*") if path.is_file())
    assert sum(one.files for one in found.stores) > files / 2
    assert all(place.why for one in found.stores for place in one.unread)


def test_a_file_of_an_unknown_kind_is_reported(lived: Project) -> None:
    stray = lived.path / ".tidemill" / "lake" / "notes.txt"
    stray.write_text("")
    try:
        others = verify_project(load(lived.path, environ={}), lived.clock).stores[-1]
    finally:
        stray.unlink()
    assert [(one.place, one.why) for one in others.unread if "notes" in one.place] == [
        ("lake/notes.txt", "no store claims it")
    ]


@pytest.mark.parametrize(
    ("file", "store"),
    [
        ("ledger.sqlite", "ledger"),
        ("vault.sqlite", "vault"),
        ("mill.json", "keys"),
        ("serving/for_you/live.json", "serving"),
        ("latest/fresh/data.mdb", "online values"),
        ("blobs/bundle*/manifest.json", "blobs"),
        ("lake/_tidemill/manifests/reviews/1.json", "lake"),
        ("lake/_tidemill/quarantine/reviews/*.parquet", "lake"),
        ("lake/reviews/_delta_log/00000000000000000001.json", "lake"),
        ("lake/reviews/*.parquet", "lake"),
    ],
)
def test_one_broken_store_does_not_stop_the_others(lived: Project, file: str, store: str) -> None:
    path = next((lived.path / ".tidemill").glob(file))
    other = next((lived.path / ".tidemill").glob("checkpoints/*.json"))
    whole, whole_other = path.read_bytes(), other.read_bytes()
    path.write_bytes(b"\0" * len(whole))
    other.write_bytes(b"{")
    try:
        done = CliRunner().invoke(cli, ["verify", "--json", "--project", str(lived.path)], standalone_mode=False)
        shown = CliRunner().invoke(cli, ["verify", "--project", str(lived.path)], standalone_mode=False)
    finally:
        path.write_bytes(whole)
        other.write_bytes(whole_other)
    assert (done.return_value, shown.return_value) == (1, 1)
    assert done.exception is None and "Traceback" not in shown.output
    problems = {one["store"]: one["problems"] for one in json.loads(done.stdout)["stores"]}
    assert problems[store]
    if store not in ("ledger", "keys"):
        assert problems["ledger"], "the checkpoint is damaged too"
    assert len(problems) == len(STORES) + 1


def test_a_missing_list_of_streams_is_named(lived: Project) -> None:
    path = lived.path / ".tidemill" / "serving" / "streams.json"
    whole = path.read_bytes()
    path.unlink()
    try:
        assert [says for says in verify(lived)["serving"] if "streams.json is missing" in says]
    finally:
        path.write_bytes(whole)


def rows(path: Path) -> list[object]:
    """All rows of a database; of any other file, that there is something to tell."""
    if path.suffix != ".sqlite":
        return [path]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables]


@pytest.mark.parametrize("name", ["serving.json", "before.json"])
def test_a_deployment_that_is_cut_is_not_taken_for_an_old_one_without_a_signature(lived: Project, name: str) -> None:
    folder = lived.path / ".tidemill" / "serving" / "for_you"
    content, file = (folder / "live.json").read_bytes(), folder / name
    file.write_bytes(content[: len(content) // 2])
    try:
        assert [f"{name} cannot be used" in problem for problem in verify(lived)["serving"]] == [True]
    finally:
        file.unlink()


def test_a_flipped_byte_anywhere_is_named(lived: Project) -> None:
    """One byte of every kind of file; `tidemill verify` names it, or no reader can tell the difference.

    `backends/test_lmdb_page_check.py` has the file of fresh rows, most of whose pages are not used.
    """
    state = lived.path / ".tidemill"
    kinds: dict[str, Path] = {}
    for path in sorted(path for path in state.rglob("*") if path.is_file() and path.stat().st_size):
        kinds.setdefault(f"{path.relative_to(state).parts[0]}/{path.suffix}/{len(path.parts)}", path)
    intact = {path: rows(path) for path in state.glob("*.sqlite")}  # parts of its pages are not used by any row
    unread = {".log", ".lock", ".counters"}
    missed = []
    for path in kinds.values():
        if path.suffix in unread or path.suffix == ".mdb" or path.name.endswith(("-wal", "-shm")):
            continue
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[len(whole) // 3] ^= 1
        path.write_bytes(changed)
        try:
            if not verify(lived) and rows(path) != intact.get(path, []):
                missed.append(str(path.relative_to(state)))
        finally:
            path.write_bytes(whole)
    assert missed == []
