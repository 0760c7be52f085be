"""The pages of features and of tabular models as Chromium shows them: they fit, draw, and run nothing from a name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tabular_to_show import learn_tabular, skewed, tabular_mill
from test_browser import HOSTILE, look, playwright, show, shown

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
