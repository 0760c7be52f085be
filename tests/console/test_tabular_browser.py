"""The pages of features and of tabular models as Chromium shows them: they fit, draw, and run nothing from a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tabular_to_show import learn_tabular, skewed, tabular_mill
from test_browser import HOSTILE, look, playwright, show, shown

from tidemill.console.formatting import share

pytestmark = pytest.mark.browser

__all__ = ["look", "show"]
PAGES = ["/features", "/features/zone_pace", "/features/taste", "/models/churn", "/models/churn?release=2", "/"]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    mill, latest = tabular_mill(tmp_path_factory.mktemp("calls"))
    skewed(mill)
    with shown(mill.stores(models=["churn"], latest=latest)) as url:
        yield url


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_pages_fit_and_can_be_read(look: Any, calls: str, path: str, width: int, scheme: str) -> None:
    page = look(calls + path, width=width, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate("""[...document.querySelectorAll('main *')]
        .filter(e => !e.closest('.scroll, svg') && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.className || e.tagName)""")
    assert wide == []
    low = page.evaluate("""[...document.querySelectorAll('svg.curve text, svg.histogram text')]
        .filter(e => e.getBoundingClientRect().height < 9).length""")
    assert low == 0  # words in a drawing can be read
    assert page.evaluate("getComputedStyle(document.body).fontSize") == "16px"


def test_every_drawing_has_a_table_with_its_figures(look: Any, calls: str) -> None:
    page = look(calls + "/models/churn?release=2")
    assert page.locator("svg.plot circle.end").count() == 10 + 5
    for words, rows in (("Calibration as a table", 10), ("Learning curve as a table", 5)):
        details = page.locator("details", has_text=words)
        assert not details.locator("table").is_visible()
        details.locator("summary").click()
        assert details.locator("tbody tr:visible").count() == rows
    page = look(calls + "/features/zone_pace")
    assert page.locator("svg.histogram rect").count() > 3
    page.locator("summary", has_text="Histogram as a table").first.click()
    assert page.locator("details tbody tr:visible").count() == 16


def test_a_copied_example_is_the_whole_request(look: Any, calls: str) -> None:
    page = look(calls + "/models/churn")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_label("Copy curl", exact=False).click()
    begins = "curl -s http://127.0.0.1:8400/v2/models/churn/infer -H 'Content-Type: application/json' -d '"
    page.wait_for_function("async begins => (await navigator.clipboard.readText()).startsWith(begins)", arg=begins)
    copied = page.evaluate("navigator.clipboard.readText()")
    assert '"name": "tenure"' in copied


def test_features_lead_to_models_and_back(look: Any, calls: str) -> None:
    page = look(calls + "/")
    page.get_by_role("link", name="Features", exact=True).click()
    page.get_by_role("link", name="zone_pace").click()
    page.locator("main").get_by_role("link", name="churn").first.click()
    page.get_by_role("link", name="zone_pace by zone").click()
    playwright.expect(page).to_have_url(re.compile("/features/zone_pace$"))
    assert "p00042" in page.locator("main").inner_text()


def test_markup_in_features_classes_and_slices_is_text_and_runs_nowhere(look: Any, show: Any, tmp_path: Any) -> None:
    text = " ".join(HOSTILE)
    mill, latest = tabular_mill(tmp_path, text)
    skewed(mill, text=text)
    learn_tabular(mill, None, model="other", text=text)
    url = show(mill.stores(models=["churn"], latest=latest))
    for path in (*PAGES, "/models/other"):
        page = look(url + path)
        assert page.locator("body").is_visible()
        assert page.locator("main img, main script, main style, main base, main a[href^=javascript]").count() == 0
        assert HOSTILE[1] in page.locator("main").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


DRAWN = "() => [...document.querySelectorAll('.drawn')].every(e => e.querySelector('svg'))"


def through_the_page(page: Any) -> None:
    """Scroll until every chart is drawn: charts are drawn when they come into view."""
    for top in range(0, page.evaluate("document.documentElement.scrollHeight"), 500):
        page.evaluate(f"scrollTo(0, {top})")
        page.wait_for_timeout(100)
    page.wait_for_function(DRAWN)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")])
def test_charts_are_drawn_within_the_policy_and_fit(look: Any, calls: str, width: int, scheme: str) -> None:
    page = look(calls + "/models/churn?release=2", width=width, scheme=scheme)
    through_the_page(page)
    assert page.locator(".drawn svg").count() == 6
    assert page.locator(".drawn svg path.mark-line, .drawn svg .mark-line path").count() >= 3
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate("""[...document.querySelectorAll('.drawn svg')]
        .filter(e => e.getBoundingClientRect().right > innerWidth + 1).length""")
    assert wide == 0
    ink = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--quiet').trim()")
    assert ink in page.locator(".drawn").first.inner_html()  # the colours are those of the palette
    assert page.locator(".vega > details[open]").count() == 0
    page.locator("summary", has_text="ROC curve as a table").click()
    assert page.locator(".vega details[open] tbody tr:visible").count() > 20


def test_the_threshold_moves_the_matrix_and_the_curves(look: Any, calls: str) -> None:
    page = look(calls + "/models/churn?release=2")
    through_the_page(page)

    def shown() -> tuple[list[int], str]:
        cells = [int(text.replace(",", "")) for text in page.locator(".confusion td").all_inner_texts()]
        return cells, page.locator("[data-metric=recall]").inner_text()

    curve = "[aria-labelledby=curves-title] .drawn"
    point = page.locator(curve).first.locator(".mark-symbol path").last
    before, place = shown(), point.get_attribute("transform")
    slider = page.get_by_label("Threshold", exact=True)
    for _ in range(6):
        slider.press("ArrowLeft")
    after = shown()
    assert sum(after[0]) == sum(before[0]) == 1_373
    assert after[0][0] > before[0][0]  # a lower threshold: more true positives
    tp, fn = after[0][0], after[0][1]
    assert after[1] == share(tp / (tp + fn))
    page.wait_for_function(
        "([curve, was]) => [...document.querySelector(curve).querySelectorAll('.mark-symbol path')]"
        ".at(-1).getAttribute('transform') !== was",
        arg=[curve, place],
    )
    page.get_by_role("button", name="reset").click()
    assert shown() == before


def test_a_scheme_that_changes_changes_the_charts(look: Any, calls: str) -> None:
    page = look(calls + "/models/churn?release=2")
    through_the_page(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("() => document.querySelector('.drawn').innerHTML.includes('#5fc4cc')")


def test_without_javascript_the_tables_are_shown(browser: Any, calls: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(calls + "/models/churn?release=2")
    assert page.locator(".vega tbody tr:visible").count() > 100
    assert page.locator(".drawn:visible, .slider:visible").count() == 0
    assert page.locator(".confusion td:visible").count() == 4
    context.close()
