from __future__ import annotations

import doctest
import html as markup
import itertools
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from runs_to_show import metric
from tabular_to_show import assessment, learn_tabular, score, signature, tabular_mill

from tidemill.console import compare_page, loop_page, model_page, run_page, runs_page
from tidemill.console.drawings import plot
from tidemill.console.drawings.plot import calibration_plot, learning_plot
from tidemill.console.state import key_metric, tabular_report
from tidemill.console.state.evaluation_report import shareable
from tidemill.console.state.key_metric import key_figure as figure_of
from tidemill.console.state.tabular_report import verdict
from tidemill.core.clock import to_micros
from tidemill.core.records.assessment import CalibrationBin, CurvePoint
from tidemill.core.records.headline import headline
from tidemill.core.records.prediction import Prediction
from tidemill.core.records.quality import Metric
from tidemill.feedback.log_tables import prediction_rows
from tidemill.loop.state.ledger_projection import LedgerProjection
from tidemill.serving.infer.oip_request import InferRequestReader
from tidemill.training import PerUnitMetrics, compare

HOSTILE = ["<script>alert(1)</script>", '"><svg onload=alert(1)>', "{{ 1001*1001 }}", "</title><b>x", "'-alert(1)-'"]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A mill with a tabular champion and a better candidate; tests do not change it."""
    return tabular_mill(tmp_path_factory.mktemp("calls"))[0]


def page(mill: Any, number: int | None = None, model: str = "churn") -> Any:
    return model_page(mill.stores(models=["churn"]), LedgerProjection(mill.ledger), model, number)


@pytest.mark.parametrize("module", [plot, key_metric])
def test_the_examples_run(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


# ---- whether it is better


def test_better_is_what_lies_beyond_noise_on_the_good_side() -> None:
    assert score("log_loss", 0.4, 0.5).standing == "better"
    assert score("log_loss", 0.5, 0.4).standing == "worse"
    assert score("auc", 0.8, 0.7, higher=True).standing == "better"
    assert score("auc", 0.70, 0.71, higher=True).standing == "even"


def test_the_headline_says_whether_it_beats_the_baseline_and_the_champion(calls: Any) -> None:
    assert page(calls).tabular.says == "churn@1 beats its baseline (prior)."
    second = page(calls, 2).tabular
    assert second.says == "churn@2 beats the champion, churn@1, and beats its baseline (prior)."
    assert second.sure.startswith("Log loss 0.415 [0.395, 0.435], compared with 0.450 [0.430, 0.470] of churn@1:")
    assert [beside.name for beside in second.beside] == ["churn@1", "prior"]


def test_what_is_no_better_and_what_was_not_measured_is_said() -> None:
    even = assessment(0.57)
    assert verdict("churn@3", even)[0] == "churn@3 is not significantly better than its baseline (prior)."
    assert verdict("churn@3", assessment(0.7))[0] == "churn@3 is worse than its baseline (prior)."
    assert verdict("churn@3", None)[0] == "It was not evaluated."


def test_a_release_without_an_assessment_has_a_page(mill: Any, get: Callable[..., Any]) -> None:
    mill.open()
    learn_tabular(mill, None, task="number")
    made = page(mill)
    assert made.tabular.says == "It was not evaluated."
    assert get(mill.stores(models=["churn"]), "/models/churn").status == 200


# ---- what is shown


def test_the_figures_stand_beside_the_baseline(calls: Any, get: Callable[..., Any]) -> None:
    html = get(calls.stores(), "/models/churn").text
    for words in (
        "Log loss",
        "AUC",
        "Brier score",
        "lower is better",
        "higher is better",
        "Difference from the baseline",
    ):
        assert words in html
    assert "popularity" not in html.lower()
    assert "Slate stages" not in html
    assert "Outcomes by position" not in html


def test_the_versions_carry_the_measure_that_decides(calls: Any) -> None:
    versions = page(calls).versions
    assert [(one.name, one.quality.metric, one.quality.less, one.quality.over) for one in versions] == [
        ("churn@2", "log_loss", True, "1,373 test rows"),
        ("churn@1", "log_loss", True, "1,373 test rows"),
    ]


def test_the_worst_part_comes_first_whichever_way_is_bad(calls: Any) -> None:
    parts = page(calls, 2).tabular.parts.parts
    assert [one.name.strip() for one in parts] == ["Month-to-month", "missing", "DSL", "Two year"]
    assert [one.standing for one in parts] == ["worse", "even", "even", "better"]


def test_significant_gaps_come_first(calls: Any) -> None:
    gaps = page(calls, 2).tabular.gaps
    assert [(one.attribute, one.significant) for one in gaps] == [("senior", True), ("gender", False)]


def test_nothing_of_fewer_than_ten_rows_is_shown(calls: Any, get: Callable[..., Any]) -> None:
    for path in ("/models/churn", "/models/churn.json"):
        text = get(calls.stores(), path).text
        assert "0.991" not in text  # the bin of four rows
        assert '"few"' not in text
        assert ">few<" not in text
        assert "tiny" not in text
    few = shareable(learned_few(calls))
    assert few.card.assessment is None
    assert headline(learned_few(calls).card) is None


def learned_few(mill: Any) -> Any:
    release = LedgerProjection(mill.ledger).catch_up().models["churn"].releases[0][0]
    return replace(release, card=replace(release.card, assessment=assessment(n_test=9)))


def test_calibration_is_told_in_a_sentence() -> None:
    near = tuple(CalibrationBin(n=99, low=0, high=1, predicted=p, observed=metric(p + 0.01, 0.05)) for p in (0.1, 0.5))
    low = tuple(CalibrationBin(n=99, low=0, high=1, predicted=p, observed=metric(p + 0.2, 0.05)) for p in (0.1, 0.5))
    said = [_calibration(bins) for bins in (near, low, (low[0], _flipped(low[1])))]
    assert said[0].startswith("Well calibrated in every bin.")
    assert said[1].startswith("Predictions are significantly too low in 2 of 2 bins.")
    assert said[2].startswith("Predictions are significantly off, some too low and some too high, in 2 of 2 bins.")


def _calibration(bins: tuple[CalibrationBin, ...]) -> str:
    return tabular_report._calibration(assessment(bins=bins))


def _flipped(one: CalibrationBin) -> CalibrationBin:
    return CalibrationBin(n=one.n, low=0, high=1, predicted=one.predicted, observed=metric(one.predicted - 0.2, 0.05))


def test_influences_and_what_was_tried_are_in_order(calls: Any) -> None:
    tab = page(calls, 2).tabular
    assert [(one.input.strip(), one.says) for one in tab.movers] == [
        ("Contract", "by category"),
        ("tenure", "higher values lower it"),
        ("charges", "no single direction"),
    ]
    assert [one.member.state for one in tab.members] == ["chosen", "kept out", "late"]
    assert "members" not in page(calls, 2).parameters


def test_it_says_how_to_ask_and_the_example_is_a_request_that_is_understood(calls: Any) -> None:
    asking = page(calls, 2).tabular.asking
    assert [(one.field.name, one.datatype, one.says) for one in asking.fields][:3] == [
        ("customer", "BYTES", "identifies a person; replaced by a pseudonym"),
        ("tenure", "INT64", "required"),
        ("Contract", "BYTES", ""),
    ]
    assert [(one.view, one.text, one.gives) for one in asking.sources] == [
        ("zone_pace", "zone_pace by zone", ("pace",)),
        ("", "billing(tenure, charges)", ("drift",)),
    ]
    words = shlex.split(asking.curl)
    assert words[:3] == ["curl", "-s", "http://127.0.0.1:8400/v2/models/churn/infer"]
    question = InferRequestReader(signature(), lambda kind, raw: f"s-{raw}", 10).read(words[-1].encode(), None)
    assert question.n == 1
    assert dict(zip([one.field.name for one in asking.fields], question.columns, strict=True))["tenure"] == [1]


def test_inputs_are_shown_with_their_training_values_and_the_share_of_unlike_predictions(
    mill: Any, get: Callable[..., Any]
) -> None:
    mill.open()
    learn_tabular(mill, assessment())
    assert [one.unseen for one in page(mill).training_values] == [None, None]
    now = to_micros(mill.clock.now())
    made = [Prediction(model="churn", served_at=now - k, unseen=("contract",) * (k < 3)) for k in range(12)]
    mill.log("predictions", prediction_rows(made))
    first, second = page(mill).training_values
    assert (first.input, first.says, first.unseen) == ("contract", "monthly, one year, two years, may be missing", 0.25)
    assert (second.input, second.says, second.unseen) == ("tenure", "0 to 72, never missing", 0.0)
    shown = get(mill.stores(models=["churn"]), "/models/churn").text
    assert "Inputs in training and in use" in shown and "of 12, last day" in shown


def test_the_page_ends_in_commands_that_export_and_reproduce(calls: Any, get: Callable[..., Any]) -> None:
    made = page(calls, 2)
    assert [command.text for command in made.tabular.commands] == [
        "tidemill export churn@2 churn-2",
        "tidemill reproduce churn@2",
    ]
    assert "refuse requests" in [command.does for command in made.commands]
    html = get(calls.stores(), "/models/churn?release=2").text
    assert ">Origin</h3>" in html
    assert "hf:calls" in html


def test_a_recommender_beside_it_keeps_its_page(lively: Any, get: Callable[..., Any]) -> None:
    assert model_page(lively.stores(), LedgerProjection(lively.ledger), "for_you").tabular is None
    html = get(lively.stores(), "/models/for_you").text
    assert "Difference from popularity" in html
    assert "Slate stages" in html


# ---- the Loop page


def loop(mill: Any) -> Any:
    return loop_page(mill.stores(models=["churn"]), LedgerProjection(mill.ledger))


def test_a_tabular_model_goes_through_the_same_needs(mill: Any) -> None:
    mill.open()
    mill.publish(mill.increment("customers", mill.clock.now().date()))
    assert [need.what for need in loop(mill).needs] == ["churn has not been trained yet"]
    one = learn_tabular(mill, assessment())
    assert [need.what for need in loop(mill).needs] == ["churn has no champion"]
    mill.promote(one.name)
    made = loop(mill)
    assert [need.what for need in made.needs] == []
    (live,) = made.live
    assert (live.release, live.quality.metric, live.quality.beside) == ("churn@1", "log_loss", "prior")


def test_a_leak_of_the_champion_needs_somebody(mill: Any, get: Callable[..., Any]) -> None:
    mill.open()
    mill.publish(mill.increment("customers", mill.clock.now().date()))
    warning = "`billed` alone foretells the answer (AUC 0.999)"
    mill.promote(learn_tabular(mill, assessment(warnings=(warning,))).name)
    made = loop(mill)
    (need,) = made.needs
    assert (need.weight, need.what) == ("decide", "churn@1 may be worse than its metrics suggest")
    assert need.why == (f"{warning}.",)
    assert made.headline == "1 action required."
    html = get(mill.stores(), "/models/churn").text
    assert html.index("may be worse than its metrics suggest") < html.index("Versions")


def test_a_function_fills_the_room_of_features(tmp_path: Path) -> None:
    mill, _ = tabular_mill(tmp_path)
    (room,) = [room for room in loop(mill).rooms if room.name == "features"]
    assert room.says == "2 views, 270 rows online. 1 on-demand function."


def test_the_loop_shows_a_lower_loss_as_better(mill: Any, get: Callable[..., Any]) -> None:
    mill.open()
    mill.publish(mill.increment("customers", mill.clock.now().date()))
    mill.promote(learn_tabular(mill, assessment()).name)
    html = get(mill.stores(), "/").text
    assert '<div class="up"><dt>Difference</dt><dd>−0.163</dd>' in html
    assert "1,373 test rows" in html


# ---- runs


def metrics(loss: float, auc: float) -> dict[str, Metric]:
    return {
        "log_loss": metric(loss, 0.02),
        "auc": metric(auc, 0.02),
        "brier": metric(loss / 3, 0.01),
        "difference log_loss": metric(loss - 0.578, 0.02),
        "difference auc": metric(auc - 0.5, 0.02),
        "beside champion log_loss": metric(loss - 0.45, 0.02),
    }


@pytest.fixture
def tried(mill: Any) -> Any:
    mill.open()
    for loss, auc in ((0.45, 0.81), (0.415, 0.846), (0.43, 0.85)):
        with mill.runs.begin("churn", "train", learner="auto", parameters={"recency": None, "only": []}) as run:
            run.finish(metrics(loss, auc))
    return mill


def test_the_lowest_loss_is_best_and_decides(tried: Any, get: Callable[..., Any]) -> None:
    made = runs_page(tried.stores(models=["churn"]), LedgerProjection(tried.ledger))
    (group,) = made.groups
    assert (group.measure, group.less) == ("log_loss", True)
    assert not any(row.best for row in group.rows)  # the intervals overlap
    assert group.says[0] == "churn#2 has the best log loss: 0.415 [0.395, 0.435]."
    assert "Log loss, 95%, lower is better" in get(tried.stores(), "/runs").text


def test_a_run_tells_a_lower_loss_as_better_than_the_baseline(tried: Any, get: Callable[..., Any]) -> None:
    made, _ = run_page(tried.stores(models=["churn"]), LedgerProjection(tried.ledger), "churn", 2)
    (group,) = made.figures
    loss, auc = group.figures[:2]
    assert (loss.less, auc.less) == (True, False)
    assert made.parameters == {}
    html = get(tried.stores(), "/runs/churn/2").text
    assert '<td class="num up">−0.163' in html
    assert '<td class="num up">+0.346' in html
    assert "Difference from the baseline" in html
    assert "Difference from the champion, log loss" in html
    assert "popularity" not in html


def test_differences_never_decide() -> None:
    class Run:
        def __init__(self, names: list[str]) -> None:
            self.metrics = dict.fromkeys(names)

    names = ["vs champion log_loss", "difference log_loss", "log_loss", "auc"]
    assert figure_of([Run(names)]) == "log_loss"  # type: ignore[list-item]


def test_runs_are_paired_over_rows(tried: Any, get: Callable[..., Any]) -> None:
    rng = np.random.default_rng(5)
    rows = rng.gamma(1, 0.4, 400)

    def figures(worse: float) -> PerUnitMetrics:
        return PerUnitMetrics("same rows", {"log_loss": rows + worse + rng.normal(0, 0.01, 400)})

    kept = {"churn#1": figures(0.03), "churn#2": figures(0.0)}
    runs = {run.name: run for run in tried.runs.all("churn")}
    stores = tried.stores(models=["churn"], compare=lambda names: compare([runs[name] for name in names], kept))
    made = compare_page(stores, LedgerProjection(tried.ledger), ["churn.1", "churn.2"])
    assert made.headline == "churn#2 is better than churn#1."
    assert "on the same test rows" in made.lead
    loss = next(figure for figure in made.figures if figure.name == "log_loss")
    assert (loss.less, [row.standing for row in loss.rows]) == (True, ["reference", "ahead"])
    assert "users" not in get(stores, "/runs/compare?run=churn.1&run=churn.2").text


# ---- drawings and names

bins = st.lists(
    st.tuples(st.floats(-100, 100), st.floats(-100, 100), st.floats(0, 10)).map(
        lambda t: CalibrationBin(n=20, low=t[0], high=t[0], predicted=t[0], observed=metric(t[1], t[2]))
    ),
    min_size=1,
    max_size=10,
)


@given(bins=bins)
def test_every_point_lies_in_the_drawing(bins: list[CalibrationBin]) -> None:
    made = calibration_plot(bins, probabilities=False)
    for dot in made.dots:
        assert made.left <= dot.x <= made.right
        assert made.top <= dot.high <= dot.low <= made.bottom


@given(rows=st.lists(st.integers(1, 10**8), min_size=1, max_size=8, unique=True).map(sorted))
def test_a_learning_curve_grows_to_the_right_and_its_words_do_not_touch(rows: list[int]) -> None:
    curve = [CurvePoint(share=1.0, n_rows=n, score=metric(1 / n, 0.1), cpu_s=0.1) for n in rows]
    made = learning_plot(curve)
    assert [dot.x for dot in made.dots] == sorted(dot.x for dot in made.dots)
    assert all(made.left <= dot.x <= made.right for dot in made.dots)
    places = sorted(mark.at for mark in made.across)
    assert all(later - earlier > 30 for earlier, later in itertools.pairwise(places))


@pytest.mark.parametrize("text", HOSTILE)
def test_names_classes_and_values_are_shown_as_text(tmp_path: Path, get: Callable[..., Any], text: str) -> None:
    mill, latest = tabular_mill(tmp_path, text)
    stores = mill.stores(models=["churn"], latest=latest)
    for path in ("/", "/models/churn", "/models/churn?release=2"):
        html = get(stores, path).text
        assert text not in html or "{{" in text
        assert "1002001" not in html
        scripts = html.split("<script")[1:]  # our own files
        assert len(scripts) == (1 if path == "/" else 2)
        assert all(script.startswith(' defer src="/static/') for script in scripts)
    assert text in markup.unescape(get(stores, "/models/churn").text)


def test_the_twin_carries_what_the_page_shows(calls: Any, get: Callable[..., Any]) -> None:
    made = json.loads(get(calls.stores(), "/models/churn.json?release=2").text)
    assert made["tabular"]["says"] == page(calls, 2).tabular.says
    assert made["card"]["assessment"]["measure"] == "log_loss"
