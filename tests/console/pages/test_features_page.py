from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tabular_to_show import filled, skewed, tabular_mill

from tidemill.console import feature_view_page, features_page, formatting
from tidemill.console.drawings.histogram import HEIGHT, WIDTH, histogram
from tidemill.console.state import feature_state
from tidemill.console.state.feature_state import ViewMeasurements
from tidemill.core.errors import UnknownName
from tidemill.core.records.quality import FEWEST_USERS
from tidemill.features import distribution as distribution_of
from tidemill.features.distribution import distribution
from tidemill.loop.state.ledger_projection import LedgerProjection

HOSTILE = ["<script>alert(1)</script>", '"><svg onload=alert(1)>', "{{ 1001*1001 }}", "</title><b>x"]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A mill and its store of rows; tests do not change them."""
    return tabular_mill(tmp_path_factory.mktemp("features"))


def stores(shown: tuple[Any, Any], **more: Any) -> Any:
    mill, latest = shown
    return mill.stores(models=["churn"], latest=latest, **more)


def page(shown: tuple[Any, Any]) -> Any:
    return features_page(stores(shown), LedgerProjection(shown[0].ledger))


def one(shown: tuple[Any, Any], name: str = "zone_pace") -> Any:
    return feature_view_page(stores(shown), LedgerProjection(shown[0].ledger), name)


@pytest.mark.parametrize("module", [distribution_of, formatting, feature_state])
def test_the_examples_run(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


def test_a_mill_without_features_says_how_to_begin(mill: Any, get: Callable[..., Any]) -> None:
    mill.open()
    made = features_page(mill.stores(), LedgerProjection(mill.ledger))
    assert (made.headline, made.views, made.functions) == ("No features yet.", (), ())
    assert [command.text for command in made.commands] == ["tidemill run --backfill"]
    assert "No features yet." in get(mill.stores(), "/features").text


def test_what_needs_somebody_comes_first(shown: tuple[Any, Any]) -> None:
    made = page(shown)
    assert [(view.name, view.weight) for view in made.views] == [
        ("unused", "broken"),
        ("zone_pace", "decide"),
        ("taste", "well"),
    ]
    assert made.headline == "Two views need attention."
    assert made.views[0].says == ("Never materialised: lookups return nothing.",)
    assert made.views[1].says == ("50% of its values are older than 3 days and count as missing.",)
    assert [command.text for command in made.views[1].commands] == ["tidemill run"]


def test_a_view_is_told_with_its_age_shares_owner_and_publication(shown: tuple[Any, Any]) -> None:
    view = next(view for view in page(shown).views if view.name == "zone_pace")
    assert (view.rows, view.publication, view.owner, view.consumers) == (240, 1, "arrivals team", ("churn",))
    assert view.age_us == pytest.approx(3600e6 + 34 * 60e6, rel=0.01)
    assert (view.expired, view.missing) == (0.5, 0.05)
    assert view.kind == "window 28 days, every 1 day"


def test_functions_are_listed_with_what_they_take_and_give(shown: tuple[Any, Any]) -> None:
    (function,) = page(shown).functions
    assert (function.name, function.takes, function.consumers) == ("billing", ("tenure", "charges"), ("churn",))
    assert [(given.field.name, given.p) for given in function.gives] == [("drift", {"churn": 0.2})]
    assert function.snippet == "@mill.on_demand()\ndef billing(tenure, charges):"


def test_a_view_nobody_uses_or_answers_for_is_a_hint(tmp_path: Path) -> None:
    mill, latest = tabular_mill(tmp_path)
    latest.write("unused", "zone", pa.table({"zone": ["a"], "x": [1]}), "v")
    mill.ledger.append("features", about="view:unused", details={"publication": 1, "rows": 1})
    view = next(view for view in page((mill, latest)).views if view.name == "unused")
    assert view.weight == "hint"
    assert view.says == ("No owner: set one in mill.py.", "No model uses it.")


def test_all_is_well_when_nothing_is_expired_and_all_views_are_made(tmp_path: Path) -> None:
    mill, latest = tabular_mill(tmp_path)
    later = timedelta(days=5)
    mill.clock.set(mill.clock.now() + later)
    view = next(view for view in page((mill, latest)).views if view.name == "zone_pace")
    assert view.says == ("All values are older than 3 days and count as missing.",)
    assert view.expired == 1


def test_one_view_has_its_columns_versions_and_how_to_use_it(shown: tuple[Any, Any]) -> None:
    made = one(shown)
    minutes, weather = made.columns
    assert (minutes.name, minutes.type, minutes.missing, minutes.p) == ("zone_minutes", "double", 0.1, {"churn": 1e-9})
    assert minutes.low < minutes.mean < minutes.high
    assert [(value.value, value.n) for value in weather.spread.frequent] == [("rain", 160), ("sun", 76)]
    assert weather.spread.others is None  # four rare ones: too few to be counted
    assert weather.p == {}
    (version,) = made.versions
    assert (version.publication, version.rows, version.tables) == (1, 240, ("trips@4", "other@2"))
    assert made.snippet == 'bench.features["zone_pace"]'
    assert made.declaration == (
        '@mill.features(entity="zone", window="28 days", every="1 day", ttl="3 days", owner="arrivals team")\n'
        "def zone_pace(trips):"
    )
    assert "tidemill features --skew churn" in [command.text for command in made.commands]


def test_of_people_no_single_value_is_shown(shown: tuple[Any, Any], get: Callable[..., Any]) -> None:
    made = one(shown, "taste")
    n, friend = made.columns
    assert (n.low, n.high, n.distinct) == (None, None, 13)
    assert (friend.names_people, friend.spread, friend.distinct) == (True, None, None)
    for path in ("/features/taste", "/features/taste.json"):
        text = get(stores(shown), path).text
        assert "secret-surrogate" not in text
        assert "1000" not in text.replace("1000000", "")
        assert "1,000" not in text


def test_of_a_few_people_nothing_is_told_at_all(tmp_path: Path) -> None:
    mill, latest = tabular_mill(tmp_path)
    few = {"user_id": [f"s{k}" for k in range(9)], "n": list(range(9)), "friend": ["x"] * 9, "_at": [1] * 9}
    latest.write("taste", "user_id", pa.table(few), "fewer")
    n = one((mill, latest), "taste").columns[0]
    assert (n.mean, n.low, n.high, n.distinct, n.spread) == (None, None, None, None, None)


def test_a_view_that_is_not_there_names_the_nearest(shown: tuple[Any, Any], get: Callable[..., Any]) -> None:
    with pytest.raises(UnknownName, match="zone_pace"):
        one(shown, "zone_pase")
    assert get(stores(shown), "/features/zone_pase").status == 404
    assert json.loads(get(stores(shown), "/features/nothing.json").text)["error"]["code"] == "TM101"


def test_every_page_has_a_twin(shown: tuple[Any, Any], get: Callable[..., Any]) -> None:
    for path, name in (("/features", "views"), ("/features/taste", "columns")):
        reply = get(stores(shown), path)
        assert reply.status == 200
        assert f'href="{path}.json"' in reply.text
        assert json.loads(get(stores(shown), f"{path}.json").text)[name]


def test_without_a_store_of_rows_the_declared_part_is_shown(shown: tuple[Any, Any]) -> None:
    made = features_page(shown[0].stores(), LedgerProjection(shown[0].ledger))
    assert {view.name: view.rows for view in made.views} == {"zone_pace": 0, "taste": 0, "unused": 0}


def test_skew_is_told_with_the_answer_that_differs(tmp_path: Path, get: Callable[..., Any]) -> None:
    shown = tabular_mill(tmp_path)
    skewed(shown[0])
    made = one(shown)
    (row,) = made.skewed
    assert (row.model, row.feature, row.differing, row.n, row.behind) == ("churn", "pace", 3, 200, 1)
    assert (row.prediction, row.served, row.training) == ("p00042", "12.5", "missing")
    assert made.skews[0].differs
    assert "pace differs most: in 3 of 200 predictions." in page(shown).skews[0].says
    assert "p00042" in get(stores(shown), "/features/zone_pace").text
    skewed(shown[0], differing=0)
    assert one(shown).skewed == ()
    assert page(shown).skews[0].says == "No training-serving skew for churn@1: all features of 200 predictions match."


def test_figures_are_read_again_only_when_the_rows_are_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mill, latest = tabular_mill(tmp_path)
    store, read = ViewMeasurements(), []
    taken = feature_state.online_rows
    monkeypatch.setattr(feature_state, "online_rows", lambda *given: read.append(given[1].name) or taken(*given))
    story = LedgerProjection(mill.ledger)
    for _ in range(3):
        features_page(mill.stores(latest=latest), story, store)
    assert sorted(read) == ["taste", "unused", "zone_pace"]
    mill.later(seconds=1)
    latest.put("taste", "s000", {"n": 5, "friend": "x", "_at": 1}, at=1)
    features_page(mill.stores(latest=latest), story, store)
    assert read[3:] == ["taste"]
    filled(mill)
    features_page(mill.stores(latest=latest), story, store)
    assert "zone_pace" in read[3:] or latest.version("zone_pace") == "version of zone_pace"


@pytest.mark.parametrize("text", HOSTILE)
def test_names_and_values_are_shown_as_text(tmp_path: Path, get: Callable[..., Any], text: str) -> None:
    shown = tabular_mill(tmp_path, text)
    skewed(shown[0], text=text)
    for path in ("/features", "/features/zone_pace"):
        html = get(stores(shown), path).text
        assert text not in html or "{{" in text
        assert "1002001" not in html
        assert html.count("<script") == 1  # our own file


values = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6), st.integers(-5, 5).map(float)), max_size=200)


def test_whole_numbers_are_counted_one_by_one_where_there_is_room() -> None:
    found = distribution(pa.chunked_array([pa.array(list(range(12)) * 20)]))
    assert [(one.low, one.high, one.n) for one in found.stretches] == [(float(k), k + 1.0, 20) for k in range(12)]
    wide = distribution(pa.chunked_array([pa.array(list(range(100)) * 20)]))
    assert {one.n for one in wide.stretches[1:-1]} == {140}  # each holds seven whole numbers


@given(numbers=values)
def test_no_group_of_fewer_than_ten_is_counted_and_nobody_is_lost(numbers: list[float | None]) -> None:
    found = distribution(pa.chunked_array([pa.array(numbers, pa.float64())]))
    there = [number for number in numbers if number is not None]
    if found is None:
        return
    assert found.n == len(there) >= FEWEST_USERS
    counts = [one.n for one in (*found.stretches, *found.frequent)] + [found.others]
    assert all(n is None or n == 0 or n >= FEWEST_USERS for n in counts)
    if None not in counts:
        assert sum(n for n in counts if n) == found.n
    assert all(one.low < one.high for one in found.stretches)
    ordered = np.sort(there)
    if found.stretches:  # no end is one row's own
        assert len(found.stretches) <= 17
        assert (ordered < found.stretches[0].high).sum() >= FEWEST_USERS
        assert (ordered >= found.stretches[-1].low).sum() >= FEWEST_USERS


@given(numbers=st.lists(st.floats(-1e6, 1e6), min_size=30, max_size=120, unique=True))
def test_every_pillar_lies_in_its_drawing(numbers: list[float]) -> None:
    found = distribution(pa.chunked_array([pa.array(numbers)]))
    drawn = histogram(found) if found else None
    if drawn is None:
        return
    for pillar in drawn.pillars:
        assert 0 <= pillar.x < pillar.x + max(pillar.width, 0) <= WIDTH
        assert 0 <= pillar.y <= pillar.y + pillar.height <= HEIGHT
    assert all(0 < mark.at < WIDTH for mark in drawn.across)


@pytest.mark.parametrize("values", [pa.array([[1], [2]] * 20), pa.array([1, 2]), pa.array(["a", "b"]), pa.nulls(30)])
def test_what_has_no_spread_has_none(values: pa.Array) -> None:
    assert distribution(pa.chunked_array([values])) is None
