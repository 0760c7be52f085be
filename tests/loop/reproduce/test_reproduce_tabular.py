"""A tabular model is learned again too: bitwise, within tolerance on golden rows, or no; and chosen plans as chosen."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest_loop import Project
from tabular_projects import change, churn_project

from tidemill.loop.families.tabular import row_training
from tidemill.loop.reproduce.reproduce import reproduce
from tidemill.loop.reproduce.version_table import version_table
from tidemill.loop.training.train import train
from tidemill.models.tabular import TabularModel, write_tabular
from tidemill.models.tabular.tabular_bundle import BundleFormat, write_golden

DAY = date(2026, 10, 31)


@pytest.fixture
def churn(tmp_path: Path) -> Project:
    project = churn_project(tmp_path, 300)
    project.run(DAY, backfill=True)
    return project


def test_an_estimator_comes_out_bitwise_by_the_kept_code(churn: Project) -> None:
    made = train(*churn.open(), "churn")
    change(churn.path, "n_estimators=12", "n_estimators=5")
    found = reproduce(churn.open()[0], made.release.name, here=True)
    assert (found.outcome, found.about) == ("bitwise", "release:churn@1")


@pytest.mark.slow
def test_versions_of_an_estimator(churn: Project) -> None:
    train(*churn.open(), "churn")
    change(churn.path, "n_estimators=12", "n_estimators=5")
    train(*churn.open(), "churn")
    stores, _ = churn.open()
    found = version_table(stores, "churn")
    assert [one.run for one in found.codes] == ["churn#1", "churn#2"]
    assert {"mill.py changed", "parameters.n_estimators 12 → 5"} <= set(found.codes[1].changed)
    assert found.cells[0].metrics["log_loss"] == stores.runs.read("churn#1").metrics["log_loss"]
    assert found.cells[1].metrics["log_loss"].value > found.cells[0].metrics["log_loss"].value


@pytest.mark.slow
@pytest.mark.parametrize(("by", "outcome"), [(1e-9, "tolerance"), (1e-2, "no")])
def test_golden_rows_decide_where_bytes_differ(
    churn: Project, monkeypatch: pytest.MonkeyPatch, by: float, outcome: str
) -> None:
    def as_another_machine_would(*given: Any, form: BundleFormat, **more: Any) -> Any:
        """The same training with a bias that is a little off."""
        trained, kept = sys.modules["tidemill.training.tabular.train"], write_golden
        moved: list[TabularModel] = []

        def write(model: TabularModel, folder: Path) -> None:
            moved.append(type(model)(replace_bias(model.recipe, by), model.parts))
            write_tabular(moved[-1], folder)

        def golden(fields: Any, folder: Path, rows: Any) -> None:
            kept(fields, folder, (rows[0], moved[-1].answer(rows[0])))

        with monkeypatch.context() as patch:
            patch.setattr(trained, "write_golden", golden)
            patch.setattr(trained, "_same", lambda *_: 0.0)
            return learned(*given, **more, form=form._replace(write=write))

    learned = row_training.train_tabular
    monkeypatch.setattr(row_training, "train_tabular", as_another_machine_would)
    made = train(*churn.open(), "churn")
    found = reproduce(churn.open()[0], made.run, here=True)
    assert found.outcome == outcome
    assert found.answers > 0
    assert found.largest is not None
    assert 0 < found.largest < by
    if outcome == "no":
        assert [cause.what for cause in found.causes if "tidemill" not in cause.says] in (["learning"], [])


def replace_bias(recipe: Any, by: float) -> Any:
    bias = np.asarray(recipe.bias, float) + by
    return msgspec.structs.replace(recipe, bias=tuple(bias.tolist()) if bias.ndim else float(bias))


@pytest.mark.slow
def test_what_was_searched_is_taken_as_it_was_settled(tmp_path: Path) -> None:
    project = churn_project(tmp_path, 300, learn="learn=tm.auto(minutes=0.3)")
    project.run(DAY, backfill=True)
    made = train(*project.open(), "churn")
    found = reproduce(project.open()[0], made.run, here=True)
    assert found.outcome == "bitwise"
    assert found.notes == (f"the settings that {made.run} chose were used; the search was not repeated",)
