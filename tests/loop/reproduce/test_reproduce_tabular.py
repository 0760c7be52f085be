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

from tidemill.loop.reproduce.reproduce import reproduce
from tidemill.loop.reproduce.version_table import version_table
from tidemill.loop.training.train import train

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
    def as_another_machine_would(*given: Any, **more: Any) -> Any:
        """The same training with a bias that is a little off."""
        tabular = sys.modules["tidemill.training.tabular.train"]
        write = tabular.write_tabular

        def moved(model: Any, folder: Path, golden: Any) -> None:
            recipe = replace_bias(model.recipe, by)
            off = type(model)(recipe, model.parts)
            write(off, folder, None if golden is None else (golden[0], off.answer(golden[0])))

        with monkeypatch.context() as patch:
            patch.setattr(tabular, "write_tabular", moved)
            patch.setattr(tabular, "_same", lambda *_: 0.0)
            return learned(*given, **more)

    module = sys.modules["tidemill.loop.training.tabular_family"]
    learned = module.train_tabular
    monkeypatch.setattr(module, "train_tabular", as_another_machine_would)
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
