"""The pages of tables and of traffic in Chromium: charts within the policy, tables beside them, and nothing runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tables_to_show import table_mill
from test_browser import HOSTILE, look, playwright, show
from test_tabular_browser import through_the_page

from tidemill.core.clock import to_micros
from tidemill.core.records.prediction import Prediction
from tidemill.feedback.log_tables import prediction_rows

pytestmark = pytest.mark.browser

__all__ = ["look", "playwright", "show"]


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_tables_and_traffic_are_drawn_fit_and_run_nothing(
    look: Any, show: Any, tmp_path: Path, width: int, scheme: str
) -> None:
    mill = table_mill(tmp_path, " ".join(HOSTILE))
    now = to_micros(mill.clock.now())
    made = [Prediction(model="for_you", served_at=now, latency_us=400 + k) for k in range(60)]
    mill.log("predictions", prediction_rows(made))
    url = show(mill.stores())
    pages = (
        ("/data", 0),
        ("/data/items", 1),
        ("/data/reviews", 1),
        ("/data/ratings", 1),
        ("/models/for_you?range=hour", 2),
    )
    for path, charts in pages:
        page = look(url + path, width=width, scheme=scheme)
        through_the_page(page)
        assert page.locator(".drawn svg").count() == charts, path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.locator("main img, main script, main style, main base, main a[href^=javascript]").count() == 0
    page = look(url + "/data/items", width=width)
    assert HOSTILE[1] in page.locator(".preview").inner_text()


def test_a_chart_of_rows_has_its_table_by_keyboard_and_its_parts_by_links(look: Any, show: Any, tmp_path: Path) -> None:
    mill = table_mill(tmp_path)
    url = show(mill.stores())
    page = look(url + "/data")
    page.get_by_role("link", name="reviews").click()
    through_the_page(page)
    summary = page.locator("summary", has_text="Rows per day as a table")
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator(".vega details[open] tbody tr:visible").count() == 10
    page = look(url + "/data/wide")
    page.get_by_role("link", name="41–45").click()
    page.wait_for_url("**/data/wide?column=40")
    assert page.locator(".columns-of tbody tr").first.inner_text().startswith("c40")
