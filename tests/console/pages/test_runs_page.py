from __future__ import annotations

import doctest
import html as markup
import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import Any
from urllib.parse import quote_plus, urlencode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs_to_show import measured, searched

from tidemill.console import compare_page, create_app, run_page, runs_page
from tidemill.console.drawings import curve, parallel_coordinates
from tidemill.console.drawings.curve import PLACES, CurvePosition, chart, thinned
from tidemill.console.drawings.parallel_coordinates import DRAWN, parallel_plot
from tidemill.console.pages import comparison_page
from tidemill.console.state import key_metric, run_filter, run_names
from tidemill.console.state.key_metric import key_figure as figure_of
from tidemill.console.state.run_names import named
from tidemill.core.errors import BadRequest, LedgerError, NoSuchRelease
from tidemill.core.records.quality import Metric
from tidemill.core.records.release import RefreshOrigin
from tidemill.core.records.runs import MetricPoint, Run, Trial
from tidemill.loop.state.ledger_projection import LedgerProjection
from tidemill.training import PerUnitMetrics, compare

DAY = date(2018, 9, 7)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def page(mill: Any, **more: Any) -> Any:
    return runs_page(mill.stores(), LedgerProjection(mill.ledger), **more)


def one(mill: Any, number: int, model: str = "for_you") -> Any:
    return run_page(mill.stores(), LedgerProjection(mill.ledger), model, number)[0]


def group(made: Any, model: str = "for_you") -> Any:
    return next(found for found in made.groups if found.model == model)


@pytest.mark.parametrize("module", [comparison_page, curve, key_metric, parallel_coordinates, run_filter, run_names])
def test_the_examples_run(module: Any) -> None:
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)


# ---- the list


def test_an_empty_mill_says_how_to_begin(mill: Any, get: Callable[..., Any]) -> None:
    mill.open()
    made = page(mill)
    assert (made.headline, made.groups, made.running) == ("No runs yet.", (), 0)
    html = get(mill.stores(), "/runs").text
    assert "train</span> <span>for_you" in html
    assert get(mill.stores(models=()), "/runs").status == 200


def test_runs_are_listed_with_those_under_way_first_and_the_newest_next(busy: Any) -> None:
    made = page(busy)
    rows = group(made).rows
    assert [(row.name, row.state) for row in rows] == [
        ("for_you#5", "running"),
        ("for_you#4", "failed"),
        ("for_you#3", "finished"),
        ("for_you#2", "finished"),
        ("for_you#1", "finished"),
    ]
    assert (made.headline, made.running) == ("One run is in progress.", 1)
    assert [found.model for found in made.groups] == ["for_you", "similar"]
    older = next(row for row in rows if row.number == 1)
    assert (older.release, older.live, older.data) == ("for_you@1", False, {"ratings": 21, "items": 3})
    assert next(row for row in rows if row.number == 2).live


def test_the_key_figure_is_the_hit_rate_of_users_with_history(busy: Any) -> None:
    found = group(page(busy))
    assert found.measure == "hit_rate@10[warm]"
    assert [row.figure.value for row in found.rows if row.figure] == pytest.approx([0.104, 0.0935, 0.081])
    assert not any(row.best for row in found.rows)  # the intervals overlap
    assert group(page(busy), "similar").measure == "log_loss"


def test_where_less_is_better_the_smallest_is_best(mill: Any) -> None:
    for loss in (0.5, 0.3, 0.4):
        with mill.runs.begin("for_you", "train") as run:
            run.finish({"log_loss": loss})
    found = group(page(mill))
    assert (found.less, [row.name for row in found.rows if row.best]) == (True, ["for_you#2"])


def test_each_model_ends_in_commands_that_compare_and_promote(busy: Any, mill: Any) -> None:
    found = group(page(busy))
    assert found.says[0] == "for_you#3 has the best hit rate at 10, warm users: 0.104 [0.083, 0.125]."
    assert "It has no release; for_you@2 is live." in found.says
    assert "No other run was evaluated on the same data." in found.says
    assert [command.text for command in found.commands] == ["tidemill compare for_you#2 for_you#3"]
    for seed, warm in ((1, 0.04), (2, 0.09)):
        with mill.runs.begin("for_you", "train") as run:
            made = mill.learn("for_you", seed, DAY, None)
            run.keep("bundle", f"bundle:for_you@{made.bundle}")
            run.finish(measured(warm))
    mill.promote("for_you@1")
    better = group(page(mill))
    assert [command.text for command in better.commands] == [
        "tidemill compare for_you#1 for_you#2",
        "tidemill promote for_you@2",
    ]
    mill.promote("for_you@2")
    assert "Released as for_you@2, which is live." in group(page(mill)).says


def test_model_and_kind_choose_what_is_listed(busy: Any, get: Callable[..., Any]) -> None:
    trained = page(busy, model="for_you", kind="train")
    assert [row.name for row in group(trained).rows] == ["for_you#4", "for_you#2", "for_you#1"]
    assert len(trained.groups) == 1
    html = get(busy.stores(), "/runs?model=for_you&kind=train").text
    assert "for_you#2" in html
    assert "for_you#3</a>" not in html
    assert get(busy.stores(), "/runs?model=&kind=").status == 200
    assert get(busy.stores(), "/runs?kind=cooking").status == 400
    reply = get(busy.stores(), "/runs.json?model=for_yuo")
    assert reply.status == 404
    assert "did you mean `for_you`" in json.loads(reply.body)["error"]["message"]


def listed(made: Any) -> list[str]:
    return [row.name for found in made.groups for row in found.rows]


def tagged(mill: Any) -> None:
    """Three runs, of which one failed; two have tags."""
    mill.open()
    for number, model in enumerate(("for_you", "for_you", "similar")):
        with suppress(ValueError), mill.runs.begin(model, "train", parameters={"depth": number}) as run:
            if number == 0:
                raise ValueError
            run.finish({"hit_rate@10": 0.1})
    mill.runs.tag("for_you#2", ["baseline", "paper:1"])
    mill.runs.tag("similar#1", ["baseline"])


def test_state_tag_and_text_choose_what_is_listed(mill: Any, get: Callable[..., Any]) -> None:
    tagged(mill)
    assert listed(page(mill, state="failed")) == ["for_you#1"]
    assert listed(page(mill, tag="baseline")) == ["for_you#2", "similar#1"]
    assert listed(page(mill, tag="baseline", model="for_you")) == ["for_you#2"]
    assert listed(page(mill, text="PAPER for_you")) == ["for_you#2"]
    assert listed(page(mill, text="depth=2")) == ["similar#1"]
    assert listed(page(mill, text="nothing of this")) == []
    made = page(mill, text="paper")
    assert (made.headline, made.tags) == ("One run matches.", ("baseline", "paper:1"))
    assert made.states == ("finished", "failed")
    html = get(mill.stores(), "/runs?tag=baseline").text
    assert 'href="/runs?tag=paper%3A1"' in html
    assert "for_you#1</a>" not in html
    assert "No runs match." in get(mill.stores(), "/runs?text=zzz").text
    assert get(mill.stores(), "/runs?state=asleep").status == 400
    assert get(mill.stores(), "/runs?text=" + "x" * 201).status == 400
    assert 'href="/runs?tag=baseline"' in get(mill.stores(), "/runs/for_you/2").text
    assert "changed the tags of run for_you#2" in get(mill.stores(), "/").text


def test_any_metric_sorts_the_best_first_and_runs_without_it_last(mill: Any, get: Callable[..., Any]) -> None:
    for loss, auc in ((0.5, 0.7), (0.3, 0.8), (0.4, None)):
        with mill.runs.begin("for_you", "train") as run:
            run.finish({"log_loss": loss} | ({"auc": auc} if auc else {}))
    assert listed(page(mill, sort="log_loss")) == ["for_you#2", "for_you#3", "for_you#1"]
    by_auc = page(mill, sort="auc")
    assert listed(by_auc) == ["for_you#2", "for_you#1", "for_you#3"]
    assert (group(by_auc).measure, group(by_auc).less, by_auc.metrics) == ("auc", False, ("auc", "log_loss"))
    html = get(mill.stores(), "/runs?sort=auc").text
    assert "Sorted by AUC, best first" in html
    assert listed(page(mill, sort="unknown")) == ["for_you#3", "for_you#2", "for_you#1"]


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><svg onload=alert(1)>', "{{ 7*7 }}", "a&kind=x#y"])
def test_a_searched_text_is_text_in_the_page_and_in_its_links(busy: Any, get: Callable[..., Any], text: str) -> None:
    made = page(busy, text=text)
    assert f"text={quote_plus(text)}" in made.filter.address(state="failed")
    html = get(busy.stores(), "/runs?" + urlencode({"text": text})).text
    assert text not in html or "{{" in text
    assert "49" not in html.split('<nav class="filters"')[1].split("</nav>")[0]


def test_many_runs_are_cut_and_the_best_one_stays(mill: Any) -> None:
    for k in range(40):
        with mill.runs.begin("for_you", "train") as run:
            run.finish({"hit_rate@10": 0.5 if k == 3 else 0.1})
    found = group(page(mill))
    assert (len(found.rows), found.older) == (26, 14)
    assert found.rows[-1].name == "for_you#4"
    assert len(group(page(mill, model="for_you")).rows) == 40


@pytest.fixture
def fresh(mill: Any) -> Any:
    """Two trainings, the first one live and kept fresh on thirty days; the last refresh failed."""
    mill.open()
    made = []
    for seed, warm in ((1, 0.09), (2, 0.08)):
        with mill.runs.begin("for_you", "train") as run:
            made.append(mill.learn("for_you", seed, DAY, None))
            run.keep("release", f"release:{made[-1].name}")
            run.finish(measured(warm))
    mill.promote("for_you@1")
    of = RefreshOrigin(of="for_you@1", as_of=made[0].card.as_of, at=made[0].card.as_of)
    for n in range(30):
        with mill.runs.begin("for_you", "refresh", learner="cooccurrence") as run:
            one = mill.learn("for_you", 10 + n, DAY, None, refreshed=of)
            run.keep("release", f"release:{one.name}")
            run.finish()
        mill.promote(one.name)
    mill.runs.begin("for_you", "refresh").fail("the disk is full")
    return mill


def test_refreshes_are_listed_apart_unless_one_went_wrong(fresh: Any, get: Callable[..., Any]) -> None:
    every = page(fresh)
    assert [row.name for row in group(every).rows] == ["for_you#33", "for_you#2", "for_you#1"]
    assert (every.refreshes, group(every).older, every.headline) == (30, 0, "Three runs so far.")
    html = get(fresh.stores(), "/runs").text
    assert '<a href="/runs?kind=refresh">30 refreshes</a> updated models with new data' in html
    assert ">all except refreshes</a>" in html
    apart = page(fresh, kind="refresh")
    assert (len(group(apart).rows), group(apart).older, apart.refreshes) == (25, 6, 0)
    assert "all except refreshes" not in get(fresh.stores(), "/runs?kind=refresh").text
    assert page(fresh, kind="train").refreshes == 0


def test_what_was_learned_stays_the_live_one_while_it_is_kept_fresh(fresh: Any) -> None:
    found = group(page(fresh))
    assert "Released as for_you@1, which is live, refreshed as for_you@32." in found.says
    assert [command.text for command in found.commands] == ["tidemill compare for_you#1 for_you#2"]
    learned, other, refresh, failed = (one(fresh, number) for number in (1, 2, 32, 33))
    assert learned.commands == ()
    assert [command.text for command in other.commands] == [
        "tidemill compare for_you#1 for_you#2",
        "tidemill promote for_you@2",
    ]
    assert (refresh.row.live, refresh.commands) == (True, ())
    assert [command.text for command in failed.commands] == ["tidemill run"]


def test_a_run_under_way_says_how_far_it_is(busy: Any) -> None:
    row = group(page(busy)).rows[0]
    assert row.instead == "step 24: valid AUC 0.784"


def test_the_ledger_away_is_said_and_the_other_pages_stand(mill: Any, get: Callable[..., Any]) -> None:
    class Away:
        def all(self, model: str | None = None) -> Any:
            raise LedgerError("disk gone")

    stores = mill.stores(runs=Away())
    assert "The ledger cannot be read: disk gone" in get(stores, "/runs").text
    assert get(stores, "/models/for_you").status == 200
    assert get(stores, "/runs/for_you/1").status == 500
    assert get(stores, "/runs/compare?run=for_you.1&run=for_you.2").status == 500


# ---- one run


def test_a_run_shows_what_it_was_given_and_what_came_of_it(busy: Any, get: Callable[..., Any]) -> None:
    text = markup.unescape(get(busy.stores(), "/runs/for_you/2").text)
    for wanted in [
        "for_you#2: hit rate at 10 of warm users is 0.093.",
        "360 days",
        "parts.ease.l2",
        "table:ratings@22",
        "uncommitted changes",
        "9c1f07a2b8d3",
        "release:for_you@2",
        "Users with one event were left out.",
        "0.093 [0.072, 0.115]",
        "+0.032 [+0.016, +0.047]",
        "/runs/compare?run=for_you.1&run=for_you.2",
    ]:
        assert wanted in text
    failed = get(busy.stores(), "/runs/for_you/4").text
    assert "the table `ratings` has 3 rows" in failed


def test_figures_stand_by_users_with_the_difference_to_popularity(busy: Any) -> None:
    found = one(busy, 2).figures
    assert [part.users for part in found] == ["warm", "all", "", "books"]
    first = found[0].figures[0]
    assert (first.name, first.difference.value) == ("hit_rate@10[warm]", pytest.approx(0.0315))
    assert all(figure.difference is None for figure in found[2].figures)
    assert [figure.on_axis for figure in found[2].figures] == [True, False]


def test_runs_that_are_not_there_answer_404_with_the_nearest(busy: Any, get: Callable[..., Any]) -> None:
    with pytest.raises(NoSuchRelease, match="for_you#9"):
        one(busy, 9)
    for path in ("/runs/for_you/9", "/runs/nobody/1", "/runs/for_you/9.json", "/runs/for_you/9/live"):
        assert get(busy.stores(), path).status == 404
    assert get(busy.stores(), "/runs/for_you/x").status == 404


def test_curves_keep_every_peak_and_say_what_was_left_out(mill: Any, get: Callable[..., Any]) -> None:
    with mill.runs.begin("for_you", "train") as run:
        for start in range(0, 10_000, 200):  # a line holds no more than this many
            run._points = [
                MetricPoint(name="loss", step=k, value=-7.0 if k == 4_321 else 1.0, at=k)
                for k in range(start, start + 200)
            ]
            run._write_points()
    (drawn,) = one(mill, 1).curves
    assert (drawn.n, drawn.lowest) == (10_000, CurvePosition(step=4_321, value=-7.0))
    assert CurvePosition(step=4_321, value=-7.0) in drawn.drawn
    assert len(drawn.drawn) <= 2 * PLACES + 2
    html = get(mill.stores(), "/runs/for_you/1").text
    assert "10,000" in html
    assert "the minimum and maximum of each interval" in html


@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300),
    places=st.integers(1, 40),
)
def test_thinning_keeps_the_ends_and_the_extremes_in_order(values: list[float], places: int) -> None:
    given = [CurvePosition(step=k, value=value) for k, value in enumerate(values)]
    kept = thinned(given, places)
    assert len(kept) <= 2 * places + 2
    assert (kept[0], kept[-1]) == (given[0], given[-1])
    assert [reached.step for reached in kept] == sorted({reached.step for reached in kept})
    assert (min(r.value for r in kept), max(r.value for r in kept)) == (min(values), max(values))


@given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50))
def test_a_curve_lies_inside_its_chart(values: list[float]) -> None:
    made = chart(curve.curve("loss", [CurvePosition(step=7 * k, value=value) for k, value in enumerate(values)]))
    for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", made.path):
        assert made.left <= float(x) <= made.right
        assert made.top <= float(y) <= made.bottom
    assert all(made.top - 0.1 <= mark.at <= made.bottom + 0.1 for mark in made.up)
    assert all(made.left <= mark.at <= made.right for mark in made.across)


def test_points_that_are_no_number_are_counted_and_left_out() -> None:
    points = [
        MetricPoint(name="loss", step=k, value=value, at=k) for k, value in enumerate([1.0, math.nan, math.inf, 2.0])
    ]
    (found,) = curve.curves(points)
    assert (found.n, found.unfit, len(found.drawn), found.highest.value) == (4, 2, 2, 2.0)
    assert curve.curves([MetricPoint(name="loss", step=0, value=math.nan, at=0)]) == ()


def test_what_never_changed_is_no_curve_and_what_trials_tell_is_not_told_twice(mill: Any) -> None:
    with mill.runs.begin("for_you", "search") as run:
        for step in range(1, 6):
            run.log(
                step, **{"learn.loss": 1 / step, "write.items": 15, "choose.factors": 8 * step, "choose.tried": step}
            )
            run.trial(Trial(number=step, parameters={"factors": 8 * step}, state="finished", value=0.1 * step))
        run.log(1, **{"evaluate.users": 40})
    made = one(mill, 1)
    assert [drawn.name for drawn in made.curves] == ["best so far, by trial", "learn.loss"]
    assert made.noted == {"write.items": 15, "evaluate.users": 40}


# ---- the trials of a search


def test_a_search_shows_all_trials_in_the_table_the_best_on_top(busy: Any, get: Callable[..., Any]) -> None:
    made = one(busy, 3)
    assert len(made.trials) == 90
    best = made.trials[0]
    assert (best.best, best.number) == (True, made.run.best)
    finished = [trial.value for trial in made.trials if trial.state == "finished"]
    assert finished == sorted(finished, reverse=True)
    assert sum(made.ended.values()) == 90
    assert made.varied == ("learner", "half_life", "neighbours", "popularity", "l2", "factors")
    assert made.shared == {"seed": "0"}
    html = get(busy.stores(), "/runs/for_you/3").text
    assert len(re.findall(r'<tr class="\w+" data-trial=', html)) == 90
    assert len(re.findall(r'<g class="thread [\w ]+" data-trial=', html)) == 90
    for state in ("finished", "pruned", "failed", "late"):
        assert f'<g class="thread {state}' in html


def test_the_best_so_far_only_climbs(busy: Any) -> None:
    climb = one(busy, 3).curves[0]
    values = [reached.value for reached in climb.drawn]
    assert climb.shape == "climb"
    assert values == sorted(values)
    assert values[-1] == max(trial.value for trial in busy.runs.trials("for_you#3") if trial.state == "finished")


def test_lines_stay_on_the_axes_and_the_best_lies_on_top() -> None:
    trials = searched(120)
    best = max((t for t in trials if t.state == "finished"), key=lambda t: t.value or 0.0).number
    made = parallel_plot(trials, best)
    assert made is not None
    assert made.threads[-1].number == best
    assert [axis.name for axis in made.axes] == [
        "learner", "half_life", "neighbours", "popularity", "l2", "factors", "score",
    ]  # fmt: skip
    for thread in made.threads:
        heights = [float(y) for y in re.findall(r" ([\d.]+)", thread.path)]
        assert len(heights) == len(made.axes)
        assert all(made.top <= y <= made.bottom or y == made.lane for y in heights)
        assert (thread.y == made.lane) == (thread.state in ("failed", "late"))
    top = next(thread for thread in made.threads if thread.best)
    assert top.y == min(thread.y for thread in made.threads)


def test_lengths_of_time_stand_in_their_order_and_magnitude() -> None:
    days = ["365 days", "7 days", "30 days", "2 hours"]
    trials = [
        Trial(number=k, parameters={"half_life": day}, state="finished", value=0.1 * k) for k, day in enumerate(days)
    ]
    made = parallel_plot(trials, None)
    assert made is not None
    axis = made.axes[0]
    assert [tick.text for tick in sorted(axis.ticks, key=lambda tick: tick.y)] == [
        "365 days",
        "30 days",
        "7 days",
        "2 hours",
    ]


def test_very_many_trials_are_thinned_for_the_drawing_and_it_says_so(mill: Any, get: Callable[..., Any]) -> None:
    with mill.runs.begin("for_you", "search") as run:
        for trial in searched(700):
            run.trial(trial)
    made, trials = run_page(mill.stores(), LedgerProjection(mill.ledger), "for_you", 1)
    drawn = parallel_plot(trials, made.run.best)
    assert drawn is not None
    assert (len(drawn.threads), drawn.n, len(made.trials)) == (DRAWN, 700, 700)
    assert len({thread.number for thread in drawn.threads}) == DRAWN
    finished = sorted((t.value for t in trials if t.state == "finished" and t.value is not None), reverse=True)
    shown = {thread.number for thread in drawn.threads}
    assert {t.number for t in trials if t.state == "finished" and (t.value or 0) >= finished[20]} <= shown
    html = get(mill.stores(), "/runs/for_you/1").text
    assert f"{DRAWN} of 700 trials are drawn" in html
    assert len(re.findall(r'<tr class="\w+" data-trial=', html)) == 700


def test_trials_that_differ_in_nothing_are_a_table_alone(mill: Any, get: Callable[..., Any]) -> None:
    with mill.runs.begin("for_you", "search") as run:
        for k in range(3):
            run.trial(Trial(number=k, parameters={"factors": 64}, state="finished", value=0.1))
    html = get(mill.stores(), "/runs/for_you/1").text
    assert 'class="loom"' not in html
    assert len(re.findall(r"<tr class=\"\w+\" data-trial=", html)) == 3


settings = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.one_of(st.integers(-5, 10**6), st.floats(allow_nan=False), st.booleans(), st.none(), st.text(max_size=20),
              st.lists(st.integers(), max_size=3), st.sampled_from(["7 days", "2 hours"])),
    max_size=4,
)  # fmt: skip


@given(
    given=st.lists(
        st.tuples(settings, st.sampled_from(["finished", "pruned", "failed", "late"]), st.none() | st.floats(-9, 9)),
        max_size=12,
    )
)
def test_any_trials_can_be_drawn(given: list[Any]) -> None:
    trials = [Trial(number=k, parameters=p, state=state, value=value) for k, (p, state, value) in enumerate(given)]
    made = parallel_plot(trials, 0)
    if made is not None:
        assert len(made.threads) == len(trials)
        for thread in made.threads:
            heights = [float(y) for y in re.findall(r" ([\d.]+)", thread.path)]
            assert all(made.top <= y <= made.bottom or y == made.lane for y in heights)


# ---- live


def test_the_live_part_goes_on_until_the_run_ends(mill: Any, get: Callable[..., Any]) -> None:
    run = mill.runs.begin("for_you", "train")
    first = get(mill.stores(), "/runs/for_you/1/live")
    assert 'data-live="/runs/for_you/1/live"' in first.text
    assert "<html" not in first.text
    assert "No metric logged yet." in first.text
    tag = [("host", "localhost"), ("if-none-match", first.headers["etag"])]
    assert get(mill.stores(), "/runs/for_you/1/live", headers=tag).status == 304
    run.log(1, loss=0.5)
    run.trial(Trial(number=0, parameters={"a": 1}, state="finished", value=0.3))
    second = get(mill.stores(), "/runs/for_you/1/live", headers=tag)
    assert second.status == 200
    assert "<dt>Loss</dt><dd>0.5</dd>" in second.text  # one point is no curve
    for step in (2, 3):
        run.log(step, loss=0.5 / step)
    run._write_points()
    assert 'class="curve"' in get(mill.stores(), "/runs/for_you/1/live").text
    assert 'data-trial="0"' in second.text
    run.finish({"hit_rate@10": 0.2})
    last = get(mill.stores(), "/runs/for_you/1/live")
    assert "data-live" not in last.text
    whole = get(mill.stores(), "/runs/for_you/1").text
    assert last.text.strip() in whole
    assert "data-still" in whole


def test_the_list_is_live_while_something_runs(busy: Any, mill: Any, get: Callable[..., Any]) -> None:
    assert 'data-live="/runs?kind=refresh"' in get(busy.stores(), "/runs?kind=refresh").text
    assert "data-live" not in get(busy.stores(), "/runs?kind=search").text


# ---- the comparison


def side_by_side(mill: Any, *keys: str, **more: Any) -> Any:
    return compare_page(mill.stores(**more), LedgerProjection(mill.ledger), keys)


def test_a_comparison_shows_only_what_differs(busy: Any) -> None:
    made = side_by_side(busy, "for_you.1", "for_you.2")
    assert [(row.about, row.name, row.values) for row in made.differences] == [
        ("parameters", "half_life", ("180 days", "360 days")),
        ("data", "ratings", ("@21", "@22")),
        ("data", "through", ("10 Sep 2018", "11 Sep 2018")),
        ("code", "commit", ("9c1f07a2b8d3", "9c1f07a2b8d3 with local changes")),
    ]
    assert made.same > 4
    assert made.commands[0].text == "tidemill compare for_you#1 for_you#2"


def test_without_figures_of_users_nothing_is_claimed(busy: Any) -> None:
    made = side_by_side(busy, "for_you.1", "for_you.2")
    assert (made.headline, made.paired) == ("for_you#2 has the best hit rate at 10, warm users.", False)
    assert made.lead.startswith("Significance cannot be tested")
    assert "cannot be paired" in made.unpaired[0]


@pytest.mark.parametrize(
    ("shift", "order", "headline", "standing"),
    [
        (0.3, ("for_you.1", "for_you.2"), "for_you#2 is better than for_you#1.", "ahead"),
        (0.3, ("for_you.2", "for_you.1"), "for_you#2 is better.", "behind"),
        (0.0, ("for_you.1", "for_you.2"), "No significant difference.", "even"),
    ],
)
def test_a_paired_test_decides(busy: Any, shift: float, order: Any, headline: str, standing: str, rng: Any) -> None:
    noise = {run: rng.random(400) for run in ("for_you#1", "for_you#2")}
    warm = np.arange(400) < 60  # the others are far apart the other way: what warm users have decides
    lift = {run: np.where(warm, shift, -0.5) * (run == "for_you#2") for run in noise}
    users = {
        run: PerUnitMetrics("same", {"hit_rate@10": found + lift[run]}, {"warm": warm, "cold": ~warm})
        for run, found in noise.items()
    }

    def paired(names: Any) -> Any:
        return compare([busy.runs.read(run) for run in names], users)

    made = side_by_side(busy, *order, compare=paired)
    rows = next(figure for figure in made.figures if figure.name == "hit_rate@10[warm]").rows
    assert (made.headline, made.paired, rows[1].standing) == (headline, True, standing)
    assert rows[0].standing == "reference"
    assert "all users" not in made.lead


def test_figures_without_groups_are_paired_over_all(busy: Any, rng: Any) -> None:
    users = {f"for_you#{n}": PerUnitMetrics("same", {"hit_rate@10": rng.random(400) + 0.3 * n}) for n in (1, 2)}
    made = side_by_side(
        busy, "for_you.1", "for_you.2", compare=lambda names: compare([busy.runs.read(n) for n in names], users)
    )
    assert made.headline == "for_you#2 is better than for_you#1."
    assert made.lead.startswith("By hit rate at 10, all users")


def test_pairs_of_few_users_are_not_shown(busy: Any, rng: Any) -> None:
    users = {run: PerUnitMetrics("same", {"hit_rate@10": rng.random(9)}) for run in ("for_you#1", "for_you#2")}
    made = side_by_side(
        busy, "for_you.1", "for_you.2", compare=lambda names: compare([busy.runs.read(n) for n in names], users)
    )
    assert not made.paired
    assert "only 9 users" in made.unpaired[0]


def test_a_comparison_of_ended_runs_is_made_once(busy: Any, asks: Callable[..., Any]) -> None:
    asked: list[Any] = []

    def counted(names: Any) -> Any:
        asked.append(names)
        return compare([busy.runs.read(name) for name in names])

    app = create_app(busy.stores(compare=counted))
    for path in ("/runs/compare", "/runs/compare.json", "/runs/compare"):
        assert asks(app, path + "?run=for_you.1&run=for_you.2").status == 200
    assert asked == [("for_you#1", "for_you#2")]
    for _ in range(2):
        asks(app, "/runs/compare?run=for_you.1&run=for_you.5")  # one of them goes on
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("run=for_you.1", 400),
        ("run=for_you.1&run=for_you.1", 400),
        ("&".join(f"run=for_you.{k}" for k in range(1, 10)), 400),
        ("run=for_you.1&run=for_you", 400),
        ("run=for_you.1&run=.2", 400),
        ("run=for_you.1&run=for_you.%C2%B2", 400),
        ("run=for_you.1&run=for_you.77", 404),
        ("run=for_you.1&run=similar.1", 200),
    ],
)
def test_what_cannot_be_compared_says_why(busy: Any, get: Callable[..., Any], query: str, status: int) -> None:
    for path in ("/runs/compare", "/runs/compare.json"):
        assert get(busy.stores(), f"{path}?{query}").status == status


def test_a_run_is_called_by_model_and_number_in_an_address() -> None:
    assert named("a.b.3") == "a.b#3"
    with pytest.raises(BadRequest, match="is not a run"):
        named("for_you#3")


def test_the_figure_that_most_runs_have_tells_them_apart() -> None:
    def run(**metrics: float) -> Run:
        return Run(
            model="m", number=1, kind="train", state="finished", started_at=0,
            metrics={name: Metric(value=value, low=value, high=value) for name, value in metrics.items()},
        )  # fmt: skip

    assert figure_of([]) == ""
    assert figure_of([run(loss=1.0), run(loss=1.0, hit_rate=0.5)]) == "loss"
    assert figure_of([run(recall=1.0, hit_rate=0.5)]) == "hit_rate"


# ---- all of them


PATHS = [
    "/runs",
    "/runs/for_you/2",
    "/runs/for_you/3",
    "/runs/for_you/5",
    "/runs/compare?run=for_you.1&run=for_you.3",
]


@pytest.mark.parametrize("path", PATHS)
def test_the_json_twin_says_what_the_page_says(busy: Any, get: Callable[..., Any], path: str) -> None:
    bare, mark, query = path.partition("?")
    twin = json.loads(get(busy.stores(), f"{bare}.json{mark}{query}").body)
    html = markup.unescape(get(busy.stores(), path).text)
    assert f'href="{bare}.json{mark}{query}"' in html
    assert twin["headline"] in html
    for command in twin.get("commands", []):
        assert f'aria-label="Copy {command["text"]}"' in html


@pytest.mark.parametrize("path", PATHS)
def test_no_page_holds_inline_code_or_styles_or_an_address_of_elsewhere(
    busy: Any, get: Callable[..., Any], path: str
) -> None:
    html = get(busy.stores(), path).text
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script(?! defer src=\"/static/)|<form", html)
    assert "//" not in re.sub(r"<!doctype.*?>", "", html)
    assert "nan" not in re.findall(r'[\s"]nan[\s"]', html)


@pytest.mark.parametrize("path", PATHS)
def test_an_unchanged_page_costs_a_304(busy: Any, get: Callable[..., Any], path: str) -> None:
    tag = get(busy.stores(), path).headers["etag"]
    assert get(busy.stores(), path, headers=[("host", "localhost"), ("if-none-match", tag)]).status == 304


def test_the_model_page_names_the_run_that_made_a_release(busy: Any, get: Callable[..., Any]) -> None:
    html = get(busy.stores(), "/models/for_you").text
    assert html.count('<a href="/runs/for_you/2">for_you#2</a>') == 2  # among the versions, and in the card
    assert '<a href="/runs/for_you/1">for_you#1</a>' in html
    assert '<a href="/runs">Runs</a>' in get(busy.stores(), "/").text


HOSTILE = ["<script>alert(1)</script>", '"><svg onload=alert(1)>', "{{ 1001*1001 }}", "</title><b>x", "'-alert(1)-'"]


@pytest.mark.parametrize("text", HOSTILE)
def test_markup_in_every_name_of_a_run_is_shown_as_text(mill: Any, get: Callable[..., Any], text: str) -> None:
    for k in range(2):
        with mill.runs.begin(
            "for_you", "search", learner=text, parameters={text: text, "same": k}, data={"t": k},
            code=text, commit=text, environment=text, notes=[text],
        ) as run:  # fmt: skip
            run.log(1, **{text: 0.5})
            run.log(2, **{text: 0.6})
            for n in range(3):
                said = Trial(number=n, parameters={text: f"{text}{n}"}, state="failed", value=None, says=text)
                run.trial(said)
            run.keep(text, text)
            run.finish({text: 0.1})
    mill.runs.begin("for_you", "train").fail(text)
    for path in ("/runs", "/runs/for_you/1", "/runs/for_you/3", "/runs/compare?run=for_you.1&run=for_you.2"):
        reply = get(mill.stores(models=["for_you", text]), path)
        assert reply.status == 200
        assert text in markup.unescape(reply.text)
        assert "{{" in text or text not in reply.text
        assert "1002001" not in reply.text
        assert not re.search(r"""href="(?!/|#)""", reply.text)
