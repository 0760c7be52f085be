"""A tabular model from published rows to a release: learned once, pinned by reference, read again cell for cell."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from conftest_loop import Project
from tabular_projects import QUICK, change, churn_project, made_up

from tidemill.core.errors import (
    CardIncomplete,
    DatasetChanged,
    MemoryTooSmall,
    SettingRefused,
    TooLittleData,
    UnknownName,
    UsageError,
)
from tidemill.core.processes import memory
from tidemill.loop.examples.datasets import dataset_named, datasets, rebuild_dataset
from tidemill.loop.families.model_family import EvaluationOptions
from tidemill.loop.pipeline.run_plan import plan
from tidemill.loop.release.go_live import go_live
from tidemill.loop.state.project_status import status
from tidemill.loop.training.evaluate import evaluate
from tidemill.loop.training.train import TrainingResult, train
from tidemill.models.tabular.tabular_bundle import open_tabular
from tidemill.training import Protocol

DAY = date(2026, 10, 31)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, TrainingResult]:
    project = churn_project(tmp_path_factory.mktemp("learned"))
    project.run(DAY, backfill=True)
    return project, train(*project.open(), "churn")


def test_a_release_carries_its_signature_its_assessment_and_its_functions(
    learned: tuple[Project, TrainingResult],
) -> None:
    project, found = learned
    stores, _ = project.open()
    signature, assessment = found.release.signature, found.card.assessment
    assert signature is not None and assessment is not None
    assert (signature.task, signature.classes) == ("binary", ("No", "Yes"))
    assert [field.name for field in signature.inputs][-2:] == ["charge_drift", "paid_per_month"]
    assert signature.computed[0].takes == ("tenure", "MonthlyCharges", "TotalCharges")
    assert list(found.release.rule_modules) == ["features/billing.py"]
    assert assessment.main.name == "log_loss" and assessment.main.difference.high < 0
    assert {gap.attribute for gap in assessment.gaps} == {"gender", "SeniorCitizen"}
    assert found.card.n_rows == 500 and found.card.data == {"customers": 1}
    model = open_tabular(stores.releases.bundle(found.release.bundle))
    assert [field.name for field in model.recipe.inputs] == [field.name for field in signature.inputs]


def test_the_run_is_told_with_its_figures_and_what_it_left(learned: tuple[Project, TrainingResult]) -> None:
    project, found = learned
    run = project.open()[0].runs.read(found.run)
    assert run.state == "finished" and run.learner == "LGBMClassifier"
    assert {"log_loss", "auc", "difference log_loss"} <= run.metrics.keys()
    assert {"bundle", "release", "dataset", "figures", "code", "environment"} <= run.artefacts.keys()


def test_what_was_learned_is_not_learned_again(learned: tuple[Project, TrainingResult]) -> None:
    project, found = learned
    again = train(*project.open(), "churn")
    assert not again.anew and again.release.name == found.release.name == "churn@1"


def test_a_training_beyond_the_memory_is_refused_before_rows_are_read(
    learned: tuple[Project, TrainingResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "machine_memory_bytes", lambda: 10_000)
    with pytest.raises(MemoryTooSmall, match="to train churn on the rows of customers") as refused:
        train(*learned[0].open(), "churn", again=True)
    assert "sample=0.0" in str(refused.value.tip)


def test_a_training_reads_a_sample_and_says_so(tmp_path: Path) -> None:
    project = churn_project(tmp_path)
    project.run(DAY, backfill=True)
    change(project.path, QUICK, f"{QUICK}, sample=0.5")
    stores, graph = project.open()
    found = train(stores, graph, "churn")
    assert found.card.sample is not None
    assert (found.card.sample.share, found.card.sample.n_rows) == (0.5, found.card.n_rows)
    assert 200 < found.card.n_rows < 300
    (pinned,) = datasets(stores, "churn")
    assert (pinned.sample, pinned.n_rows) == (0.5, found.card.n_rows)
    change(project.path, "sample=0.5", "sample=0.1")  # a dataset keeps its share
    stores, graph = project.open()
    assert len(rebuild_dataset(stores, graph, pinned)) == pinned.n_rows
    with pytest.raises(SettingRefused, match="sample=0 is not a share"):
        change(project.path, "sample=0.1", "sample=0")
        project.open()


def test_a_dataset_is_read_again_cell_for_cell(learned: tuple[Project, TrainingResult]) -> None:
    project, _ = learned
    stores, graph = project.open()
    (pinned,) = datasets(stores, "churn")
    assert (pinned.name, pinned.n_rows, pinned.tables) == ("churn@1", 500, {"customers": 1})
    assert len(rebuild_dataset(stores, graph, dataset_named(stores, "churn@newest"))) == 500
    with pytest.raises(UnknownName, match="no dataset 'churn@7'"):
        dataset_named(stores, "churn@7")


def test_status_and_plan_name_the_model(learned: tuple[Project, TrainingResult]) -> None:
    project, _ = learned
    stores, graph = project.open()
    assert [(model.name, model.releases, model.champion) for model in status(stores, graph).models] == [
        ("churn", ("churn@1",), None)
    ]
    assert [step.why for step in plan(stores, graph, DAY, stores.settings) if step.what == "churn"] == [
        "trained once; `tidemill train churn` trains it again"
    ]


def test_what_is_for_recommenders_is_refused(learned: tuple[Project, TrainingResult]) -> None:
    project, _ = learned
    with pytest.raises(UsageError, match="--rules-only is for recommenders"):
        train(*project.open(), "churn", rules_only=True)
    with pytest.raises(UnknownName, match="did you mean `churn`"):
        train(*project.open(), "chrun")


def test_new_rows_make_a_new_dataset_and_the_old_one_is_still_there(tmp_path: Path) -> None:
    project = churn_project(tmp_path, 200)
    project.run(date(2026, 10, 30), backfill=True)
    train(*project.open(), "churn")
    made_up(project.path).write(project.path / "data" / "more.csv", 260, seed=8)
    project.run(DAY)
    second = train(*project.open(), "churn")
    stores, graph = project.open()
    assert second.release.name == "churn@2" and second.card.n_rows == 260
    assert [one.n_rows for one in datasets(stores, "churn")] == [200, 260]
    assert len(rebuild_dataset(stores, graph, dataset_named(stores, "churn@1"))) == 200


def test_the_champion_is_compared_by_its_settings_and_not_with_itself(tmp_path: Path) -> None:
    project = churn_project(tmp_path, 300)
    project.run(DAY, backfill=True)
    stores, graph = project.open()
    first = train(stores, graph, "churn")
    go_live(stores, graph, "churn@1")
    again = train(stores, graph, "churn", again=True)
    assert again.anew and again.release.bundle == first.release.bundle
    found = again.card.assessment
    assert found is not None and found.beside_champion == () and "it is the same model" in found.champion_says
    verdict = go_live(stores, graph, again.release.name).verdict
    assert verdict is not None
    (check,) = [one for one in verdict.checks if one.name == "champion"]
    assert "it is the same model" in check.reason
    change(project.path, "num_leaves=6", "num_leaves=3")
    other = train(*project.open(), "churn").card.assessment
    assert other is not None and other.champion == again.release.name
    assert "by its settings, fitted on the same training rows" in other.champion_says
    assert other.beside_champion[0].baseline.value == pytest.approx(found.main.model.value)


def test_a_release_is_measured_on_the_rows_that_came_in_since(tmp_path: Path) -> None:
    project = churn_project(tmp_path, 300)
    project.run(date(2026, 10, 30), backfill=True)
    train(*project.open(), "churn")
    with pytest.raises(TooLittleData, match="0 rows arrived since churn@1 was trained"):
        evaluate(*project.open(), "churn")
    made_up(project.path).write(project.path / "data" / "more.csv", 900, seed=8)
    project.run(DAY)
    found = evaluate(*project.open(), "churn@1")
    assessment = found.report.assessment
    assert assessment is not None and assessment.n_test == 900 and assessment.n_train == 300
    assert assessment.main.difference.high < 0  # it beats the prior on people it has never seen
    run = project.open()[0].runs.read(found.run)
    assert run.kind == "evaluate" and "figures" in run.artefacts
    # by month, beside the card
    stores = project.open()[0]
    card = stores.releases.get("churn@1").card.assessment
    assert card is not None and assessment.expected == card.main.model
    assert sum(one.n_rows for one in assessment.periods) == 900 and "on the card of churn@1" in assessment.periods_say
    assert assessment.periods_say in run.notes


def test_slices_of_a_column_are_evaluated_and_options_of_recommenders_are_refused(tmp_path: Path) -> None:
    project = churn_project(tmp_path, 300)
    project.run(date(2026, 10, 30), backfill=True)
    train(*project.open(), "churn")
    made_up(project.path).write(project.path / "data" / "more.csv", 900, seed=8)
    project.run(DAY)
    found = evaluate(*project.open(), "churn", EvaluationOptions(by="Contract"))
    assert found.report.assessment is not None
    assert "Contract" in {part.family for part in found.report.assessment.slices}
    with pytest.raises(UsageError, match="--leave-one-out is for recommenders"):
        evaluate(*project.open(), "churn", EvaluationOptions(leave_one_out=True))
    with pytest.raises(UsageError, match="--ranked is for recommenders"):
        evaluate(*project.open(), "churn", EvaluationOptions(ranked=Path("theirs.csv")))
    with pytest.raises(UsageError, match="--history or --target is for recommenders"):
        evaluate(*project.open(), "churn", EvaluationOptions(protocol=Protocol(target="last")))
    with pytest.raises(UnknownName, match="Contrakt"):
        evaluate(*project.open(), "churn", EvaluationOptions(by="Contrakt"))


def test_a_dataset_whose_features_are_other_ones_now_is_refused_by_name(tmp_path: Path) -> None:
    project = churn_project(tmp_path, 120)
    project.run(DAY, backfill=True)
    train(*project.open(), "churn")
    change(project.path, "np.maximum(tenure, 1)", "np.maximum(tenure, 2)")
    stores, graph = project.open()
    with pytest.raises(DatasetChanged, match="the code of billing has changed"):
        rebuild_dataset(stores, graph, dataset_named(stores, "churn@1"))


TENURE = '''
@mill.features(entity="customerID", window="400 days", every="1 day")
def seen(customers):
    """How often a customer was seen."""
    return customers.group_by("customerID").agg(n_seen=nw.len())


churn = mill.model('''


def test_a_view_that_is_another_one_than_the_champion_learned_with_needs_somebody(tmp_path: Path) -> None:
    project = churn_project(tmp_path, 120)
    change(project.path, "churn = mill.model(", TENURE)
    change(project.path, "import numpy as np", "import narwhals as nw\nimport numpy as np")
    change(project.path, "features=[billing]", "features=[billing, seen]")
    project.run(DAY, backfill=True)
    stores, graph = project.open()
    learned = train(stores, graph, "churn")
    (said,) = [note for note in learned.notes if "the window of `seen` is 400 days long" in note]
    assert "it is not yet full at 120 of 120 examples (100%)" in said
    release = learned.release.name
    go_live(stores, graph, release)
    assert status(stores, graph).action_items == ()
    change(project.path, "n_seen=nw.len()", "n_seen=nw.len() * 2")
    (item,) = status(*project.open()).action_items
    assert "The code of seen has changed since churn was trained" in item.what
    assert [command.text for command in item.commands] == ["tidemill train churn"]


def test_nothing_is_learned_for_a_card_that_says_nothing(tmp_path: Path) -> None:
    project = churn_project(tmp_path, 80, learn=f'{QUICK},\n    log="available"')
    text = (project.path / "mill.py").read_text()
    (project.path / "mill.py").write_text(
        text.replace("Customers who would leave for a reason", "").replace(
            " that can be fixed: they are called first.", ""
        )
    )
    project.run(DAY, backfill=True)
    with pytest.raises(CardIncomplete):
        train(*project.open(), "churn")
