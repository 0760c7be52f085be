"""The drawings as numbers, the words, the palette, and the watch in the background."""

from __future__ import annotations

import doctest
import math
import re
from datetime import UTC, datetime, timedelta
from importlib import resources
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.console import formatting
from tidemill.console.drawings import scale
from tidemill.console.drawings.component_diagram import room_diagram
from tidemill.console.drawings.scale import IntervalAxis
from tidemill.console.state.background_verify import BackgroundVerify
from tidemill.console.state.components import RoomState
from tidemill.core.clock import FixedClock
from tidemill.core.errors import LakeError
from tidemill.core.records.quality import Metric

NAMES = ["sources", "lake", "checks", "features", "models", "training", "release", "serving", "feedback"]
states = st.lists(st.sampled_from(["well", "look", "waits"]), min_size=9, max_size=9)


def rooms(state: list[str]) -> list[RoomState]:
    return [RoomState(name=name, state=one, says="", at=None) for name, one in zip(NAMES, state, strict=True)]  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [formatting, scale])
def test_the_examples_run(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert (found.failed, found.attempted > 0) == (0, True)


@given(state=states, wide=st.booleans(), closed=st.booleans())
def test_stations_lie_on_the_ring_apart_and_inside_the_drawing(state: list[str], wide: bool, closed: bool) -> None:
    made = room_diagram(rooms(state), closed=closed, wide=wide)
    for one in made.stations:
        assert math.hypot(one.x - made.cx, one.y - made.cy) == pytest.approx(made.radius, abs=0.2)
        assert made.node <= one.x <= made.width - made.node
        assert made.node <= one.y <= made.height - made.node
    for one, other in pairwise([*made.stations, made.stations[0]]):
        assert math.hypot(one.x - other.x, one.y - other.y) > 2 * made.node + 10
    assert (made.stations[0].x, made.stations[0].y) == (made.cx, made.cy - made.radius)
    assert made.stations[1].x > made.cx  # clockwise


@given(state=states, closed=st.booleans())
def test_water_flows_to_rooms_that_were_reached_and_back_only_when_the_loop_is_closed(
    state: list[str], closed: bool
) -> None:
    made = room_diagram(rooms(state), closed=closed, wide=True)
    assert [one.state for one in made.channels[:-1]] == [
        "stands" if after == "waits" else "flows" for after in state[1:]
    ]
    assert made.channels[-1].state == ("closes" if closed else "open")
    assert made.water == state.count("well") / 9


def test_the_water_never_reaches_the_words_and_always_shows() -> None:
    for state in ("well", "waits"):
        made = room_diagram(rooms([state] * 9), closed=True, wide=True)
        assert made.cy + 28 < made.water_y < made.cy + made.inner


metrics = st.tuples(st.floats(-1, 1), st.floats(0, 0.5), st.floats(0, 0.5)).map(
    lambda t: Metric(value=t[0], low=t[0] - t[1], high=t[0] + t[2])
)


@given(given=st.lists(metrics, min_size=1, max_size=6))
def test_every_interval_and_zero_lie_on_the_axis_in_order(given: list[Metric]) -> None:
    axis = IntervalAxis(given)
    assert 0 <= axis.zero <= 100
    for metric in given:
        bar = axis.bar(metric)
        assert 0 <= bar.low <= bar.at <= bar.high <= 100
        if metric.low > 0.05:
            assert bar.low > axis.zero


def _palettes() -> dict[str, dict[str, str]]:
    css = (resources.files("tidemill.console") / "static" / "console.css").read_text()
    light, dark = css.split("@media (prefers-color-scheme: dark)")
    colours = r"--([\w-]+): (#[0-9a-f]{6});"
    day = dict(re.findall(colours, light))
    night = day | dict(re.findall(colours, dark.split("*, ::before")[0]))
    return {"light": day, "dark": night}


def _contrast(one: str, other: str) -> float:
    def light(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    a, b = sorted([light(one), light(other)], reverse=True)
    return (a + 0.05) / (b + 0.05)


@pytest.mark.parametrize("tide", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "on"),
    [
        ("ink", "paper"),
        ("ink", "card"),
        ("quiet", "paper"),
        ("quiet", "card"),
        ("ink", "water-faint"),
        ("ink", "water-soft"),
        ("quiet", "water-faint"),
        ("water", "paper"),
        ("water", "card"),
        ("water", "water-faint"),
        ("on-water", "water"),
        ("on-water", "brass"),
        ("brass", "card"),
        ("red", "card"),
        ("red", "paper"),
        ("ink", "red-soft"),
    ],
)
def test_words_can_be_read_by_day_and_by_night(tide: str, text: str, on: str) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    palette = _palettes()[tide]
    assert _contrast(palette[text], palette[on]) >= 4.5


def test_the_watch_looks_when_it_is_due_and_reports_what_was_found_twice() -> None:
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    answers = iter([["half made", "torn"], ["torn", "other"], [], ["x"], []])
    watch = BackgroundVerify(lambda: next(answers), str, clock, every_s=60)
    assert watch.problems() == ()
    watch.wait()
    assert watch.problems() == ("torn",)
    clock.set(clock.now() + timedelta(seconds=61))
    watch.problems()
    watch.wait()
    assert watch.problems() == ()
    clock.set(clock.now() + timedelta(seconds=61))
    watch.problems()
    watch.wait()
    assert watch.problems() == ()


def test_a_verification_that_cannot_run_is_a_problem() -> None:
    def broken() -> list[str]:
        raise LakeError("the log is gone")

    watch = BackgroundVerify(broken, str, FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
    watch.problems()
    watch.wait()
    assert watch.problems() == ("the log is gone",)
