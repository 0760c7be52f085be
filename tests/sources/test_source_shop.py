"""The simulated shop: the same for the same URL, with known truth, late, repeated and bad deliveries."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from source_reader import COLUMNS, Item, Reader, Review, rows

from tidemill.core.contract.contract import Event, event_time, item, subject
from tidemill.core.errors import SchemaChanged, SettingError, UnknownName
from tidemill.core.source_read import ReadRequest, SourceRead, SourceState
from tidemill.sources import Shop, ShopSource, ShopUrl, open_source

URL = "shop:?seed=3&customers=150&items=80&rate=0.3&late=0.1&repeated=0.05"
START = date(2026, 1, 1)


def day(n: int) -> date:
    return START + timedelta(days=n)


@pytest.fixture(scope="module")
def shop() -> Shop:
    return Shop(URL)


def read(url: str, until: date, after: date | None = None, state: SourceState | None = None) -> SourceRead:
    return open_source(url, Review.contract, Path()).read(ReadRequest(until=until, after=after, state=state))


def test_the_same_url_makes_the_same_rows_and_another_seed_others() -> None:
    one, two = Shop(URL), Shop(URL)
    assert [one.reviews(day(n)) for n in range(20)] == [two.reviews(day(n)) for n in range(20)]
    assert Shop(URL.replace("seed=3", "seed=4")).reviews(day(5)) != one.reviews(day(5))


def test_days_do_not_depend_on_what_was_asked_before(shop: Shop) -> None:
    late_first = Shop(URL)
    last = late_first.reviews(day(30))
    assert [shop.reviews(day(n)) for n in range(31)][30] == last


def test_reading_day_by_day_gives_what_one_reading_gives() -> None:
    whole = rows(read(URL, day(20)), "user_id", "item_id", "rating", "reviewed_at", "_row", "_day")
    parts, state, after = [], None, None
    for n in range(21):
        part = read(URL, day(n), after, state)
        state, after = part.state, day(n)
        parts += rows(part, "user_id", "item_id", "rating", "reviewed_at", "_row", "_day")
        good, _ = part.of_day(day(n), first=True)
        assert good.num_rows == part.good.num_rows
    assert parts == whole and len({row[4] for row in whole}) == len(whole)
    assert read(URL, day(20), day(20), state).good.num_rows == 0


def test_files_written_day_by_day_hold_the_same_rows_as_the_source(tmp_path: Path, shop: Shop) -> None:
    columns = ("user_id", "item_id", "rating", "reviewed_at")
    for form, url in (("csv", f"file:csv{COLUMNS}"), ("jsonl", "file:jsonl")):
        for n in range(10):
            shop.write_reviews(tmp_path / form, day(n), form=form)  # type: ignore[arg-type]
        from_files = Reader(tmp_path, Review.contract)(url, day(9))
        assert sorted(rows(from_files, *columns)) == sorted(rows(read(URL, day(9)), *columns))
    again = [path.read_bytes() for path in sorted((tmp_path / "csv").iterdir())]
    assert [shop.write_reviews(tmp_path / "again", day(n)).read_bytes() for n in range(10)] == again


def test_some_rows_are_late_and_some_come_twice(shop: Shop) -> None:
    arrived = [(n, row) for n in range(60) for row in shop.reviews(day(n))]
    midnight = datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6
    delays = [n - int((row["at"] - midnight) // 86_400_000_000) for n, row in arrived]
    assert min(delays) == 0 and 1 <= max(delays) <= 6
    assert 0.05 < np.mean([delay > 0 for delay in delays]) < 0.2
    copies = Counter(tuple(row.values()) for _, row in arrived)
    assert 0.02 < np.mean([n > 1 for n in copies.values()]) < 0.1


def test_appeal_is_skewed_and_weeks_have_a_shape() -> None:
    big = Shop("shop:?customers=800&items=300")
    rows_ = [row for n in range(84) for row in big.reviews(day(n))]
    counts = sorted(Counter(row["item_id"] for row in rows_).values(), reverse=True)
    assert sum(counts[: len(counts) // 10]) > 0.25 * sum(counts)
    weekdays = Counter(datetime.fromtimestamp(row["at"] / 1e6, UTC).weekday() for row in rows_)
    assert weekdays[5] > 1.2 * weekdays[0]
    assert {row["rating"] for row in rows_} == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_preferences_are_the_chances_of_the_next_choice() -> None:
    """Who chooses once does so as `preferences` says, held by the spread of a sum of independent choices."""
    url = "shop:?seed=5&customers=3000&items=12&rate=0.4&late=0&repeated=0&bots=0&days=200"
    chosen = {row["user_id"]: row["item_id"] for row in Shop(url).reviews(START)}
    visits = Counter(row["user_id"] for row in Shop(url).reviews(START))
    hits, chances = 0, []
    fresh = Shop(url)
    fresh._days.arrivals = lambda day: []  # type: ignore[method-assign]  # nobody has bought anything yet
    once = [user for user, n in visits.items() if n == 1]
    for user in once:
        best = fresh.oracle(user, START, 3)
        chances.append(best.hit_rate)
        hits += chosen[user] in best.items
    expected, spread = sum(chances), np.sqrt(sum(chance * (1 - chance) for chance in chances))
    assert len(once) > 300 and abs(hits - expected) < 4 * spread
    wrong = sum(3 / 12 for _ in chances)  # the wrong variant: every item alike
    assert abs(hits - wrong) > 4 * spread


def test_the_oracle_beats_popularity_and_nothing_beats_the_oracle(shop: Shop) -> None:
    counts = Counter(row["item_id"] for n in range(40) for row in shop.reviews(day(n)))
    popular = [name for name, _ in counts.most_common()]
    users = [user for user in shop.customers if user not in shop.bots][:60]
    best = [shop.oracle(user, day(39), 10) for user in users]
    fair = [shop.hit_rate(user, popular[:10], day(39)) for user in users]
    assert all(oracle.hit_rate >= chance - 1e-12 for oracle, chance in zip(best, fair, strict=True))
    assert np.mean([oracle.hit_rate for oracle in best]) > 1.5 * np.mean(fair)


def test_what_was_bought_or_is_not_for_sale_is_never_preferred(shop: Shop) -> None:
    bought: dict[str, set[str]] = {}
    for n in range(40):
        for row in shop.reviews(day(n)):
            bought.setdefault(row["user_id"], set()).add(row["item_id"])
    for user, things in list(bought.items())[:40]:
        preferences = dict(zip(shop.items, shop.preferences(user, day(45)), strict=True))
        assert all(preferences[thing] == 0 for thing in things)
        stock = dict(zip(shop.items, shop._world.in_stock(45), strict=True))
        left = any(has for name, has in stock.items() if name not in things)
        assert sum(preferences.values()) == pytest.approx(1 if left else 0)
        thing = next(iter(things))
        truth = shop.truth(user, thing, day(45))
        assert truth.bought and truth.preference == 0 and truth.chance == 0 and 1 <= truth.expected_rating <= 5


def test_answers_to_a_slate_follow_their_known_chances(shop: Shop) -> None:
    user = next(user for user in shop.customers if user not in shop.bots)
    slate = shop.oracle(user, day(10), 8).items
    assert shop.respond(user, slate, day(10)) == shop.respond(user, slate, day(10))
    draws = [shop.respond(user, slate, day(10), draw=n) for n in range(2000)]
    chances = np.array([answer.chance for answer in draws[0]])
    taken = np.array([[answer.taken for answer in draw] for draw in draws]).mean(axis=0)
    assert np.all(np.abs(taken - chances) < 4.5 * np.sqrt(chances * (1 - chances) / 2000))
    assert all((answer.rating is not None) == answer.taken for draw in draws for answer in draw)
    first = shop.truth(user, slate[0], day(10)).chance
    assert chances[0] == pytest.approx(first) and draws[0][1].chance < shop.truth(user, slate[1], day(10)).chance


def test_a_bad_day_is_on_another_scale_and_doubled(tmp_path: Path, shop: Shop) -> None:
    fair, bad = shop.reviews(day(4)), shop.reviews(day(4), bad=True)
    assert len(bad) == 2 * len(fair) and bad[0]["rating"] == 20 * fair[0]["rating"]
    broken = Shop(URL + "&bad=2026-01-05")
    assert broken.reviews(day(4)) == bad and broken.reviews(day(4), bad=False) == fair
    assert broken.reviews(day(5)) == shop.reviews(day(5))
    seen = rows(read(URL + "&bad=2026-01-05", day(6)), "rating", "_day")
    stars = [rating for rating, when in seen if when == day(4)]
    assert max(stars) == 100


def test_the_items_start_with_all_and_go_on_with_what_changes(shop: Shop) -> None:
    source = ShopSource(URL.replace("shop:", "shop:items"), Item.contract, Path())
    whole = source.read(ReadRequest(until=day(200)))
    frame = pl.DataFrame(pl.from_arrow(whole.good))
    known = frame.unique("item_id", keep="last", maintain_order=True)
    now = dict(known.select("item_id", "in_stock").rows())
    stock = shop._world.in_stock(200)
    there = shop._world.appears <= 200
    assert now == {shop.items[n]: bool(stock[n]) for n in np.flatnonzero(there)}
    assert frame.height > known.height and len(shop.items_changed(START)) > 40
    assert all(shop.category(name) == category for name, category in known.select("item_id", "category").iter_rows())


def test_new_items_appear_and_are_bought(shop: Shop) -> None:
    new = {row["item_id"] for n in range(1, 100) for row in shop.items_changed(day(n))} - {
        row["item_id"] for row in shop.items_changed(START)
    }
    assert new
    sales = [(n, row["item_id"]) for n in range(121) for row in shop.reviews(day(n)) if row["item_id"] in new]
    assert sales and min(n for n, _ in sales) > 0


def test_tastes_drift(shop: Shop) -> None:
    who = np.arange(100)
    first, last = shop._world.tastes(who, 0), shop._world.tastes(who, 365)
    turned = (first * last).sum(axis=1)
    assert 0.2 < turned.mean() < 0.98 and np.allclose(np.linalg.norm(last, axis=1), 1)


def test_what_does_not_fit_is_refused() -> None:
    for url, said in [
        ("shop:?sed=1", "did you mean `seed`"),
        ("shop:goods", "reviews"),
        ("shop:?customers=none", "customers"),
        ("shop:?late=2", "late"),
        ("shop:?items=0", "items"),
    ]:
        with pytest.raises(SettingError, match=said):
            ShopSource(url, Review.contract, Path())
    with pytest.raises(SettingError, match="did you mean `shop`"):
        open_source("shap:", Review.contract, Path())

    class Odd(Event):
        user_id: str = subject()
        item_id: str = item()
        mood: float
        at: datetime = event_time(zone="UTC")

    with pytest.raises(SchemaChanged, match="no `mood`"):
        ShopSource("shop:", Odd.contract, Path())
    with pytest.raises(UnknownName):
        Shop(ShopUrl(customers=3, items=3)).truth("nobody", "M000000", START)
