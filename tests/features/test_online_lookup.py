"""What a model looks up while it answers: every status by construction, and the boundary of a ttl."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.backends.lmdb.lmdb_latest import LmdbLatest
from tidemill.core.records.signature import FeatureLookup
from tidemill.features import OnlineLookup

_TASTE = FeatureLookup(view="taste", entity="user_id", columns={"n": "n", "mean": "mean"}, ttl_us=100)


def _write(latest: LmdbLatest, view: str = "taste", at: int | None = 1_000) -> None:
    rows = pa.table({"user_id": ["a", "b"], "n": [3, None], "mean": [4.5, 1.0]})
    if at is not None:
        rows = rows.append_column("_at", pa.array([at, at], pa.int64()))
    latest.write(view, "user_id", rows, "one")


def test_each_value_says_whether_it_is_there(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    _write(latest)
    online = OnlineLookup(latest, [_TASTE])
    found = online.look_up({"user_id": "a"}, now=1_050)
    assert found.values == {"n": 3, "mean": 4.5}
    assert found.status == {"n": "present", "mean": "present"}
    assert (found.at, found.views) == ({"taste": 1_000}, {"taste": "present"})
    found = online.look_up({"user_id": "b"}, now=1_050)
    assert found.values == {"n": None, "mean": 1.0}
    assert (found.status, found.views) == ({"n": "missing", "mean": "present"}, {"taste": "present"})
    for entities in ({"user_id": "c"}, {"user_id": None}, {}):
        found = online.look_up(entities, now=1_050)
        assert found.values == {"n": None, "mean": None}
        assert found.status == {"n": "missing", "mean": "missing"}
        assert (found.at, found.views) == ({"taste": None}, {"taste": "missing"})


@pytest.mark.parametrize(("now", "status"), [(900, "present"), (1_100, "present"), (1_101, "expired")])
def test_a_value_counts_for_its_ttl_and_is_none_to_the_model_after_it(tmp_path: Path, now: int, status: str) -> None:
    latest = LmdbLatest(tmp_path)
    _write(latest)
    found = OnlineLookup(latest, [_TASTE]).look_up({"user_id": "a"}, now)
    assert set(found.status.values()) == {status}
    assert found.values["n"] == (3 if status == "present" else None)
    assert found.at == {"taste": 1_000}


def test_without_a_ttl_or_an_instant_nothing_expires(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    _write(latest)
    _write(latest, "old", at=None)
    lookups = [
        FeatureLookup(view="taste", entity="user_id", columns={"n": "n"}),
        FeatureLookup(view="old", entity="user_id", columns={"m": "mean"}, ttl_us=1),
    ]
    found = OnlineLookup(latest, lookups).look_up({"user_id": "a"}, now=10**15)
    assert found.values == {"n": 3, "m": 4.5}
    assert found.at == {"taste": 1_000, "old": None}


def test_one_view_asked_by_two_entities_gives_each_its_own(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    _write(latest)
    lookups = [
        FeatureLookup(view="taste", entity="buyer", columns={"buyer.n": "n"}),
        FeatureLookup(view="taste", entity="seller", columns={"seller.n": "n"}),
    ]
    found = OnlineLookup(latest, lookups).look_up({"buyer": "a", "seller": "nobody"}, now=1_000)
    assert found.values == {"buyer.n": 3, "seller.n": None}
    assert found.views == {"taste[buyer]": "present", "taste[seller]": "missing"}


def test_what_is_forgotten_or_fresh_is_so_for_the_next_answer(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    _write(latest)
    online = OnlineLookup(latest, [_TASTE])
    latest.put("taste", "a", {"n": 9, "mean": 2.0, "_at": 2_000}, at=2_000)
    assert online.look_up({"user_id": "a"}, now=2_050).values == {"n": 9, "mean": 2.0}
    latest.forget(["a"])
    assert online.look_up({"user_id": "a"}, now=2_050).views == {"taste": "missing"}


def test_many_rows_are_what_each_alone_is(tmp_path: Path) -> None:
    latest = LmdbLatest(tmp_path)
    _write(latest)
    latest.put("other", "x", {"m": 7, "_at": 900}, at=900)
    other = FeatureLookup(view="other", entity="item", columns={"m": "m"})
    for lookups in ([_TASTE], [_TASTE, other], [other]):
        online = OnlineLookup(latest, lookups)
        asked = [({"user_id": who, "item": what}, now) for who in ("a", "b", None, "c") for what in ("x", None)
                 for now in (1_050, 5_000)]  # fmt: skip
        assert online.of_many(asked) == [online.look_up(entities, now) for entities, now in asked]
        assert online.of_many([]) == []


@given(at=st.integers(-100, 100), ttl=st.none() | st.integers(0, 100), now=st.integers(-300, 300))
def test_a_value_is_given_exactly_as_long_as_it_counts(
    at: int, ttl: int | None, now: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    class OneRow:
        def get(self, view: str, key: str) -> dict[str, int]:
            return {"n": 1, "_at": at}

    lookup = FeatureLookup(view="v", entity="e", columns={"n": "n"}, ttl_us=ttl)
    found = OnlineLookup(OneRow(), [lookup]).look_up({"e": "a"}, now)  # type: ignore[arg-type]
    assert (found.values["n"] is not None) == (ttl is None or now <= at + ttl)
    assert found.status["n"] == found.views["v"] == ("present" if found.values["n"] else "expired")
