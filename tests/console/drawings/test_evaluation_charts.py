"""The charts of a tabular model's page: their figures, their tables, and how they stand in the page."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from tabular_to_show import assessment, learn_tabular, tabular_mill

from tidemill.console.drawings import effect_charts, score_charts
from tidemill.console.drawings.residual_charts import residual_chart, residual_histogram
from tidemill.console.drawings.vega_lite import VegaChart
from tidemill.core.records.evaluation_charts import EvaluationCharts, ResidualBin, ShapeFunction, ShapePoint
from tidemill.training.tabular.assess.evaluation_charts import evaluation_charts
from tidemill.training.tabular.assess.losses import RowAnswers


class PageText(HTMLParser):
    """Headings with ids, links of the contents, and the specifications of charts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.specs: list[dict[str, Any]] = []
        self._contents = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self._contents = self._contents or given.get("class") == "contents"
        if tag == "h2" and given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a" and self._contents:
            self.links.append(str(given["href"]).removeprefix("#"))
        if spec := given.get("data-spec"):
            self.specs.append(json.loads(spec))

    def handle_endtag(self, tag: str) -> None:
        self._contents = self._contents and tag != "nav"


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tabular_mill(tmp_path_factory.mktemp("calls"))[0]


@pytest.mark.parametrize("module", [score_charts])
def test_the_examples_run(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


def values(chart: VegaChart) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(chart.spec)["data"]["values"]
    return found


def test_the_curves_and_the_thresholds_are_those_of_the_rows() -> None:
    rng = np.random.default_rng(0)
    answer = rng.random(400)
    told = RowAnswers("binary", answer, (rng.random(400) < answer).astype(float), 0.3)
    charts = evaluation_charts(told, ("no", "yes"))
    table = score_charts.threshold_table(charts)
    assert table is not None
    own = table.rows[table.own]
    label, target = told.label == 1, told.target == 1
    assert own.threshold == 0.3
    assert (own.true_positives, own.false_positives) == ((label & target).sum(), (label & ~target).sum())
    assert own.precision == pytest.approx(target[label].mean())
    assert own.specificity == pytest.approx((~label)[~target].mean())
    assert own.accuracy == pytest.approx((label == target).mean())
    roc = values(score_charts.roc_curve(charts))
    assert (roc[0]["x"], roc[0]["y"], roc[-1]["x"], roc[-1]["y"]) == (1, 1, 0, 0)
    assert len(score_charts.roc_curve(charts).table.rows) == len(roc)
    precision = values(score_charts.precision_recall_curve(charts))
    assert precision[table.own]["y"] == pytest.approx(own.precision, abs=1e-4)


def test_a_page_has_a_table_with_each_chart_and_links_to_every_section(calls: Any, get: Callable[..., Any]) -> None:
    html = get(calls.stores(), "/models/churn").text
    page = PageText(html)
    assert page.links == page.ids
    assert {"curves-title", "confusion-title", "movers-title", "effects-title"} <= set(page.ids)
    assert len(page.specs) == 6  # the metric over time, two curves, feature importance, two effects
    assert html.count("data-spec=") == html.count('<figure class="vega">') == html.count('"scroll points"') - 1
    assert "monthly raises it most, yearly lowers it most" in html
    assert "from a predicted probability of <output>0.400</output> on are predicted to be Yes" in " ".join(html.split())
    assert "seldom" not in html  # four rows
    assert "seldom" not in get(calls.stores(), "/models/churn.json").text


def test_no_chart_asks_for_an_address(calls: Any, get: Callable[..., Any]) -> None:
    for spec in PageText(get(calls.stores(), "/models/churn").text).specs:
        assert "http" not in json.dumps(spec)
        assert "url" not in json.dumps(spec)


def test_an_older_release_has_a_page_without_charts(mill: Any, get: Callable[..., Any]) -> None:
    mill.open()
    found = assessment(charts=EvaluationCharts(), influences=())
    learn_tabular(mill, found)
    page = PageText(get(mill.stores(models=["churn"]), "/models/churn").text)
    assert page.specs == []
    assert "curves-title" not in page.ids


def test_classes_have_a_matrix_of_classes_and_a_curve_each(mill: Any, get: Callable[..., Any]) -> None:
    rng = np.random.default_rng(2)
    told = RowAnswers("classes", rng.dirichlet(np.ones(3), 600), rng.integers(0, 3, 600).astype(float))
    charts = evaluation_charts(told, ("a", "<b>", "--ink"))
    matrix = score_charts.confusion_chart(charts.confusion)
    assert [row[0] for row in matrix.table.rows] == ["a", "<b>", "--ink"]
    assert sum(one["rows"] for one in values(matrix)) == 600
    assert score_charts.threshold_table(charts) is None
    mill.open()
    learn_tabular(mill, assessment(task="classes", charts=charts), task="classes")
    html = get(mill.stores(models=["churn"]), "/models/churn").text
    assert len(PageText(html).specs) == 6
    assert "<b>" not in html.split("Confusion matrix</h2>")[1].split("<section")[0]


def test_numbers_have_residuals(mill: Any, get: Callable[..., Any]) -> None:
    rng = np.random.default_rng(3)
    answer = rng.gamma(2, 50, 900)
    charts = evaluation_charts(RowAnswers("number", answer, answer + rng.normal(0, 5, 900)), ())
    assert len(values(residual_chart(charts.residuals, "price"))) == 30
    assert sum(one["n"] for one in values(residual_histogram(charts.residual_counts, "price"))) == 900
    few = replace(charts, residuals=(*charts.residuals, ResidualBin(n=3, predicted=777_777.0)))
    mill.open()
    learn_tabular(mill, assessment(task="number", charts=few), task="number")
    html = get(mill.stores(models=["churn"]), "/models/churn").text
    assert "residuals-title" in PageText(html).ids
    assert "777,777" not in html


def test_an_additive_model_shows_its_shape_functions_instead_of_effects(mill: Any, get: Callable[..., Any]) -> None:
    points = (ShapePoint(at=1.0, effects=(-0.5,)), ShapePoint(at=9.0, effects=(0.7,)))
    part = ShapeFunction(input="at", part="hour", points=points)
    text = ShapeFunction(input="Contract", points=(ShapePoint(value="", effects=(0.25,)),))
    found = assessment()
    found = replace(found, charts=replace(found.charts, shapes=(part, text)))
    first, second = effect_charts.shape_charts(found.charts.shapes, "binary", "left", (), ("at",))
    assert (first.title, [one["x"] for one in values(first)]) == ("at, hour", [1.0, 9.0])
    assert second.table.rows == (("(empty string)", "+0.250"),)
    mill.open()
    learn_tabular(mill, found)
    html = get(mill.stores(models=["churn"]), "/models/churn").text
    assert "Shape functions" in html
    assert "Effects by value" not in html


def test_times_are_shown_as_days() -> None:
    shape = ShapeFunction(input="at", points=(ShapePoint(at=1_700_000_000.0, effects=(0.1,)),))
    (chart,) = effect_charts.shape_charts((shape,), "number", "price", (), ("at",))
    assert values(chart)[0]["x"] == 1_700_000_000_000
    assert chart.table.rows[0][0] == "14 Nov 2023"


def test_the_scripts_of_others_are_shipped_with_their_licences() -> None:
    static = resources.files("tidemill.console") / "static"
    text = (static / "LICENSES.txt").read_text("utf-8")
    for name, version in (("vega.min.js", "6.4.0"), ("vega-lite.min.js", "6.4.3"), ("vega-interpreter.js", "2.3.2")):
        script = (static / name).read_text("utf-8")
        assert version in script
        assert f"{name.removesuffix('.js').removesuffix('.min')} {version}" in text
    assert text.count("Redistribution and use in source and binary forms") == 2
    assert 'license-files = ["LICENSE", "src/tidemill/console/static/LICENSES.txt"]' in (
        Path(__file__).parents[3] / "pyproject.toml"
    ).read_text("utf-8")
