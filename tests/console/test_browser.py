"""The pages as Chromium shows them: nothing refused by the policy, asked of elsewhere, or run from a name."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import free_port

from tidemill.console.web.serve import embedded
from tidemill.core.identity.account import Account

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser

DAY = date(2018, 9, 7)


@contextmanager
def shown(stores: Any) -> Iterator[str]:
    """The console on a real port, under the server that it runs on in earnest."""
    port, loop, stop, listens = free_port(), asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def serve() -> None:
        server = embedded(stores, port=port)
        await server.listen("127.0.0.1", port, shared=False)
        listens.set()
        await stop.wait()
        await server.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    try:
        assert listens.wait(30), "the console did not come up"
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        assert not thread.is_alive()
        loop.close()


@pytest.fixture(scope="module")
def address(lively: Any) -> Iterator[str]:
    with shown(lively.stores()) as url:
        yield url


@pytest.fixture(scope="module")
def runs_address(busy: Any) -> Iterator[str]:
    with shown(busy.stores()) as url:
        yield url


@pytest.fixture
def show(tmp_path: Path) -> Iterator[Callable[[Any], str]]:
    """Serve the console of some stores until the end of the test, and until then keep the files of the test."""
    with ExitStack() as servers:
        yield lambda stores: servers.enter_context(shown(stores))


@pytest.fixture
def look(browser: Any, show: Any) -> Iterator[Callable[..., Any]]:
    """Open an address; what the page complains of, runs or asks of elsewhere is a failure at the end.

    Pages are closed before the servers of `show` are: they ask every few seconds for what has changed.
    """
    contexts, wrong = [], []

    def look(url: str, *, scheme: str = "light", width: int = 1280, **more: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: wrong.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"dialog {dialog.message}"))
        origin = url.split("/")[2]
        page.on("request", lambda asked: wrong.append(asked.url) if origin not in asked.url.split("?")[0] else None)
        page.goto(url)
        return page

    yield look
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.mark.parametrize("width", [1280, 390])
def test_parts_and_exposure_are_folded_and_fit_when_they_are_opened(look: Any, address: str, width: int) -> None:
    page = look(f"{address}/models/for_you", width=width)
    tall = page.evaluate("document.documentElement.scrollHeight")
    for name, words in ((".by-part", "over a year ago"), (".by-items", "Magazines")):
        row = page.locator(f"{name} th[scope=row]", has_text=words)
        assert not row.is_visible()
        page.locator(f"{name} summary").click()
        assert row.is_visible()
        table = page.locator(f"{name} .scroll")
        assert table.evaluate("e => e.scrollWidth <= e.clientWidth")  # nothing is hidden to the right
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollHeight") > tall + 300


@pytest.mark.parametrize("width", [1280, 390])
def test_the_checks_of_a_promotion_unfold_in_the_history(look: Any, address: str, width: int) -> None:
    page = look(address + "/models/for_you", width=width)
    lead = page.locator(".hero .lead a").inner_text()
    gate = page.locator(".recent details.gate").first
    check = gate.locator("li", has_text="every file has the hash that the release pins")
    assert gate.locator("summary").inner_text() == lead and not check.is_visible()
    gate.locator("summary").click()
    assert check.is_visible() and check.locator(".tag").inner_text() == "passed"
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("path", ["/", "/models/for_you", "/models/for_you?release=1"])
@pytest.mark.parametrize("width", [1280, 768, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_nothing_is_refused(
    look: Any, address: str, path: str, width: int, scheme: str, tmp_path: Path
) -> None:
    page = look(address + path, scheme=scheme, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate("""[...document.querySelectorAll('main *')]
        .filter(e => !e.closest('.scroll, svg') && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.className || e.tagName)""")
    assert wide == []
    shot = page.screenshot(full_page=True)
    assert shot.startswith(b"\x89PNG")
    assert page.title()


RUN_PAGES = ["/runs", "/runs/for_you/2", "/runs/for_you/3", "/runs/compare?run=for_you.1&run=for_you.2&run=for_you.3"]


@pytest.mark.parametrize("path", RUN_PAGES)
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_of_runs_fit_and_nothing_is_refused(look: Any, runs_address: str, path: str, width: int) -> None:
    page = look(runs_address + path, scheme="dark" if width == 390 else "light", width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate("""[...document.querySelectorAll('main *')]
        .filter(e => !e.closest('.scroll, svg') && e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.className || e.tagName)""")
    assert wide == []
    low = page.evaluate("""[...document.querySelectorAll('svg.curve text')]
        .filter(e => e.getBoundingClientRect().height < 9).length""")
    assert low == 0  # words in a drawing can be read


def test_two_runs_are_chosen_and_compared(look: Any, runs_address: str) -> None:
    page = look(runs_address + "/runs")
    bar = page.locator(".chosen")
    assert not bar.is_visible()
    page.get_by_label("Compare for_you#3").check()
    playwright.expect(bar).to_contain_text("select one more to compare")
    assert not bar.locator("a").is_visible()
    page.get_by_label("Compare for_you#1").check()
    playwright.expect(bar).to_contain_text("2 runs selected")
    bar.locator("a").click()
    compared = re.compile(r"/runs/compare\?run=for_you\.1&run=for_you\.3$")
    playwright.expect(page).to_have_url(compared)  # the newer is measured against the older
    assert "side by side" in page.locator("main").inner_text()
    page.get_by_role("link", name="set as baseline").click()
    playwright.expect(page).to_have_url(re.compile(r"/runs/compare\?run=for_you\.3&run=for_you\.1$"))


def test_a_choice_outlives_what_is_live(look: Any, show: Any, mill: Any) -> None:
    mill.runs.begin("for_you", "train")
    with mill.runs.begin("for_you", "train") as run:
        run.finish({"hit_rate@10": 0.1})
    url = show(mill.stores())
    page = look(url + "/runs")
    page.get_by_label("Compare for_you#2").check()
    with mill.runs.begin("for_you", "train") as run:
        run.finish({"hit_rate@10": 0.2})
    playwright.expect(page.get_by_label("Compare for_you#3")).to_be_visible(timeout=20_000)
    assert page.get_by_label("Compare for_you#2").is_checked()
    page.get_by_label("Compare for_you#3").check()
    playwright.expect(page.locator(".chosen")).to_contain_text("2 runs selected")


def test_pointing_at_a_trial_lights_its_line_and_its_row_and_tells_it(look: Any, runs_address: str) -> None:
    page = look(runs_address + "/runs/for_you/3")
    row = page.locator(".trials tbody tr").nth(4)
    trial = row.get_attribute("data-trial")
    row.hover()
    assert page.locator("svg.loom .thread.lit").get_attribute("data-trial") == trial
    playwright.expect(page.locator(".readout")).to_contain_text(f"Trial {trial}, finished 0.0")
    lit = "e => getComputedStyle(e).opacity"
    assert float(page.locator("svg.loom .thread.lit .line").evaluate(lit)) == 1.0
    assert float(page.locator("svg.loom .thread:not(.lit) .line").first.evaluate(lit)) == pytest.approx(0.1)
    # at the middle of the best line, which lies on top of all others
    middle = page.locator("svg.loom .thread.best .hit").evaluate(
        """e => { const at = e.getPointAtLength(e.getTotalLength() * 0.52), m = e.getScreenCTM();
                  return [at.x * m.a + m.e, at.y * m.d + m.f]; }"""
    )
    page.mouse.move(*middle)
    assert page.locator(".trials tr.lit .tag").inner_text() == "best"
    page.mouse.move(5, 5)
    assert page.locator(".lit").count() == 0


def test_the_trials_sort_by_any_column_and_lengths_of_time_by_length(look: Any, runs_address: str) -> None:
    page = look(runs_address + "/runs/for_you/3")
    head = page.locator(".trials th", has_text="half_life")
    head.locator("button").click()
    days = [int(text.split()[0]) for text in page.locator(".trials tbody td:nth-child(5)").all_text_contents()]
    assert days == sorted(days, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    days = [int(text.split()[0]) for text in page.locator(".trials tbody td:nth-child(5)").all_text_contents()]
    assert days == sorted(days)
    page.locator(".trials th", has_text="Score").locator("button").click()
    figures = page.locator(".trials tbody td:nth-child(2)").all_text_contents()
    assert figures[0] != "–"
    assert figures[-1] == "–"  # what has no figure stays below


def test_the_states_of_trials_differ_by_more_than_colour(look: Any, runs_address: str) -> None:
    page = look(runs_address + "/runs/for_you/3")
    dashes = {
        state: page.locator(f".legend .thread.{state} .line").first.evaluate("e => getComputedStyle(e).strokeDasharray")
        for state in ("finished", "pruned", "failed", "late")
    }
    assert len(set(dashes.values())) == 4


def test_curves_grow_while_a_run_goes_on_and_stop_when_it_ends(look: Any, show: Any, mill: Any) -> None:
    run = mill.runs.begin("for_you", "train", learner="als")
    url = show(mill.stores())
    page = look(url + "/runs/for_you/1")
    page.evaluate("window.stays = true")
    assert page.locator("svg.curve").count() == 0
    for step in range(5):
        run.log(step, loss=1.0 - 0.1 * step)
    run._write_points()
    playwright.expect(page.locator("svg.curve")).to_have_count(1)
    run.finish({"hit_rate@10": 0.25})
    playwright.expect(page.locator("h1")).to_have_text("for_you#1: hit rate at 10 is 0.250.")
    assert page.evaluate("window.stays") is True
    assert page.locator("[data-live]").count() == 0
    asked = "performance.getEntriesByType('resource').filter(e => e.initiatorType === 'fetch').length"
    before = page.evaluate(asked)
    page.wait_for_timeout(5_500)
    assert page.evaluate(asked) == before  # what has ended is asked for no more


def test_day_and_night_differ_and_the_style_sheet_is_in_force(look: Any, address: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    assert look(address + "/").evaluate(ground) == "rgb(241, 245, 245)"
    assert look(address + "/", scheme="dark").evaluate(ground) == "rgb(11, 23, 26)"


def test_the_ring_shows_nine_rooms_with_their_names_and_ages(look: Any, address: str) -> None:
    page = look(address + "/")
    stations = page.locator("svg.ring.wide .station")
    assert stations.count() == 9
    assert page.locator("svg.ring.narrow").is_visible() is False
    assert page.locator("svg.ring.wide .station .name").all_text_contents()[:3] == [
        "sources",
        "lake",
        "checks",
    ]
    stations.nth(2).locator(".node").click()
    assert page.url.endswith("#room-checks")
    phone = look(address + "/", width=390)
    assert phone.locator("svg.ring.narrow").is_visible()


def test_a_command_is_copied_as_it_is_written(look: Any, address: str) -> None:
    page = look(address + "/", permissions=["clipboard-read", "clipboard-write"])
    button = page.locator(".need .command").nth(1).locator("button")
    button.evaluate("""button => { window.said = [];
        new MutationObserver(() => said.push(button.textContent)).observe(button, {childList: true}); }""")
    button.click()
    page.wait_for_function("said.includes('copied')")  # it says so for a moment
    assert (
        page.evaluate("navigator.clipboard.readText()") == "tidemill check reviews --accept 19 --by NAME --reason '…'"
    )


def test_without_scripts_every_page_is_whole(look: Any, address: str) -> None:
    page = look(address + "/", java_script_enabled=False)
    assert page.locator("button.copy").first.is_visible() is False
    assert "tidemill check reviews" in page.locator("main").inner_text()


def test_the_page_follows_the_mill_without_being_loaded_again(look: Any, show: Any, mill: Any) -> None:
    mill.open()
    url = show(mill.stores())
    page = look(url + "/")
    page.evaluate("window.stays = true")
    while not page.evaluate("performance.getEntriesByType('resource').some(e => e.initiatorType === 'fetch')"):
        page.wait_for_timeout(20)
    mill.publish(mill.increment("reviews", DAY))
    lake = page.locator("#room-lake .says")
    playwright.expect(lake).to_have_text("Publication 1: 3 tables, data through 7 Sep 2018.")
    assert page.evaluate("window.stays") is True
    assert page.locator("button.copy").first.is_visible()


HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'-alert(1)-'",
    "</title><script>alert(1)</script>",
    "<a href='javascript:alert(1)'>x</a>",
    "<style>body{display:none}</style>",
    "<base href='http://evil.example/'>",
]


def test_markup_in_every_name_is_text_and_runs_nowhere(look: Any, show: Any, mill: Any) -> None:
    text = " ".join(HOSTILE)
    mill.name = text
    mill.ledger.account = Account(name=text)
    mill.open()
    mill.publish(mill.increment(text, DAY))
    mill.hold(mill.increment(text, DAY))
    mill.fill(text, 3)
    made = mill.learn("for_you", 1, DAY, None, helps=text, could_harm=text, learner=text, parameters={text: text})
    mill.promote(made.name)
    mill.problems = HOSTILE
    url = show(mill.stores(models=["for_you", text]))
    for path in ("/", "/models/for_you"):
        page = look(url + path)
        assert page.locator("body").is_visible()
        assert page.locator("main img, main script, main style, main base, main a[href^=javascript]").count() == 0
        assert HOSTILE[1] in page.locator("main").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_a_page_of_another_site_can_neither_read_nor_frame_the_console(browser: Any, address: str) -> None:
    page = browser.new_page()
    page.goto("data:text/html,<title>elsewhere</title>")
    read = page.evaluate("url => fetch(url).then(() => 'read', () => 'refused')", address + "/index.json")
    assert read == "refused"
    page.set_content(f'<iframe src="{address}/"></iframe>')
    page.wait_for_timeout(300)
    assert all("Action required" not in frame.content() for frame in page.frames)
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_runs_are_searched_for_a_text_and_sorted_by_a_metric(
    look: Any, show: Any, mill: Any, width: int, scheme: str
) -> None:
    for loss in (0.3, 0.2, 0.4):
        with mill.runs.begin("for_you", "train") as run:
            run.finish({"log_loss": loss, "auc": 1 - loss})
    mill.runs.tag("for_you#2", ["baseline", "a-long-tag-of-many-letters-that-wraps"])
    page = look(show(mill.stores()) + "/runs", width=width, scheme=scheme)
    names = page.locator("tbody th[scope=row] > a:first-child")
    field = page.get_by_role("searchbox")
    field.fill("baseline")
    field.press("Enter")
    page.wait_for_url("**/runs?text=baseline")
    assert names.all_inner_texts() == ["for_you#2"]
    page.locator(".sorts summary").click()
    page.locator(".sorts").get_by_role("link", name="AUC").click()
    page.wait_for_url("**/runs?text=baseline&sort=auc")
    assert page.get_by_role("searchbox").input_value() == "baseline"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_role("searchbox").fill("")
    page.get_by_role("searchbox").press("Enter")
    page.wait_for_url("**/runs?sort=auc")
    assert names.all_inner_texts() == ["for_you#2", "for_you#1", "for_you#3"]
