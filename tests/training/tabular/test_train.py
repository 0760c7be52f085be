from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from assessed_rows import DAY, curves_plan, rows, with_input

from tidemill.core.errors import SettingRefused, TargetUnfit, TooLittleData, UnknownName
from tidemill.core.records.assessment import Assessment
from tidemill.core.records.runs import Run
from tidemill.models import auto
from tidemill.models.tabular import open_tabular, parity
from tidemill.models.tabular.tabular_model import TabularModel
from tidemill.training import (
    SearchBudget,
    SplitRule,
    TabularResult,
    assess,
    compare,
    learn_settings,
    read_unit_metrics,
    split_examples,
    tabular_figures,
    train_tabular,
    write_unit_metrics,
)
from tidemill.training.tabular.automl.baselines import naive_plan
from tidemill.training.tabular.champion import LiveChampion


def trained(tmp_path: Path, examples: Any, learn: Any = None, name: str = "one", **more: Any) -> TabularResult:
    folder = tmp_path / name / "bundle"
    folder.mkdir(parents=True)
    return train_tabular(examples, learn or curves_plan(examples.task), model="m", folder=folder, **more)


@pytest.mark.parametrize("task", ["binary", "classes", "number", "count"])
def test_a_model_is_measured_beside_its_baseline_and_written_as_it_answers(tmp_path, task):
    examples = rows(2_000, task=task)
    steps: list[str] = []
    result = trained(tmp_path, examples, progress=lambda step, figures: steps.append(step))
    found = result.assessment
    assert found is not None and found.scores[0].name == found.measure == found.main.name
    assert found.main.difference.high < 0
    assert found.n_train + found.n_test == result.n_rows == 2_000
    assert len(result.beats) == 1 and "beats the baseline" in result.beats[0] and result.stays == ""
    assert result.golden is not None and parity(open_tabular(result.folder), result.folder) < 1e-9
    assert steps.count("curve") == len(found.curve) - 1 and {"evaluate", "fit", "export check"} < set(steps)
    by_influence = [influence.input for influence in found.influences]
    assert by_influence[0] == "x"
    direction = found.influences[0].direction
    assert direction is None if task == "classes" else direction > 0.9
    assert sum(influence.share for influence in found.influences) == pytest.approx(1)
    assert msgspec.json.decode(found.json(), type=Assessment) == found
    assert found.warnings == ()


def test_the_same_rows_in_any_order_give_the_same_figures(tmp_path):
    examples = rows(1_500)
    one, two = (trained(tmp_path, examples, name=name, effort=SearchBudget(seed=3)) for name in ("a", "b"))

    def plain(found: Assessment) -> Assessment:
        return msgspec.structs.replace(
            found, curve=tuple(msgspec.structs.replace(point, cpu_s=0.0) for point in found.curve)
        )

    assert plain(one.assessment) == plain(two.assessment)
    names = sorted(path.name for path in one.folder.iterdir())
    assert [(one.folder / name).read_bytes() for name in names] == [(two.folder / name).read_bytes() for name in names]
    shuffled = trained(tmp_path, examples.take(np.random.default_rng(0).permutation(1_500)), name="c")
    assert shuffled.assessment.main.model.value == pytest.approx(one.assessment.main.model.value, rel=1e-9)


def test_what_cannot_be_measured_is_learned_and_says_so(tmp_path):
    result = trained(tmp_path, rows(45))
    assert result.assessment is None and result.figures is None
    assert "not evaluated" in result.notes[0] and "45 rows" in result.notes[0]
    assert (result.folder / "tabular.json").exists()
    with pytest.raises(TooLittleData):
        trained(tmp_path, rows(0), name="none")
    with pytest.raises(TargetUnfit, match="1 of 100"):
        trained(tmp_path, replace(rows(100), target=np.r_[np.nan, np.ones(99)]), name="nan")


def test_no_row_of_the_data_is_in_the_bundle(tmp_path):
    examples = with_input(rows(600), "who", "str", pa.array([f"person-{i}" for i in range(600)]))
    result = trained(tmp_path, examples)
    assert b"person-" not in (result.folder / "golden.arrow").read_bytes()
    own = set(zip(*(examples.inputs[name].to_pylist() for name in ("x", "noise")), strict=True))
    inputs, _ = result.golden
    assert not own & set(zip(*(inputs[name].to_pylist() for name in ("x", "noise")), strict=True))
    assert inputs["shop"].null_count and inputs["x"].null_count


def test_learning_stops_before_the_test_begins(tmp_path):
    at = np.random.default_rng(0).integers(0, 300, 1_500) * DAY
    examples = replace(rows(1_500), time=at)
    seen: list[np.ndarray] = []

    class Spy:
        name = "spy"

        def settings(self) -> dict[str, Any]:
            return {}

        def fit(self, given: Any, *, seed: int = 0) -> TabularModel:
            seen.append(given.time)
            return curves_plan().fit(given, seed=seed)

    result = trained(tmp_path, examples, Spy())
    assert all(time.max() < result.assessment.split_at for time in seen[:-1])
    assert len(seen[-1]) == 1_500


def test_a_champion_is_asked_on_the_same_rows(tmp_path):
    examples = rows(3_000)
    few = curves_plan().fit(examples.take(np.arange(60)))
    result = trained(tmp_path, examples, champion=LiveChampion("m@1", few), curve=False)
    assert result.assessment.champion == "m@1" and len(result.beats) == 2 and "m@1" in result.beats[1]
    assert any("may have seen" in warning for warning in result.assessment.warnings)
    again = trained(tmp_path, examples, name="two", champion=LiveChampion("m@2", result.model), curve=False)
    assert "m@2" in again.stays and len(again.beats) == 1
    wider = with_input(examples, "more", "float", pa.array(np.ones(3_000)))
    other = curves_plan().fit(wider)
    lacking = trained(tmp_path, examples, name="three", champion=LiveChampion("m@3", other), curve=False)
    assert lacking.assessment.beside_champion == () and "more" in lacking.assessment.warnings[-1]


def test_leaks_reach_the_card(tmp_path):
    examples = rows(1_500)
    leaky = with_input(examples, "refund", "float", pa.array(examples.target))
    found = trained(tmp_path, leaky, curve=False).assessment
    assert "`refund`" in found.warnings[0] and any("suspiciously high" in warning for warning in found.warnings)


def test_a_gap_between_groups_that_are_no_input_is_found(tmp_path):
    examples = rows(4_000)
    rng = np.random.default_rng(5)
    west = np.array(examples.inputs["shop"].to_pylist()) == "west"
    sex = np.where(rng.random(4_000) < np.where(west, 0.97, 0.1), "f", "m")
    examples = replace(
        examples, attributes=pa.table({"sex": sex.tolist(), "coin": rng.choice(["a", "b"], 4_000).tolist()})
    )
    found = trained(tmp_path, examples, fairness=("sex", "coin"), curve=False).assessment
    gaps = {(gap.attribute, gap.measure): gap for gap in found.gaps}
    selection = gaps["sex", "selection rate"]
    assert (selection.highest, selection.lowest) == ("f", "m") and selection.gap.low > 0.05
    assert selection.gap.value == pytest.approx(selection.groups["f"].value - selection.groups["m"].value)
    assert "By sex: false" in found.gaps_say and "statistically significant" in found.gaps_say
    # every row is predicted by a model that was not fitted on it
    assert sum(gaps["sex", "true positive rate"].n.values()) == examples.target.sum() and found.gaps_n == 4_000
    assert {part.family for part in found.slices} == {"sex", "coin", "x", "noise", "shop"}
    with pytest.raises(UnknownName, match="age"):
        trained(tmp_path, examples, name="two", fairness=("age",))


def test_the_part_where_a_model_is_wrong_is_named(tmp_path):
    examples = rows(4_000, task="number")
    south = np.array(examples.inputs["shop"].to_pylist()) == "south"
    rng = np.random.default_rng(0)
    found = trained(tmp_path, replace(examples, target=examples.target + south * rng.normal(0, 4, 4_000)), curve=False)
    assert "shop: south" in found.assessment.worst
    quiet = trained(tmp_path, examples, name="two", curve=False).assessment
    assert "is significantly worse" in quiet.worst and quiet.worst.startswith("None of")


def test_two_runs_on_the_same_rows_can_be_paired(tmp_path):
    examples = rows(3_000)
    one = trained(tmp_path, examples, curve=False)
    two = trained(tmp_path, examples, naive_plan("binary"), name="two", curve=False)
    kept = []
    for name, result in (("a", one), ("b", two)):
        (tmp_path / name).mkdir()
        write_unit_metrics(result.figures, tmp_path / name)
        kept.append(read_unit_metrics(tmp_path / name))
    runs = [
        Run(
            model="m",
            number=i + 1,
            kind="train",
            state="finished",
            started_at=0,
            metrics=each.metrics,
        )
        for i, each in enumerate((one, two))
    ]
    found = compare(runs, {"m#1": kept[0], "m#2": kept[1]})
    paired = {row.measure: row for row in found.paired}
    assert found.unpaired == () and paired["log_loss[all]"].sure and paired["log_loss[all]"].difference.value > 0.1
    assert one.figures.users == two.figures.users
    assert list(runs[0].metrics)[:2] == ["log_loss", "auc"] and "difference log_loss" in runs[0].metrics
    other = trained(tmp_path, rows(3_000, seed=1), name="three", curve=False)
    assert other.figures.users != one.figures.users


def test_more_rows_are_said_to_help_where_they_do(tmp_path):
    found = trained(tmp_path, rows(12_000)).assessment
    points = found.curve
    assert [point.n_rows for point in points] == sorted(point.n_rows for point in points) and points[-1].share == 1
    assert points[0].score.value > points[-1].score.value
    assert found.curve_says.startswith("Twice the rows would")


def test_assess_measures_any_model_on_given_rows():
    examples = rows(1_000)
    split = split_examples(examples, SplitRule(share=0.5))
    train, test = examples.take(split.train), examples.take(split.test)
    model = curves_plan().fit(train)
    found = assess(model, test, baseline=("prior", naive_plan("binary").fit(train)))
    assert found.n_test == len(test) and found.baseline == "prior" and found.curve == ()
    assert found.main.model.value == pytest.approx(tabular_figures(model, test).values["log_loss"].mean())


def test_settings_are_told_by_name():
    assert learn_settings(curves_plan())["learner"] == "additive"
    assert learn_settings(auto(minutes=3.0)) == {"learner": "auto", "minutes": 3.0}


def test_an_estimator_is_trained_alike(tmp_path):
    pytest.importorskip("lightgbm")
    examples = rows(800)
    small = {"num_leaves": 4, "n_estimators": 30, "num_threads": 1}
    given = trained(tmp_path, examples, small, curve=False)
    assert given.plan == "lightgbm" and given.members == () and given.beats
    with pytest.raises(SettingRefused, match="only"):
        trained(tmp_path, examples, auto(only=["ease"]), name="three")


@pytest.mark.slow
def test_a_choice_is_trained_alike(tmp_path):
    chosen = trained(tmp_path, rows(800), auto(minutes=0.5), curve=False)
    assert chosen.members and chosen.assessment.members == chosen.members and chosen.beats
