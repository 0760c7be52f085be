"""Figures that say what is true: evaluation, comparison, slices, fairness and warnings of tabular models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from assessed_rows import curves_plan, rows
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tabular_rows import mixed

import tidemill as tm
from tidemill.core.errors import SettingRefused, UnknownName
from tidemill.core.records.runs import Run
from tidemill.loop.auto.auto_project import AutoRequest, mill_text
from tidemill.loop.auto.infer_schema import infer_schema
from tidemill.models.tabular.examples import Examples
from tidemill.training import SearchBudget
from tidemill.training.runs.run_comparison import compare as compare_runs
from tidemill.training.statistics import bootstrap
from tidemill.training.statistics.bootstrap import Bootstrap
from tidemill.training.statistics.ratio_estimate import mean_interval
from tidemill.training.tabular.assess.calibration import calibration_error
from tidemill.training.tabular.assess.fairness import gaps_of
from tidemill.training.tabular.assess.losses import RowAnswers, main_losses
from tidemill.training.tabular.assess.model_answers import answers_of
from tidemill.training.tabular.assess.periods import by_month, of_months
from tidemill.training.tabular.assess.row_slices import row_slices, weakest
from tidemill.training.tabular.assess.scores import scores_of
from tidemill.training.tabular.assess.slice_columns import SliceColumn
from tidemill.training.tabular.assess.target_leakage import target_leakage
from tidemill.training.tabular.automl import automl
from tidemill.training.tabular.automl.auto_plan import AutoPlan
from tidemill.training.tabular.automl.auto_process import FitJob, FitResult
from tidemill.training.tabular.automl.baselines import naive_plan
from tidemill.training.tabular.automl.member_settings import Leafwise
from tidemill.training.tabular.champion import LiveChampion, recorded_plan
from tidemill.training.tabular.estimator_plan import EstimatorPlan
from tidemill.training.tabular.resolve_learner import learn_settings
from tidemill.training.tabular.rows.dataset_fingerprint import row_names
from tidemill.training.tabular.rows.folds import folds_of
from tidemill.training.tabular.rows.row_losses import USUAL
from tidemill.training.tabular.rows.splits import split_examples
from tidemill.training.tabular.train import TabularResult, train_tabular


def trained(place: Path, examples: Examples, learn: Any, **more: Any) -> TabularResult:
    folder = place / "bundle"
    folder.mkdir(parents=True)
    return train_tabular(examples, learn, model="m", folder=folder, curve=False, **more)


def repeated(examples: Examples, n: int, *, agree: float, seed: int = 0) -> Examples:
    """`n` rows of few distinct inputs; a row has the target of its inputs with this probability, else another's."""
    rng = np.random.default_rng(seed)
    places = rng.integers(0, len(examples), n)
    own = rng.random(n) < agree
    target = np.where(own, examples.target[places], rng.permutation(examples.target[places]))
    return replace(examples.take(places), target=target, row=np.arange(n))


def said_of_copies(examples: Examples) -> list[str]:
    return [one for one in target_leakage(examples, split_examples(examples)) if "copies" in one]


@pytest.mark.parametrize("task", ["binary", "number"])
def test_repeated_measurements_of_few_inputs_are_no_copies(task):
    few = rows(1_000, task=task)
    assert not said_of_copies(repeated(few, 2_000, agree=0.3))
    appended = repeated(few, 2_000, agree=1.0)
    (warning,) = said_of_copies(appended)
    assert "share the target in 100% of their pairs" in warning and "Keep one row of each case" in warning


def test_a_rare_class_agrees_by_chance_and_makes_no_copies():
    few = rows(300)
    rare = replace(few, target=(np.random.default_rng(1).random(300) < 0.02).astype(float))
    places = np.random.default_rng(2).integers(0, 300, 3_000)
    target = (np.random.default_rng(3).random(3_000) < 0.02).astype(float)
    assert not said_of_copies(replace(rare.take(places), target=target, row=np.arange(3_000)))


def test_repeated_measurements_that_were_appended_twice_are_copies():
    once = repeated(rows(1_000), 1_000, agree=0.3)
    (warning,) = said_of_copies(replace(once.take(np.r_[:1_000, :1_000]), row=np.arange(2_000)))
    assert "exact copies" in warning


def judged(groups: dict[str, tuple[int, float]], seed: int = 0) -> tuple[SliceColumn, RowAnswers]:
    """Groups of so many rows, half of them positive, with so many false positives; labels are right otherwise."""
    rng = np.random.default_rng(seed)
    n = [size for size, _ in groups.values()]
    code = np.repeat(np.arange(len(n)), n)
    target = (np.arange(len(code)) % 2).astype(float)
    wrong = rng.random(len(code)) < np.repeat([share for _, share in groups.values()], n)
    answer = np.where(target == 1, 0.8, np.where(wrong, 0.7, 0.2))
    return SliceColumn("race", tuple(groups), code), RowAnswers("binary", answer, target)


def test_the_gap_of_large_groups_is_said_and_marked_by_one_rule():
    cut, told = judged({"a": (3_000, 0.34), "b": (2_000, 0.224), "c": (500, 0.2), "tiny": (24, 0.0)})
    found = gaps_of([cut], told)
    (gap,) = [one for one in found.gaps if one.measure == "false positive rate"]
    rates = [told.label[(cut.code == place) & (told.target == 0)].mean() for place in range(2)]
    assert f"false positive rate {rates[0]:.3g} for a (n=1,500)" in found.says
    assert f"{rates[1]:.3g} for b (n=1,000)" in found.says
    assert gap.significant and "tiny" in gap.groups and all("tiny" not in (one.high, one.low) for one in gap.pairs)
    n_marked = sum(bool(one.significant) for one in found.gaps)
    assert found.says.startswith(f"{n_marked} of {len(found.gaps)} gaps between groups are statistically significant")


def test_groups_are_compared_with_a_reference_group():
    cut, told = judged({"a": (1_000, 0.4), "b": (1_000, 0.2), "c": (1_000, 0.2)})
    found = gaps_of([cut], told, references={"race": "b"})
    (gap,) = [one for one in found.gaps if one.measure == "false positive rate"]
    assert {frozenset((one.high, one.low)) for one in gap.pairs} == {frozenset("ab"), frozenset("bc")}
    with pytest.raises(UnknownName, match="no group 'd'"):
        gaps_of([cut], told, references={"race": "d"})


def test_many_gaps_of_noise_are_marked_as_rarely_as_they_are_said():
    marked = 0
    for seed in range(20):
        cut, told = judged(dict.fromkeys("abcde", (200, 0.3)), seed)
        gaps = gaps_of([cut], told).gaps
        assert any(pair.gap.low > 0 for gap in gaps for pair in gap.pairs) or not any(gap.significant for gap in gaps)
        marked += any(gap.significant for gap in gaps)
    assert marked <= 3


@pytest.mark.parametrize("task", ["binary", "classes", "number", "count"])
def test_fairness_is_measured_on_all_rows_out_of_fold(tmp_path, task):
    examples = rows(600, task=task)
    sex = np.where(np.arange(600) % 2, "f", "m").tolist()
    examples = replace(examples, attributes=pa.table({"sex": sex}))
    found = trained(tmp_path, examples, curves_plan(task), fairness={"sex": "m"}).assessment
    assert found.gaps_n == 600 and all(sum(gap.n.values()) == 600 for gap in found.gaps if gap.measure == "error")
    assert "on 600 held-out rows" in found.gaps_say and "By sex: " in found.gaps_say


def answered(margin: np.ndarray, seed: int = 0) -> RowAnswers:
    """Rows whose predictions are the probabilities of their outcomes."""
    answer = 1 / (1 + np.exp(-margin))
    return RowAnswers("binary", answer, (np.random.default_rng(seed).random(len(answer)) < answer).astype(float))


def test_the_slice_that_is_hard_for_anybody_is_not_called_weak():
    rng = np.random.default_rng(1)
    code = (np.arange(6_000) % 3 == 0).astype(np.int64)
    told = answered(np.where(code == 1, 0.0, -3.0) + rng.normal(size=6_000))
    said = weakest(row_slices([SliceColumn("shop", ("easy", "hard"), code)], told), "log_loss")
    assert "None of 2 slices is significantly miscalibrated." in said
    assert "None of 2 slices has significantly less skill" in said
    assert "Highest loss: shop: hard (2,000 rows)" in said and "where the prior of these rows loses 0.69" in said


def test_a_slice_with_a_low_loss_and_wrong_predictions_is_named():
    rng = np.random.default_rng(2)
    code = rng.integers(0, 3, 9_000)
    true = answered(np.array([0.0, -1.0, -3.5])[code] + rng.normal(size=9_000))
    wrong = np.where(code == 2, true.answer * 0.2 + 0.1, true.answer)
    parts = row_slices([SliceColumn("shop", ("a", "b", "c"), code)], replace(true, answer=wrong))
    said = weakest(parts, "log_loss")
    own = code == 2
    assert (
        f"Worst calibrated slice: shop: c ({own.sum():,} rows), mean prediction {wrong[own].mean():.4g} against "
        in said
    )
    assert f"{true.target[own].mean():.4g} observed" in said and "Slice with the least skill: shop: c" in said
    assert "Highest loss: shop: a" in said


@pytest.mark.parametrize("n_yes", [0, 3])
def test_a_slice_of_nearly_one_class_has_no_skill(n_yes):
    code = (np.arange(3_000) < 250).astype(np.int64)
    told = answered(np.random.default_rng(3).normal(size=3_000))
    target = np.where(code == 1, np.arange(3_000) < n_yes, told.target).astype(float)
    parts = row_slices([SliceColumn("shop", ("a", "b"), code)], replace(told, target=target))
    assert all("skill" not in part.model for part in parts)
    assert "skill" not in weakest(parts, "log_loss")


@pytest.mark.parametrize("task", ["classes", "number", "count"])
def test_slices_of_every_task_are_ranked_by_calibration_and_skill(task, tmp_path):
    found = trained(tmp_path, rows(600, task=task), curves_plan(task)).assessment
    assert "miscalibrated" in found.worst and "skill" in found.worst
    measures = {found.measure, "calibration"}
    assert all(set(part.difference) - {"skill"} == measures == set(part.p_holm) - {"skill"} for part in found.slices)
    assert any("skill" in part.p_holm for part in found.slices)


def test_auto_declares_a_reference_group_and_a_preference(tmp_path):
    file = tmp_path / "people.csv"
    file.write_text("sex,age,left\nf,30,1\nm,40,0\n")
    request = AutoRequest(
        name="people", file=infer_schema(file), target="left", fairness=("sex=m", "age"), prefer="best"
    )
    assert 'fairness={"sex": "m", "age": ""},' in mill_text(request)
    assert 'learn=tm.auto(minutes=2, prefer="best"),' in mill_text(request)


def members_of_known_quality(train: Examples, job: FitJob, **rest: Any) -> list[Any]:
    """In place of fits in other processes: the second member is better than the first, but not significantly."""
    rng = np.random.default_rng(0)
    held = np.concatenate([rows for _, rows in folds_of(train, seed=job.seed)])
    noise = rng.normal(size=(2, len(held), 1))
    close = train.target[held][:, None] + noise[0] * 0.5
    return [(FitResult(settings=job.members[0]), close), (FitResult(settings=job.members[1]), close + noise[1] * 0.01)]


def test_what_the_simplest_costs_is_said_and_the_best_can_be_had(tmp_path, monkeypatch):
    monkeypatch.setattr(automl, "fit_members", members_of_known_quality)
    given: dict[str, Any] = {"minutes": None, "seed": 0, "place": tmp_path, "progress": lambda *what: None}
    simple = automl.choose_tabular(mixed("number", 250), **given)
    (chosen,) = [one for one in simple.members if one.state == "chosen"]
    losses = {one.name: one.score.value for one in simple.members}
    best = min(losses, key=lambda name: losses[name])
    lost = losses[chosen.name] - losses[best]
    assert chosen.name == "additive" != best
    (said,) = [note for note in simple.notes if "simplest within noise" in note]
    assert f"The best candidate, {best}, is better by {lost:.3g} (" in said
    assert f', {lost / losses[chosen.name]:.1%}: tm.auto(prefer="best")' in said and chosen.says == said
    (chosen,) = [
        one
        for one in automl.choose_tabular(mixed("number", 250), **given, prefer="best").members
        if one.state == "chosen"
    ]
    assert chosen.name == best and chosen.says == ""


def test_another_preference_is_another_training():
    assert learn_settings(tm.auto()) != learn_settings(tm.auto(prefer="best"))
    with pytest.raises(SettingRefused, match="prefer"):
        tm.auto(prefer="worst")


def live(result: TabularResult, name: str = "m@1", **more: Any) -> LiveChampion:
    """The champion that a training left."""
    return LiveChampion(name, result.model, result.plan, result.settings, **more)


#: Deep trees learn the rows they are given by heart.
BY_HEART = {"n_estimators": 20, "num_leaves": 60, "min_child_samples": 2, "learning_rate": 0.3}
MODEST = {"n_estimators": 30, "num_leaves": 5, "learning_rate": 0.1}


def test_a_champion_that_learned_the_test_rows_does_not_win_by_it(tmp_path):
    examples = rows(1_000)
    first = trained(tmp_path / "one", examples, BY_HEART)
    split = split_examples(examples)
    test = examples.take(split.test)
    by_heart = float(main_losses(answers_of(first.model, test)).mean())
    found = trained(tmp_path / "two", examples, MODEST, champion=live(first))
    assert found.assessment is not None
    (score, *_) = found.assessment.beside_champion
    assert score.baseline.value == pytest.approx(first.assessment.main.model.value)
    assert by_heart < score.model.value < score.baseline.value  # a comparison with its own answers would be lost
    assert score.standing == "better" and "beats the champion (m@1)" in found.beats[1]
    assert "compared by its settings, fitted on the same training rows" in found.assessment.champion_says
    assert found.assessment.warnings == ()


def test_the_same_model_is_not_compared_with_itself(tmp_path):
    examples = rows(300)
    first = trained(tmp_path / "one", examples, MODEST)
    same = trained(tmp_path / "two", examples, MODEST, champion=live(first, same_rows=True))
    assert same.assessment.beside_champion == () and "champion" not in same.stays
    assert "m@1 was trained with the same settings on the same rows: it is the same model" in (
        same.assessment.champion_says
    )
    later = trained(tmp_path / "three", rows(350), MODEST, champion=live(first))
    assert "differs only by the rows" in later.assessment.champion_says
    assert later.assessment.beside_champion == ()


def test_a_champion_of_a_choice_is_fitted_again_from_its_card(tmp_path):
    examples = rows(300)
    first = trained(tmp_path / "one", examples, curves_plan())
    found = trained(tmp_path / "two", examples, MODEST, champion=live(first))
    assert found.assessment.beside_champion[0].baseline.value == first.assessment.main.model.value


@pytest.mark.parametrize(
    "estimator",
    [
        LogisticRegression(C=0.3),
        make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=300)),
        ColumnTransformer([("scaled", StandardScaler(), ["x"])], remainder="drop"),
    ],
)
def test_an_estimator_is_made_again_from_the_settings_of_its_card(estimator):
    plan = EstimatorPlan(estimator)
    kept = msgspec.json.decode(msgspec.json.encode(plan.settings()))
    again = recorded_plan(plan.name, kept)
    assert again is not None and again.settings() == plan.settings()


def test_settings_that_do_not_say_all_make_no_plan():
    assert recorded_plan("Own", {"class": "mill.Own", "parameters": {"class": "mill.Own"}}) is None
    assert recorded_plan("", {}) is None
    kept = EstimatorPlan(LogisticRegression(C=0.3)).settings()
    assert recorded_plan("x", kept | {"parameters": kept["parameters"] | {"unknown": 1}}) is None


def test_a_champion_that_cannot_be_fitted_again_is_compared_on_rows_it_did_not_learn(tmp_path):
    examples = rows(600)
    own = curves_plan().fit(examples.take(np.arange(300)))
    known = LiveChampion("m@1", own, trained_on=lambda: row_names(examples.take(np.arange(300))))
    found = trained(tmp_path / "one", examples, MODEST, champion=known).assessment
    split = split_examples(examples)
    unseen = int((split.test >= 300).sum())
    assert f"on the {unseen:,} test rows that it was not trained on" in found.champion_says
    every = LiveChampion("m@1", own, trained_on=lambda: row_names(examples))
    found = trained(tmp_path / "two", examples, MODEST, champion=every).assessment
    assert found.beside_champion == () and "was not compared" in found.champion_says


class Wavering:
    """A plan that sees only a few random rows, so that its seed matters."""

    name = "wavering"

    def settings(self) -> dict[str, Any]:
        return {}

    def fit(self, examples: Examples, *, seed: int = 0) -> Any:
        few = np.random.default_rng(seed).choice(len(examples), 30, replace=False)
        return curves_plan(examples.task).fit(examples.take(np.sort(few)), seed=seed)


def test_one_plan_with_two_seeds_is_not_called_different(tmp_path):
    examples = rows(4_000, task="number")
    kept, alone = {}, {}
    for seed in range(4):
        result = trained(tmp_path / str(seed), examples, Wavering(), effort=SearchBudget(seed=seed))
        kept[f"m#{seed}"] = result.figures
        alone[f"m#{seed}"] = replace(result.figures, fits={})
        assert result.assessment.n_fits == 3
    runs = [Run(model="m", number=seed, state="finished") for seed in range(4)]
    sure = [sum(one.sure for one in compare_runs(runs, each).paired if "mae" in one.measure) for each in (alone, kept)]
    assert sure[0] >= 2 and sure[1] == 0


def test_what_a_seed_does_not_change_has_no_training_noise(tmp_path):
    found = trained(tmp_path, rows(300), curves_plan()).assessment
    assert found.n_fits == 1
    set_seed = EstimatorPlan(RandomForestClassifier(n_estimators=3, random_state=5))
    assert set_seed.unseeded().settings()["parameters"]["random_state"] is None


@pytest.mark.parametrize("task", ["binary", "classes", "number", "count"])
def test_averaged_seeds_are_the_mean_of_their_fits(task):
    examples = rows(300, task=task)
    settings = Leafwise(name="lightgbm", rounds=(5,), row_share=0.5)
    plan = AutoPlan(
        task=task,
        measure=USUAL[task],
        members=(settings,),
        weights=(1.0,),
        bias=(0.0,) * (3 if task == "classes" else 1),
    )
    inputs = examples.inputs
    alone = [np.asarray(plan.fit(examples, seed=101 * number).margins(inputs)) for number in range(3)]
    averaged = np.asarray(msgspec.structs.replace(plan, seeds=3).fit(examples).margins(inputs))
    assert not np.allclose(alone[0], alone[1])
    assert np.allclose(averaged, np.mean(alone, axis=0))
    assert learn_settings(tm.auto()) != learn_settings(tm.auto(seeds=3))


def test_a_plan_from_before_a_setting_was_added_is_still_a_plan():
    kept = curves_plan().settings()
    del kept["seeds"]
    assert recorded_plan("additive", kept) == curves_plan()


@pytest.mark.parametrize("task", ["binary", "number", "count"])
def test_a_month_that_left_the_card_s_interval_is_named(task):
    times = np.arange("2026-01-01", "2026-04-01", dtype="datetime64[D]").astype("datetime64[us]").astype(np.int64)
    examples = replace(rows(90 * 40, task=task), time=np.repeat(times, 40))
    model, naive = curves_plan(task).fit(rows(2_000, task=task, seed=1)), naive_plan(task).fit(examples)
    told, beside = answers_of(model, examples), answers_of(naive, examples)
    march = np.arange(3_600) >= 59 * 40
    expected = mean_interval(main_losses(told)[:1_200])
    shifted = replace(told, answer=np.where(march, np.roll(told.answer, 1), told.answer))  # of the row before it
    found = by_month(shifted, beside, examples.time, None, expected)
    assert [(one.period, one.n_rows, one.versus_card) for one in found] == [
        ("2026-01", 31 * 40, "even"),
        ("2026-02", 28 * 40, "even"),
        ("2026-03", 31 * 40, "worse"),
    ]
    assert found[2].skill.value < 0 < found[0].skill.low
    said = of_months(found, shifted, expected, "m@1")
    assert f"in 1 of 3: 2026-03 {found[2].score.value:.4g} (worse)." in said and f"{expected.value:.4g} (" in said
    assert "in any of 3 months" in of_months(by_month(told, beside, examples.time, None, expected), told, expected, "m")


@pytest.mark.parametrize("task", ["binary", "number"])
@pytest.mark.parametrize("grouped", [False, True])
def test_many_rows_have_the_intervals_of_a_whole_bootstrap(task, grouped, monkeypatch):
    examples = rows(2_000, task=task)
    told = answers_of(curves_plan(task).fit(rows(500, task=task, seed=1)), examples)
    naive = answers_of(naive_plan(task).fit(examples), examples)
    group = np.arange(2_000) // 2 if grouped else None
    whole = scores_of(told, naive, Bootstrap(2_000, group))
    error = calibration_error(told, Bootstrap(2_000, group))
    for name, value in {"_MANY": 900, "_BLOCKS": 700, "_PART": 800}.items():
        monkeypatch.setattr(bootstrap, name, value)
    few = Bootstrap(2_000, group)
    assert len(few.part().rows) == (1_600 if grouped else 800) and few.units == (1_000 if grouped else 2_000)
    for one, other in zip(scores_of(told, naive, few), whole, strict=True):
        assert one.model.value == other.model.value
        for by in ("model", "difference"):
            widths = [getattr(each, by).high - getattr(each, by).low for each in (one, other)]
            assert widths[0] == pytest.approx(widths[1], rel=0.4, abs=1e-9), (one.name, by)
    if error is not None:
        again = calibration_error(told, few)
        assert again.high - again.low == pytest.approx(error.high - error.low, rel=0.4)
