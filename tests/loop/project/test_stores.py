"""Opening a project: its own keys or none, its own ledger or none, and back-ends by name."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.errors import BackendMissing, KeyMissing, LedgerForked, LedgerMissing, ProjectMissing
from tidemill.core.identity.keys import Keys
from tidemill.loop.ops.verify_project import verify_project
from tidemill.loop.project.open_port import find_backend
from tidemill.loop.project.stores import identity


def lived(project: Project) -> None:
    project.write("reviews.csv", daily(2))
    project.run(FIRST + timedelta(days=1))


def test_a_ledger_that_is_gone_is_missed_and_none_is_begun_in_its_place(project: Project) -> None:
    lived(project)
    ledger = project.path / ".tidemill" / "ledger.sqlite"
    for file in ledger.parent.glob("ledger.sqlite*"):
        file.rename(file.with_name("away-" + file.name))
    with pytest.raises(LedgerMissing, match="has run before"):
        project.open()
    assert not ledger.exists()


def test_keys_of_another_mill_are_refused(project: Project) -> None:
    lived(project)
    known = identity(project.path, None)
    keys = project.path.parent / "keys" / known.id
    (keys / "subject.key").write_text("00" * 32 + "\n")
    with pytest.raises(KeyMissing, match="a different subject key"):
        project.open()


def test_keys_that_are_gone_are_missed_and_none_are_made(project: Project) -> None:
    lived(project)
    keys = project.path.parent / "keys"
    keys.rename(project.path.parent / "away")
    with pytest.raises(KeyMissing):
        project.open()
    assert not keys.exists()


def test_a_dropped_tail_of_the_ledger_shows_by_its_checkpoints(project: Project) -> None:
    lived(project)
    ledger = project.path / ".tidemill" / "ledger.sqlite"
    older = ledger.read_bytes()
    project.write("reviews-more.csv", daily(1, first=FIRST + timedelta(days=2)))
    project.run(FIRST + timedelta(days=2))
    stores, _ = project.open()
    assert verify_project(stores.settings, stores.clock).problems == []
    del stores
    for file in ledger.parent.glob("ledger.sqlite-*"):
        file.unlink()
    ledger.write_bytes(older)
    stores, _ = project.open()
    assert verify_project(stores.settings, stores.clock).problems


def state(project: Project) -> Path:
    return project.path / ".tidemill"


def ledger_files(project: Project) -> list[Path]:
    return sorted(state(project).glob("ledger.sqlite*"))


def test_an_empty_ledger_file_is_no_new_project(project: Project) -> None:
    lived(project)
    for file in ledger_files(project):
        file.unlink()
    (state(project) / "ledger.sqlite").touch()
    with pytest.raises(LedgerMissing, match=r"empty, but .* has run before"):
        project.open()
    with pytest.raises(LedgerMissing):
        project.run(FIRST + timedelta(days=1))


@pytest.mark.parametrize("gone", ["ledger.head", "checkpoints", "serving", "lake"])
def test_any_trace_of_a_first_run_is_enough(project: Project, gone: str) -> None:
    lived(project)
    for file in ledger_files(project):
        file.unlink()
    (state(project) / gone).rename(state(project) / f"away-{gone}")
    with pytest.raises(LedgerMissing):
        project.open()


def test_a_lost_identity_is_missed_and_no_new_one_is_made(project: Project) -> None:
    lived(project)
    file = state(project) / "mill.json"
    content = file.read_bytes()
    file.unlink()
    with pytest.raises(ProjectMissing, match="has run before"):
        project.open()
    assert not file.exists() and len(list((project.path.parent / "keys").iterdir())) == 1
    for damaged in (b"", content[:20], bytes(len(content))):
        file.write_bytes(damaged)
        with pytest.raises(ProjectMissing, match="cannot be read"):
            project.open()


def test_a_first_opening_that_was_killed_before_its_first_entry_is_taken_up(project: Project) -> None:
    known = identity(project.path, "shop")
    keys = Keys.open(project.path.parent / "keys" / known.id, create=True)
    stored = msgspec.structs.replace(known, keys=keys.marks())
    (state(project) / "mill.json").write_bytes(msgspec.json.encode(stored))
    (state(project) / "ledger.sqlite").touch()
    lived(project)
    assert verify_project(project.open()[0].settings, project.clock).problems == []


@pytest.mark.parametrize("how", ["older copy", "lost log"])
def test_nothing_runs_on_a_ledger_that_lacks_what_was_written(project: Project, how: str) -> None:
    lived(project)
    older = {file: file.read_bytes() for file in ledger_files(project)}
    project.write("reviews-more.csv", daily(1, first=FIRST + timedelta(days=2)))
    project.run(FIRST + timedelta(days=2))
    newer = {file: file.read_bytes() for file in ledger_files(project)}
    for file in newer:
        file.unlink()
    for file, content in older.items():
        if how == "older copy" or not file.name.endswith("-wal"):
            file.write_bytes(content)
    with pytest.raises((LedgerForked, LedgerMissing)):
        project.run(FIRST + timedelta(days=3))
    for file in ledger_files(project):
        file.unlink()
    for file, content in newer.items():
        file.write_bytes(content)
    project.run(FIRST + timedelta(days=3))
    assert verify_project(project.open()[0].settings, project.clock).problems == []


def test_a_project_that_is_restored_whole_from_one_backup_goes_on(project: Project, tmp_path: Path) -> None:
    lived(project)
    shutil.copytree(state(project), tmp_path / "backup")
    project.write("reviews-more.csv", daily(1, first=FIRST + timedelta(days=2)))
    arrived = project.run(FIRST + timedelta(days=2)).arrived
    rows = project.rows("ratings")
    for file in ledger_files(project):
        shutil.copy(tmp_path / "backup" / file.name, file)
    with pytest.raises(LedgerForked) as caught:
        project.run(FIRST + timedelta(days=2))
    assert "restore all of .tidemill from one backup" in str(caught.value.tip)
    shutil.rmtree(state(project))
    shutil.copytree(tmp_path / "backup", state(project))
    assert project.run(FIRST + timedelta(days=2)).arrived == arrived > 0
    assert project.rows("ratings") == rows
    assert verify_project(project.open()[0].settings, project.clock).problems == []


def test_the_lake_s_heads_show_an_older_ledger_where_no_other_is_left(project: Project) -> None:
    lived(project)
    older = {file: file.read_bytes() for file in ledger_files(project)}
    project.write("reviews-more.csv", daily(1, first=FIRST + timedelta(days=2)))
    project.run(FIRST + timedelta(days=2))
    for file in ledger_files(project):
        file.unlink()
    for file, content in older.items():
        file.write_bytes(content)
    (state(project) / "ledger.head").unlink()
    shutil.rmtree(state(project) / "checkpoints")
    with pytest.raises(LedgerForked):
        project.run(FIRST + timedelta(days=3))


def test_the_audit_names_a_missing_and_a_damaged_head_file(project: Project) -> None:
    lived(project)
    stores, _ = project.open()
    (state(project) / "ledger.head").write_bytes(b"7:seven")
    assert "ledger.head" in verify_project(stores.settings, stores.clock).problems[0]
    (state(project) / "ledger.head").unlink()
    assert (
        "ledger.head is missing; the next entry writes it" in verify_project(stores.settings, stores.clock).problems[0]
    )
    stores.ledger.append("note")
    assert verify_project(stores.settings, stores.clock).problems == []


def test_the_audit_names_an_edited_list_of_streams(project: Project) -> None:
    lived(project)
    stores, _ = project.open()
    file = state(project) / "serving" / "streams.json"
    file.write_bytes(file.read_bytes().replace(b"reviews", b"refunds"))
    assert "streams.json is not signed" in verify_project(stores.settings, stores.clock).problems[0]
    project.run(FIRST + timedelta(days=1))
    assert verify_project(stores.settings, stores.clock).problems == []


def test_a_back_end_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(BackendMissing, match="did you mean `polars`"):
        find_backend("engine", "polar")
