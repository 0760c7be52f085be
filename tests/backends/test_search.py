"""Exact and FAISS search keep the port's promises; wrong variants of both are caught by the same suite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidemill.backends.faiss_search import FaissSearch
from tidemill.core.errors import BundleCorrupt
from tidemill.core.ports import VectorSearch
from tidemill.models.recommender.exact_search import ExactIndex, ExactSearch, recall
from tidemill.testing.vector_search import SearchSuite, skewed


class TestExact(SearchSuite):
    def search(self) -> VectorSearch:
        return ExactSearch()


class TestFaissFlat(SearchSuite):
    def search(self) -> VectorSearch:
        return FaissSearch()


class TestFaissLists(SearchSuite):
    def search(self) -> VectorSearch:
        return FaissSearch(flat_below=500)


class _ByCosine(ExactSearch):
    """Wrong: learned for inner products, searched by angle."""

    def open(self, folder):
        vectors = np.load(Path(folder) / "vectors.npy")
        return ExactIndex(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


class _WorstFirst(ExactSearch):
    """Wrong: gives the nearest in any order."""

    def open(self, folder):
        class Index(ExactIndex):
            def query(self, vector, n, allowed=None):
                found, scores = super().query(vector, n, allowed)
                return found[::-1], scores[::-1]

        return Index(np.load(Path(folder) / "vectors.npy"))


class _FiltersWhatItFound(ExactSearch):
    """Wrong: takes the nearest of all, and what is left of them."""

    def open(self, folder):
        class Index(ExactIndex):
            def query(self, vector, n, allowed=None):
                found, scores = super().query(vector, n)
                kept = slice(None) if allowed is None else allowed[found]
                return found[kept], scores[kept]

        return Index(np.load(Path(folder) / "vectors.npy"))


class _FewCells(FaissSearch):
    """Wrong: looks into a handful of cells, which is enough at twenty and not at two hundred."""

    def build(self, vectors, folder, queries=None):
        super().build(vectors, folder, queries[:0] if queries is not None else None)

    def open(self, folder):
        index = super().open(folder)
        index._index.nprobe = 4
        return index


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (_ByCosine(), "test_scores_are_inner_products_best_first_and_none_twice"),
        (_ByCosine(), "test_enough_of_the_nearest_are_found_at_the_size_of_the_pool"),
        (_WorstFirst(), "test_scores_are_inner_products_best_first_and_none_twice"),
        (_FiltersWhatItFound(), "test_only_allowed_vectors_are_found_and_enough_of_their_nearest"),
        (_FiltersWhatItFound(), "test_fewer_allowed_than_asked_for_gives_them_all"),
        (_FewCells(flat_below=500), "test_enough_of_the_nearest_are_found_at_the_size_of_the_pool"),
    ],
)
def test_the_suite_catches_a_wrong_variant(wrong, law, tmp_path: Path) -> None:
    suite = SearchSuite()
    suite.search = lambda: wrong  # type: ignore[method-assign]
    with pytest.raises(AssertionError):
        getattr(suite, law)(tmp_path)


def test_recall_at_twenty_says_nothing_of_recall_at_the_pool() -> None:
    """Why the pool's size is what is measured: by angle alone, the top looks better than the pool is."""
    items, queries = skewed(4_000, 16)
    unit = items / np.linalg.norm(items, axis=1, keepdims=True)
    by_angle = [np.argsort(-(unit @ query))[:200] for query in queries]
    assert np.mean([recall(items, query, found, 200) for found, query in zip(by_angle, queries, strict=True)]) < 0.9


def test_more_cells_are_looked_into_until_real_queries_are_served(tmp_path: Path) -> None:
    items, queries = skewed(6_000, 16)
    search = FaissSearch(flat_below=500)
    search.build(items, str(tmp_path / "tuned"), queries)
    search.build(items, str(tmp_path / "plain"))
    tuned, plain = (search.open(str(tmp_path / name))._index for name in ("tuned", "plain"))
    assert tuned.nprobe != plain.nprobe == plain.nlist // 4


def test_an_index_of_augmented_vectors_from_an_earlier_version_is_read(tmp_path: Path) -> None:
    items, queries = skewed(600, 8)
    longest = float(np.linalg.norm(items, axis=1).max())
    rest = np.sqrt(np.maximum(longest**2 - np.einsum("ij,ij->i", items, items), 0))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(9), 9, 20)
    index.train(np.column_stack((items, rest)))
    index.add(np.column_stack((items, rest)))
    index.nprobe = 20
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    (tmp_path / "index.json").write_text(json.dumps({"longest": longest, "count": 600}))
    allowed = np.arange(600) % 3 > 0
    opened, exact = FaissSearch().open(str(tmp_path)), ExactIndex(items)
    for mask in (None, allowed):
        found, scores = opened.query(queries[0], 50, mask)
        assert set(found.tolist()) == set(exact.query(queries[0], 50, mask)[0].tolist())
        assert np.allclose(scores, items[found] @ queries[0], atol=1e-3 * scores[0])
        assert np.allclose(opened.query_many(queries[:1], 50, mask)[1][0], scores)


def test_a_few_long_vectors_do_not_make_more_cells_necessary(tmp_path: Path) -> None:
    """As the reduction to L2 distance would: beside the longest vector all others are alike."""
    items, queries = skewed(6_000, 16)
    items[np.random.default_rng(0).random(6_000) < 0.01] *= 30
    search = FaissSearch(flat_below=500)
    search.build(items, str(tmp_path), queries)
    index = search.open(str(tmp_path))._index
    assert index.nprobe < index.nlist * 0.15


def test_a_damaged_index_is_refused_by_name(tmp_path: Path) -> None:
    items, _ = skewed(600, 8)
    search = FaissSearch(flat_below=500)
    search.build(items, str(tmp_path))
    file = tmp_path / "index.faiss"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(BundleCorrupt, match=r"index\.faiss"):
        search.open(str(tmp_path))
    search.build(items[:599], str(tmp_path / "other"))
    file.write_bytes((tmp_path / "other" / "index.faiss").read_bytes())
    with pytest.raises(BundleCorrupt, match="599"):
        search.open(str(tmp_path))


def _number(at: int, to: int, width: int = 8) -> Callable[[bytes], bytes]:
    return lambda whole: whole[:at] + to.to_bytes(width, "little", signed=True) + whole[at + width :]


#: Places of numbers in an index of 600 vectors float32 (600, 8) in 195 cells: the first id, its list's size, …
_LIES = {
    "an id beyond the vectors": lambda whole: whole[:-8] + (600).to_bytes(8, "little"),
    "an id twice": lambda whole: whole[:-8] + whole[-16:-8],
    "a negative id": lambda whole: whole[:-8] + b"\xff" * 8,
    "a width": _number(4, 2**31 - 1, 4),
    "a width of zero": _number(4, 0, 4),
    "a metric": _number(33, 7, 4),
    "cells": _number(37, 2**40),
    "no cells": _number(37, 0),
    "probes": _number(45, 196),
    "no probes": _number(45, 0),
    "another index as its cells": lambda whole: whole.replace(b"IxFI", b"IwFl"),
    "lists in another file": lambda whole: whole.replace(b"ilar", b"ilod"),
    "more lists": lambda whole: whole.replace(b"full\xc3", b"full\xc4"),
    "sparse lists": lambda whole: whole.replace(b"full\xc3", b"sprs\xc3"),
    "a list of the size of all": lambda whole: whole.replace(
        b"full\xc3" + bytes(7), b"full\xc3" + bytes(7) + b"\x58\2"
    ),
    "bytes after its end": lambda whole: whole + b"x",
    "nothing": lambda whole: b"",
    "an index of another kind": lambda whole: b"IxPq" + whole[4:],
}


@pytest.mark.parametrize("lie", _LIES.values(), ids=_LIES)
def test_an_index_that_would_lead_faiss_out_of_its_memory_is_refused(tmp_path: Path, lie: Any) -> None:
    items, _ = skewed(600, 8)
    search = FaissSearch(flat_below=500)
    search.build(items, str(tmp_path))
    whole = (tmp_path / "index.faiss").read_bytes()
    assert whole[37:45] == (195).to_bytes(8, "little")
    (tmp_path / "index.faiss").write_bytes(lie(whole))
    with pytest.raises(BundleCorrupt, match="cannot be opened as an index"):
        search.open(str(tmp_path))


@pytest.mark.parametrize("header", [b"", b"{}", b'{"count": -1}', b'{"count": 1e99}', b"[1]"])
def test_a_damaged_header_of_an_index_is_refused(tmp_path: Path, header: bytes) -> None:
    search = FaissSearch()
    search.build(skewed(50, 8)[0], str(tmp_path))
    (tmp_path / "index.json").write_bytes(header)
    with pytest.raises(BundleCorrupt):
        search.open(str(tmp_path))


@example(place=27507, byte=127, cut=False, flat_below=2)
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans(), flat_below=st.sampled_from([2, 1000]))
def test_any_damage_to_an_index_is_refused_or_stays_within_its_vectors(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int, cut: bool, flat_below: int
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"damaged{flat_below}"
    search, file = FaissSearch(flat_below=flat_below), folder / "index.faiss"
    if not folder.exists():
        search.build(np.repeat(skewed(40, 4)[0], 10, axis=0), str(folder))
        (folder / "whole").write_bytes(file.read_bytes())
    whole = bytearray((folder / "whole").read_bytes())
    place %= len(whole) if place % 2 else 300
    whole[place] = byte
    file.write_bytes(whole[:place] if cut else whole)
    try:
        index = search.open(str(folder))
    except BundleCorrupt:
        return
    found, _ = index.query(np.ones(4, np.float32), 20)
    assert len(found) and 0 <= found.min() <= found.max() < 400


def test_ties_go_by_index_also_at_the_cutoff() -> None:
    items = np.ones((50, 2), np.float32)
    items[30] = 2
    found, _ = ExactIndex(items).query(np.ones(2, np.float32), 5)
    assert found.tolist() == [30, 0, 1, 2, 3]
    assert ExactIndex(items).query(np.ones(2, np.float32), 0)[0].tolist() == []
