"""`tidemill train` after `tidemill auto` trained again although nothing had changed, and said nothing of it."""

from __future__ import annotations

import json
import random
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tabular_projects import change, churn_project

from tidemill.cli.main import cli
from tidemill.core.errors import UsageError
from tidemill.loop.families.model_family import TrainingInputs, family_of
from tidemill.loop.training import train as training
from tidemill.loop.training.train import TrainingResult, train
from tidemill.training import SearchBudget

pytest.importorskip("lightgbm")
QUICK = 'learn=__import__("lightgbm").LGBMClassifier(n_estimators=12, num_leaves=6, verbose=-1, n_jobs=1)'


def trained(project: Any, **more: Any) -> TrainingResult:
    return train(*project.open(), "churn", **more)


def mark(project: Any) -> str:
    stores, graph = project.open()
    with stores.leases.take("train:churn") as lease:
        inputs = TrainingInputs(stores, graph, "churn", stores.lake.view(), None, SearchBudget(), lease)
        return family_of(graph, "churn").training(inputs).mark


def test_only_what_is_unchanged_is_not_trained_again(tmp_path: Path) -> None:
    project = churn_project(tmp_path, 60)
    project.run(date(2026, 10, 30), backfill=True)
    first = trained(project)
    assert first.anew and first.created
    for unchanged in ({}, {"effort": SearchBudget(minutes=5)}):  # an estimator has no time limit
        same = trained(project, **unchanged)
        assert not same.anew and not same.created and same.release.name == first.release.name
    again = trained(project, again=True)
    assert again.anew and again.release.bundle == first.release.bundle

    marks = [mark(project)]  # by which `train` finds an earlier training
    change(project.path, "n_estimators=12", "n_estimators=14")
    marks.append(mark(project))
    change(project.path, '"paid_per_month": TotalCharges', '"paid_per_month": 2 * TotalCharges')
    marks.append(mark(project))
    file = project.path / "data" / "customers.csv"
    lines = file.read_text().splitlines()
    changed = lines[1].split(",")
    changed[-1] = "No" if changed[-1] == "Yes" else "Yes"
    file.write_text("\n".join([lines[0], ",".join(changed), *lines[2:]]) + "\n")
    assert mark(project) == marks[-1], "the file has not been ingested"
    project.run(date(2026, 10, 31))
    assert len({*marks, mark(project)}) == 4, "a setting, code, a row"


@pytest.fixture
def customers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEMILL_KEYS", str(tmp_path / "keys"))
    draw = random.Random(1)
    rows = [(draw.random() * 10, draw.choice("abc")) for _ in range(200)]
    lines = [f"{amount:.3f},{plan},{'yes' if draw.random() < amount / 10 else 'no'}" for amount, plan in rows]
    (tmp_path / "customers.csv").write_text("\n".join(["amount,plan,left", *lines]) + "\n")
    return tmp_path / "customers.csv"


def said(*words: str) -> dict[str, Any]:
    done = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def auto(file: Path, *more: str) -> dict[str, Any]:
    return said("auto", str(file), "--target", "left", "--minutes", "0.05", "--helps", "All.", "--exit", *more)


def test_train_and_auto_after_auto_name_the_release_that_is_there(
    customers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = auto(customers)["release"]

    def refuse(*_: Any) -> None:
        raise AssertionError("it trains")

    with monkeypatch.context() as patched:
        patched.setattr(training, "_fit", refuse)
        found = said("train", "customers", "--project", "customers")
        assert found["release"] == first and not found["anew"]
        assert not said("train", "customers", "--minutes", "5", "--project", "customers")["anew"]
        assert auto(customers)["release"] == first
        shown = CliRunner().invoke(cli, ["train", "customers", "--project", "customers"]).output
        assert f"Nothing was trained: {first} " in shown and "train customers --again" in " ".join(shown.split())
    customers.write_text(customers.read_text() + "1.5,a,no\n")
    with pytest.raises(UsageError, match="has a project with a release") as refused:
        auto(customers)
    assert "tidemill run && tidemill train customers; or" in str(refused.value.tip)
