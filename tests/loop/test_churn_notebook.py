"""The churn template's notebook, run as its CI file runs it: on made-up customers, and on IBM's Telco ones."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest_loop import Project
from test_notebook import MISSING, Done, of_the_ci_file, typed
from tests.conftest import test_data

from tidemill.cli.commands.init_command import write_project
from tidemill.core.clock import FixedClock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (tidemill[notebook])"),
]
pytest.importorskip("lightgbm")
pytest.importorskip("sklearn")
pytest.importorskip("skl2onnx")


def make(base: Path) -> Project:
    path = base / "churn"
    write_project(path, "churn")
    settings = (path / "tidemill.toml").read_text()
    (path / "tidemill.toml").write_text(settings.replace("[laptop]\n", f'[laptop]\nkeys = "{base / "keys"}"\n', 1))
    mill = path / "mill.py"
    mill.write_text(mill.read_text().replace("tm.auto(minutes=1)", "tm.auto(minutes=0.15)"))
    return Project(path, FixedClock(datetime(2026, 11, 1, tzinfo=UTC)))


def executed(project: Project, base: Path, lines: list[str], env: dict[str, str]) -> Done:
    typed(project, base, env, *lines[:-1], f"{lines[-1]} -p minutes 0.15")
    found = json.loads((project.path / "done.ipynb").read_text("utf-8"))
    return Done(project, found, project.path / "done.ipynb")


def went_through(done: Done, n: int) -> None:
    """No cell failed or complained; three runs stand in the ledger and in the comparison."""
    assert [output for output in done.outputs if output["output_type"] == "error"] == []
    complaints = [output["text"] for output in done.outputs if output.get("name") == "stderr"]
    assert complaints == []
    stores, _ = done.project.open()
    runs = [run for run in stores.runs.all("churn") if run.kind == "notebook"]
    assert sorted(run.state for run in runs) == ["finished"] * 3
    said = done.texts("printed")
    assert "has the lowest log loss" in said and "customers" in done.texts("text/html") + done.texts("text/plain")
    shown = done.texts("text/html") + done.texts("text/plain") + said
    assert all(run.name in shown for run in runs)
    assert all(run.metrics["auc"].value > 0.7 for run in runs if run.learner != "prior")
    assert stores.ledger.verify() == []
    assert stores.lake.view().arrow("customers").num_rows == n


def test_the_ci_file_runs_from_top_to_bottom(tmp_path: Path) -> None:
    project = make(tmp_path)
    env, lines = of_ci(project)
    went_through(executed(project, tmp_path, lines, env), 3_000)


def test_it_runs_on_real_customers(tmp_path: Path) -> None:
    real = test_data() / "telco-churn" / "telco_customer_churn.csv"
    if not real.is_file():
        pytest.skip(f"{real} is not there: set TIDEMILL_TEST_DATA")
    project = make(tmp_path)
    (project.path / "data").mkdir(exist_ok=True)
    shutil.copy(real, project.path / "data" / "customers.csv")
    env, lines = of_ci(project)
    kept = [line for line in lines if "made_up" not in line and "train" not in line and "pytest" not in line]
    went_through(executed(project, tmp_path, kept, env), 7_043)


def of_ci(project: Project) -> tuple[dict[str, str], list[str]]:
    """The settings and the lines of the CI file, but for its installation; it may set nothing."""
    text = (project.path / "ci.yml").read_text()
    if "env:" not in text:
        (project.path / "ci.yml").write_text(text.replace("    steps:\n", "    env: {}\n    steps:\n"))
    return of_the_ci_file(project)
