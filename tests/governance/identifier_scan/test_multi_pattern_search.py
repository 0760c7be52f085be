from __future__ import annotations

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.governance.identifier_scan import multi_pattern_search as module
from tidemill.governance.identifier_scan.multi_pattern_search import PatternSearch

LONG = st.binary(min_size=8, max_size=24).filter(lambda needle: not re.fullmatch(rb"[0-9a-fA-F]+", needle))


@given(st.lists(LONG, max_size=8), st.lists(st.binary(max_size=30), max_size=8), st.data())
def test_exactly_the_long_needles_that_occur_are_found(
    needles: list[bytes], parts: list[bytes], data: st.DataObject
) -> None:
    """Compared with Python's own `in`, wherever the hay is cut into chunks."""
    planted = data.draw(st.lists(st.sampled_from(needles), max_size=3)) if needles else []
    pieces = data.draw(st.permutations([*parts, *planted]))
    hay = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(hay)), max_size=4)))
    chunks = [hay[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(hay)], strict=True)]
    named = {needle: str(number) for number, needle in enumerate(needles)}
    found = PatternSearch((name, needle) for needle, name in named.items()).found(chunks)
    assert found == {name for needle, name in named.items() if needle in hay}


def test_a_searcher_that_forgets_the_cut_is_caught() -> None:
    """The wrong variant looks at each chunk alone."""
    looked = PatternSearch([("x", b"A2VNYWOPJ13AFP")])
    chunks = [b"zzA2VNYWO", b"PJ13AFPzz"]
    assert looked.found(chunks) == {"x"}
    assert set.union(*(looked.found([chunk]) for chunk in chunks)) == set()


WORDS = st.text("abAB01.-", min_size=1, max_size=7).map(str.encode)


@given(st.lists(WORDS, min_size=1, max_size=6), st.text("abAB01.- \n", max_size=60).map(str.encode), st.integers(1, 20))
def test_short_needles_count_as_whole_words_only(needles: list[bytes], hay: bytes, size: int) -> None:
    named = {needle: str(number) for number, needle in enumerate(needles)}
    chunks = [hay[start : start + size] for start in range(0, len(hay), size)]
    found = PatternSearch((name, needle) for needle, name in named.items()).found(chunks)
    word = rb"(?<![A-Za-z0-9])%b(?![A-Za-z0-9])"
    assert found == {name for needle, name in named.items() if re.search(word % re.escape(needle), hay)}


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("before", range(1, 12))
def test_a_word_that_a_chunk_cuts_off_is_still_part_of_it(size: int, before: int) -> None:
    hay = b"x" * before + b"u17 and more words"
    chunks = [hay[start : start + size] for start in range(0, len(hay), size)]
    assert PatternSearch([("x", b"u17")]).found(chunks) == set()
    assert PatternSearch([("x", b"x" * before + b"u17")]).found(chunks) == {"x"}


@pytest.mark.parametrize(
    ("needle", "hay", "is_found"),
    [
        (b"1537315200", b'{"user":1537315200}', True),
        (b"1537315200", b'{"at":1537315200000000}', False),  # a number within a longer one
        (b"deadbeef01", b"user deadbeef01.", True),
        (b"deadbeef01", b"DEadbeef01deadbeef0123", False),  # hex within a checksum
        (b"deadbeef01", b"deadbeef0123", True),  # at the edge of longer hex it may be a key of its own
        (b"A2VNYWOPJ13AFP", b"xA2VNYWOPJ13AFPx", True),
    ],
)
def test_checksums_and_times_are_no_leaks(needle: bytes, hay: bytes, is_found: bool) -> None:
    assert PatternSearch([("x", needle)]).found([hay]) == ({"x"} if is_found else set())


def test_many_needles_with_a_common_start_do_not_make_it_slow() -> None:
    """The work grows with the hay, not with the needles that share its first bytes: counted, not timed."""
    many = [b"customer_%07d@example.com" % number for number in range(5_000)]
    looked = PatternSearch([("x", needle) for needle in many])
    assert len(looked._keys) == 1
    assert looked._lengths == [28]
    hay = b"\n".join(b"customer_%07d@example.org" % number for number in range(5_000))
    assert looked.found([hay]) == set()
    assert looked.found([hay, b"\n", many[4_321]]) == {"x"}


def test_a_long_hay_is_searched_to_its_end() -> None:
    rng = random.Random(3)
    needle = b"A2VNYWOPJ13AFP"
    looked = PatternSearch([("x", needle)])
    hay = rng.randbytes(3 * module._CHUNK)
    assert looked.found([hay]) == set()
    for place in (0, module._CHUNK - 5, 2 * module._CHUNK, len(hay) - len(needle)):
        assert looked.found([hay[:place] + needle + hay[place + len(needle) :]]) == {"x"}


def test_no_needles_find_nothing() -> None:
    assert PatternSearch([]).found([b"anything"]) == set()
    assert PatternSearch([("x", b"")]).found([b"anything", b""]) == set()


def test_the_filter_lets_every_known_value_pass() -> None:
    known = np.random.default_rng(5).integers(0, 2**63, 10_000).astype(np.uint64)
    looked = module._BloomFilter(known)
    assert len(looked.maybe(known)) == len(known)
    others = np.random.default_rng(6).integers(0, 2**63, 100_000).astype(np.uint64)
    assert len(looked.maybe(others)) < len(others) / 8
