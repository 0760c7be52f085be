"""A recommender: the same after writing and opening, refused when its parts disagree, and fresh without learning."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from known_worlds import DAY, NOW, checkerboard, events

from tidemill import models
from tidemill.core.errors import BundleCorrupt, BundleRefused, FormatTooNew, IdsMismatch, TooLittleData
from tidemill.models import learn, open_recommender, write_recommender
from tidemill.models.recommender.history_weights import LONGEST, HistoryWeights, newest_first

SPECS = [models.cooccurrence(factors=2), models.item_knn(factors=2), models.spectral(factors=2), models.popularity()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_recommender(learn(SPECS[0], checkerboard(), NOW), tmp_path / "made")
    return tmp_path / "made"


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_what_is_opened_answers_as_what_was_written(spec, tmp_path: Path) -> None:
    made = learn(spec, checkerboard(), NOW)
    write_recommender(made, tmp_path / "made")
    opened = open_recommender(tmp_path / "made")
    for history in ([], [0], [0, 2, 5]):
        one, other = (r.nearest(history, list(range(len(history))), 5) for r in (made, opened))
        assert one.item.tolist() == other.item.tolist()
        assert np.array_equal(one.score, other.score)
        assert one.because.tolist() == other.because.tolist()
    assert opened.names == made.names == spec.parts()
    assert (opened.as_of, opened.prior, opened.learner) == (made.as_of, made.prior, made.learner)


@pytest.mark.parametrize("spec", SPECS[:3], ids=lambda spec: spec.name)
def test_each_user_of_a_checkerboard_is_shown_what_he_lacks(spec) -> None:
    told = checkerboard()
    recommender = learn(spec, told, NOW)
    for user in range(told.n_users):
        items, times = told.history(user)
        found = recommender.nearest(items.tolist(), times.tolist(), 12)
        unseen = [item for item in found.item.tolist() if item not in items]
        assert unseen[0] == user  # the one item of his colour that he has not taken
        assert np.all(np.diff(found.score) <= 0)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_learning_twice_leaves_the_same_bytes(spec, tmp_path: Path) -> None:
    for name in ("one", "other"):
        write_recommender(learn(spec, checkerboard(), NOW), tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert files
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes(), file
    assert {file.suffix for file in files} <= {".npy", ".json", ".arrow"}


def test_a_new_event_changes_the_answer_without_learning() -> None:
    recommender = learn(models.cooccurrence(factors=2), checkerboard(), NOW)
    even, odd = recommender.nearest([0], [DAY], 3), recommender.nearest([0, 1], [DAY, 2 * DAY], 3)
    assert all(item % 2 == 0 for item in even.item.tolist())
    assert any(item % 2 == 1 for item in odd.item.tolist())


def test_the_item_behind_a_candidate_is_the_one_that_gave_most() -> None:
    told = events(
        [*[(f"u{n}", "a", 1) for n in range(5)], *[(f"u{n}", "c", 2) for n in range(5)], ("v", "b", 1), ("v", "c", 2)]
    )
    recommender = learn(models.cooccurrence(factors=0), told, NOW)
    found = recommender.nearest([0, 1], [DAY, DAY], 5)  # history a and b; c goes with both, mostly with a
    place = found.item.tolist().index(2)
    assert found.because[place] == 0


def test_only_items_with_an_event_before_the_as_of_are_learned() -> None:
    told = events([("u", "a", 1), ("u", "b", 2), ("v", "late", 50)])
    assert list(learn(models.cooccurrence(), told, 10 * DAY).items) == ["a", "b"]
    with pytest.raises(TooLittleData):
        learn(models.cooccurrence(), told, 0)


def test_weights_run_from_the_newest_event_and_count_an_item_once() -> None:
    codes, times = newest_first([7, 8, 7], [0, 5 * DAY, 10 * DAY])
    assert (codes, times) == ([7, 8], [10 * DAY, 5 * DAY])
    weigh = HistoryWeights(recency_days=10.0)
    assert weigh.weigh(times) == pytest.approx([1.0, np.exp(-0.5) * 2**-0.3])
    assert weigh.weigh([1000 * DAY + time for time in times]) == pytest.approx(weigh.weigh(times))
    assert HistoryWeights(recency_days=None, rank_power=1.0).weigh(times) == pytest.approx([1.0, 0.5])
    assert HistoryWeights(recency_days=10.0, last_day=True).weigh(times) == [1.0, 0.0]
    assert len(newest_first(list(range(500)), list(range(500)))[0]) == LONGEST
    assert newest_first([], []) == ([], [])
    assert weigh.weigh([]) == []


def test_ids_of_another_training_are_refused(folder: Path, tmp_path: Path) -> None:
    ids = [f"i{number:02}" for number in range(12)][::-1]  # as many, drawn anew
    with pa.OSFile(str(folder / "items.arrow"), "wb") as sink:
        table = pa.table({"item_id": ids})
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(IdsMismatch):
        open_recommender(folder)


@pytest.mark.parametrize("part", ["popularity", "spectral", "cooccurrence"])
def test_parts_of_another_size_are_refused(part: str) -> None:
    one = learn(models.cooccurrence(), checkerboard(), NOW)
    other = learn(models.cooccurrence(), checkerboard(n_items=10), NOW)
    with pytest.raises(IdsMismatch, match=part):
        if part == "popularity":
            replace(one, popularity=other.popularity)
        replace(one, parts={**one.parts, part: other.parts[part]})


def test_damage_is_refused_by_name(folder: Path) -> None:
    weights = folder / "parts" / "cooccurrence" / "weights.npy"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-5])
    with pytest.raises(BundleCorrupt, match=r"weights\.npy"):
        open_recommender(folder)
    weights.unlink()
    with pytest.raises(BundleCorrupt, match=r"weights\.npy"):
        open_recommender(folder)
    np.save(weights, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(BundleRefused, match="pickle"):
        open_recommender(folder)
    weights.write_bytes(whole)
    (folder / "recommender.json").write_text("{")
    with pytest.raises(BundleCorrupt, match=r"recommender\.json"):
        open_recommender(folder)


def test_a_newer_format_is_refused(folder: Path) -> None:
    about = msgspec.json.decode((folder / "recommender.json").read_bytes())
    (folder / "recommender.json").write_bytes(msgspec.json.encode(about | {"format": 99, "novelty": True}))
    with pytest.raises(FormatTooNew):
        open_recommender(folder)


@pytest.mark.parametrize(
    ("name", "value"), [("share", 1.5), ("draws", -1), ("recency_days", 0), ("recency_days", -2.0), ("rank_power", -1)]
)
def test_a_part_whose_numbers_are_out_of_range_is_refused(folder: Path, name: str, value: float) -> None:
    about = msgspec.json.decode((folder / "recommender.json").read_bytes())
    for part in about["parts"].values():
        (part["weights"] if name in part["weights"] else part)[name] = value
    (folder / "recommender.json").write_bytes(msgspec.json.encode(about))
    with pytest.raises(BundleCorrupt, match=rf"recommender\.json.*{name}"):
        open_recommender(folder)


def test_apart_shares_arrays_and_not_scratch() -> None:
    recommender = learn(models.cooccurrence(), checkerboard(), NOW)
    other = recommender.apart()
    one = recommender.profile([0, 2], [1, 2])
    first = one.relevance(np.arange(12, dtype=np.int32))
    other.profile([1, 3], [1, 2])
    assert np.array_equal(one.relevance(np.arange(12, dtype=np.int32)), first)
    assert other.codes is recommender.codes
    assert other.lists is recommender.lists
