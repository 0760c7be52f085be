"""What a run, a training and a command leave of the features, for a console that never loads mill.py."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest_loop import Project
from tabular_projects import churn_project
from test_views_online import _LIFE, day, project

from tidemill.cli.main import cli
from tidemill.loop.features.feature_report import feature_report
from tidemill.loop.online.feature_metadata_files import declared_features, significances, skews
from tidemill.loop.training.train import train

__all__ = ["project"]
DAY = date(2026, 10, 31)


def test_a_run_leaves_what_is_declared(project: Project) -> None:
    project.write("reviews.csv", _LIFE)
    project.run(day(4), backfill=True)
    stores, graph = project.open()
    found = {view.name: view for view in declared_features(stores.serving_root).views}
    taste, last = found["taste"], found["last"]
    assert (taste.entity, taste.personal, taste.hidden) == ("user_id", True, ("user_id",))
    assert (taste.kind, taste.owner, taste.description) == (
        "window 3 days, every 1 day",
        "ann",
        "What a user did lately.",
    )
    assert list(taste.columns) == ["n", "mean_rating"]
    assert taste.consumers == ("kind",)
    assert set(taste.inputs_of["kind"]) == {"n", "mean_rating"}
    assert "last_rating" in last.columns and "_known_at" not in last.columns
    for fact in feature_report(stores, graph):
        assert (fact.columns != ()) and fact.kind == found[fact.name].kind
    line = stores.ledger.last("features", about="view:taste")
    assert line is not None and graph.codes["taste"].startswith(line.details["code"])


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Project:
    made = churn_project(tmp_path_factory.mktemp("left"), 300)
    made.run(DAY, backfill=True)
    train(*made.open(), "churn")
    return made


def test_functions_are_left_with_what_a_model_says_they_give(learned: Project) -> None:
    stores, _ = learned.open()
    (billing,) = declared_features(stores.serving_root).functions
    assert billing.takes == ("tenure", "MonthlyCharges", "TotalCharges")
    assert [field.name for field in billing.gives] == ["charge_drift", "paid_per_month"]
    assert billing.consumers == ("churn",)


def test_a_training_leaves_which_inputs_have_to_do_with_the_target(learned: Project) -> None:
    stores, graph = learned.open()
    found = significances(stores.serving_root)["churn"]
    assert (found.target, found.publication) == ("Churn", 1)
    assert set(found.p) == {field.name for field in graph.askings["churn"].inputs}
    assert all(0 <= p <= 1 for p in found.p.values())
    assert found.p["Contract"] < 0.001


def test_a_measured_skew_is_left(learned: Project) -> None:
    told = CliRunner().invoke(cli, ["promote", "churn@1", "--project", str(learned.path)])
    assert told.exit_code == 0, told.output
    told = CliRunner().invoke(cli, ["features", "--skew", "churn", "--json", "--project", str(learned.path)])
    assert told.exit_code == 0, told.output
    stores, _ = learned.open()
    assert skews(stores.serving_root)["churn"].report.release == json.loads(told.output)["release"] == "churn@1"


def test_a_project_that_left_nothing_has_nothing(tmp_path: Path) -> None:
    assert declared_features(tmp_path).views == ()
    assert significances(tmp_path) == {}
    assert skews(tmp_path) == {}
