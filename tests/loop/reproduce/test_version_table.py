"""Every kept code on every publication: one cell each, measured once, and what changed between neighbours."""

from __future__ import annotations

from datetime import timedelta

import pytest
from conftest_loop import FIRST, Project, daily
from test_tracking import knn, learned

from tidemill.core.errors import UnknownName, UsageError
from tidemill.loop.reproduce.version_table import version_table

LAST = FIRST + timedelta(days=29)


@pytest.mark.slow
def test_codes_by_publications(project: Project) -> None:
    project.write("reviews.csv.gz", daily(30, per_day=20, users=60, items=15))
    project.run(LAST, backfill=True)
    stores, _ = project.open()
    with pytest.raises(UsageError, match="no training of for_you has stored its code"):
        version_table(stores, "for_you")
    _, first = learned(project, learner=knn(30))
    with pytest.raises(UnknownName, match="no training of a model 'for_yuo'"):
        version_table(project.open()[0], "for_yuo")
    project.write("reviews-more.csv", daily(4, per_day=20, users=90, first=LAST + timedelta(days=1)))
    project.run(LAST + timedelta(days=4))
    stores, second = learned(project, learner=knn(1))
    told: list[str] = []
    found = version_table(stores, "for_you", progress=lambda step, details: told.append(step))
    assert [one.run for one in found.codes] == ["for_you#1", "for_you#2"]
    assert found.codes[0].changed == ()
    assert {"mill.py changed", "neighbours 30 → 1"} <= set(found.codes[1].changed)
    old, new = found.data
    assert (old.rows["ratings"], new.added["ratings"]) == (first.card.n_rows, new.rows["ratings"] - first.card.n_rows)
    assert new.added["ratings"] > 0
    assert new.tables == second.card.data
    # Where a cell is what a training measured, it has the same figures: the split is the same.
    runs = [stores.runs.read("for_you#1"), stores.runs.read("for_you#2")]
    assert found.cell("for_you#1", old.publication).metrics == runs[0].metrics
    assert found.cell("for_you#2", new.publication).metrics == runs[1].metrics
    assert found.cell("for_you#1", new.publication).metrics != runs[1].metrics
    assert all(cell.metrics and not cell.says for cell in found.cells)
    lines = stores.ledger.find("measure", about="model:for_you")
    assert len(lines) == len(found.cells) == 4


def test_what_was_measured_is_not_measured_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("reviews.csv.gz", daily(30, per_day=20, users=60, items=15))
    project.run(LAST, backfill=True)
    stores, _ = learned(project, learner=knn(30))
    first = version_table(stores, "for_you")
    monkeypatch.setattr("tidemill.loop.reproduce.version_table.relearn", None)
    assert version_table(stores, "for_you") == first
    assert len(stores.ledger.find("measure")) == 1
