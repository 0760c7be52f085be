"""Opening a project: its own keys or none, its own ledger or none, and back-ends by name."""

from __future__ import annotations

from datetime import timedelta

import pytest
from conftest_loop import FIRST, Project, daily

from tidemill.core.errors import BackendMissing, KeyMissing, LedgerMissing
from tidemill.loop.ops.audit_project import audit
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
    assert audit(stores) == []
    del stores
    for file in ledger.parent.glob("ledger.sqlite-*"):
        file.unlink()
    ledger.write_bytes(older)
    stores, _ = project.open()
    assert audit(stores)


def test_a_back_end_that_is_not_there_is_named_with_the_nearest() -> None:
    with pytest.raises(BackendMissing, match="did you mean `polars`"):
        find_backend("engine", "polar")
