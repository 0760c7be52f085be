"""Census and churn data: what is found in them; figures are printed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from assessed_rows import adult, churn

from tidemill.models import auto
from tidemill.training import TabularResult, train_tabular
from tidemill.training.tabular.assess.target_leakage import target_leakage
from tidemill.training.tabular.rows.splits import split_examples

pytestmark = pytest.mark.slow
lightgbm = pytest.importorskip("lightgbm")


def told(result: TabularResult) -> None:
    found = result.assessment
    assert found is not None
    print(f"\n{result.plan}: {found.protocol}")
    for score in found.scores:
        print(f"  {score.name} {score.model.value:.4f} ({score.model.low:.4f} to {score.model.high:.4f})")
    for sentence in (found.curve_says, found.worst, found.gaps_say, *result.beats, result.stays, *found.warnings):
        print(f"  {sentence}")


def learned(examples: object, learner: object, folder: Path, fairness: tuple[str, ...]) -> TabularResult:
    folder.mkdir()
    began = time.process_time()
    result = train_tabular(examples, learner, model="m", folder=folder, fairness=fairness)
    told(result)
    print(f"  {time.process_time() - began:.1f} CPU seconds in this process")
    return result


def test_census_income_differs_by_sex_and_race(data_dir, tmp_path):
    if not (data_dir / "adult").is_dir():
        pytest.skip("no census data")
    examples = adult(data_dir / "adult")
    assert target_leakage(examples, split_examples(examples)) == ()
    trees = lightgbm.LGBMClassifier(n_estimators=150, num_leaves=24, learning_rate=0.1, n_jobs=1, verbose=-1)
    result = learned(examples, trees, tmp_path / "bundle", ("sex", "race"))
    found = result.assessment
    gaps = {(gap.attribute, gap.measure): gap for gap in found.gaps}
    selection, true_positive = gaps["sex", "selection rate"], gaps["sex", "true positive rate"]
    assert (selection.highest, selection.lowest) == ("Male", "Female") and selection.gap.low > 0.14
    assert (true_positive.highest, true_positive.lowest) == ("Male", "Female") and true_positive.gap.low > 0
    assert gaps["race", "selection rate"].gap.low > 0.05
    assert "By sex: false positive rate" in found.gaps_say and "; true positive rate" in found.gaps_say
    assert found.main.model.value < 0.285 and found.warnings == ()
    assert found.calibration_error.value < 0.015
    assert found.curve[0].score.value > found.curve[-1].score.value + 0.05


def test_churn_is_foretold_and_nothing_is_called_a_leak(data_dir, tmp_path):
    file = data_dir / "telco-churn" / "telco_customer_churn.csv"
    if not file.is_file():
        pytest.skip("no churn data")
    choice = auto(minutes=5.0)  # far more than it takes
    result = learned(churn(file), choice, tmp_path / "bundle", ("gender", "SeniorCitizen"))
    found = result.assessment
    assert found.warnings == () and found.main.model.value < 0.43
    assert not any(gap.gap.low > 0 for gap in found.gaps if gap.attribute == "gender")
    assert "Contract: Month-to-month" in found.worst
