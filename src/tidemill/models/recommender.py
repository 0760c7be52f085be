"""A learned recommender: item ids, and the parts that draw and score candidates from a history, without retraining."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from tidemill.core.errors import BundleCorrupt, FormatTooNew, IdsMismatch
from tidemill.core.ports import Search, VectorIndex
from tidemill.models.arrays import open_array, write_array
from tidemill.models.exact import ExactIndex
from tidemill.models.interactions import F32, I32
from tidemill.models.item_lists import ItemLists
from tidemill.models.low_pass import Vectors
from tidemill.models.prior import Steps
from tidemill.models.profile import Parts, Profile, Scratch

FORMAT = 1


class Blend(msgspec.Struct, frozen=True, kw_only=True):
    """How the parts make one score: (1 - p) · ((1 - s) · lists + s · vectors) + p · recent, each at most 1."""

    #: p, the share of recent popularity, and s, the share of the vectors in the relevance.
    popularity: float
    spectral: float
    #: Windows of recent popularity: `(days, weight)`.
    steps: Steps
    #: Time constant, in days, by which a user's earlier events count less than the last one.
    recency_days: float


class _About(msgspec.Struct, frozen=True, kw_only=True):
    """`recommender.json`."""

    format: int
    learner: dict[str, Any]
    as_of: int
    n_items: int
    #: sha256 of the item ids in their order, so that arrays and ids of two trainings cannot be mixed.
    ids: str
    #: Name of the part behind the lists, `None` without lists.
    lists: str | None
    vectors: bool
    #: Name of the search back-end that built the index, `None` where vectors are scanned.
    search: str | None
    blend: Blend


@dataclass(frozen=True)
class Candidates:
    """Drawn items, best first: codes int32, scores float32, and the history item behind each (-1: none)."""

    item: I32
    score: F32
    because: I32


@dataclass(frozen=True, eq=False, kw_only=True)
class Recommender:
    """Item `i` is `items[i]` everywhere: in the lists, the vectors, the index and the counts. It holds no user.

    A recommender reuses scratch memory between calls: one per thread.
    """

    items: Sequence[str]
    #: Settings of the learner, and the as-of that it was learned at (microseconds).
    learner: dict[str, Any]
    as_of: int
    blend: Blend
    #: Recent popularity when it was learned, float32 (n_items); live counts replace it where there are any.
    popularity: F32
    lists: ItemLists | None = None
    lists_name: str | None = None
    vectors: Vectors | None = None
    index: VectorIndex | None = None
    #: Memory that is used again by each profile.
    scratch: dict[str, Scratch] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        sizes = {"popularity": len(self.popularity)}
        sizes |= {"lists": self.lists.n_items} if self.lists else {}
        sizes |= {"vectors": self.vectors.n_items} if self.vectors else {}
        sizes |= {"index": self.index.count} if self.index else {}
        wrong = {name: n for name, n in sizes.items() if n != len(self.items)}
        if wrong:
            told = ", ".join(f"{name} {n}" for name, n in wrong.items())
            raise IdsMismatch(f"there are {len(self.items)} item ids, but other parts count {told}")

    @property
    def n_items(self) -> int:
        """How many items it was learned from."""
        return len(self.items)

    @cached_property
    def codes(self) -> dict[str, int]:
        """Item id -> code."""
        return {item: code for code, item in enumerate(self.items)}

    @cached_property
    def _parts(self) -> Parts:
        index = self.index or (ExactIndex(self.vectors.items) if self.vectors else None)
        scratch = self.scratch.setdefault("profile", Scratch(self.n_items))
        return Parts(self.lists, self.vectors, index, self.blend.spectral, self.blend.recency_days, scratch)

    def apart(self) -> Recommender:
        """The same recommender with scratch memory of its own, for another thread; arrays and ids are shared."""
        apart = replace(self, scratch={})
        apart.__dict__["codes"] = self.codes
        return apart

    def parts(self) -> frozenset[str]:
        """The model parts that it holds, for `check_parts`."""
        named = {"popularity", self.lists_name or "popularity"}
        return frozenset(named | ({"spectral"} if self.vectors else set()))

    def profile(self, items: Sequence[int], times: Sequence[int]) -> Profile:
        """What a history (codes, and microseconds) says about all items; valid until the next call."""
        return Profile(self._parts, items, times)

    def nearest(self, items: Sequence[int], times: Sequence[int], n: int) -> Candidates:
        """The items nearest to a history, up to `n` beside it from each part, best first; none for an empty history."""
        profile = self.profile(items, times)
        drawn = profile.nearest(n)
        scores = profile.relevance(drawn)
        order = np.lexsort((drawn, -scores))
        return Candidates(drawn[order], scores[order], profile.because(drawn[order]))

    def write(self, folder: Path, search: Search | None = None, queries: F32 | None = None) -> None:
        """Write `.npy`, `.json`, `.arrow` (and what `search` writes) into the empty `folder`; no pickles.

        The index is tuned on `queries`, user vectors float32 (n_users, n_factors); see `user_vectors`.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with pa.OSFile(str(folder / "items.arrow"), "wb") as sink:
            table = pa.table({"item_id": pa.array(self.items, pa.string())})
            with pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        write_array(folder / "popularity.npy", self.popularity)
        if self.lists:
            self.lists.write(folder / "lists")
        if self.vectors:
            self.vectors.write(folder / "vectors")
            if search:
                search.build(self.vectors.items, str(folder / "index"), queries)
        about = _About(
            format=FORMAT,
            learner=self.learner,
            as_of=self.as_of,
            n_items=self.n_items,
            ids=_ids_hash(self.items),
            lists=self.lists_name,
            vectors=self.vectors is not None,
            search=search.name if search and self.vectors else None,
            blend=self.blend,
        )
        (folder / "recommender.json").write_bytes(msgspec.json.format(msgspec.json.encode(about)))

    @classmethod
    def open(cls, folder: Path, search: Search | None = None) -> Recommender:
        """Open what `write` wrote, memory-mapped.

        With the `search` back-end that built its index, the index is used; with another or none, the vectors are
        scanned, which is exact and slower. Raises `BundleCorrupt`, `BundleRefused`, `FormatTooNew`, and `IdsMismatch`
        where parts disagree about the items.
        """
        folder = Path(folder)
        about = _about(folder)
        items = _items(folder / "items.arrow")
        if about.n_items != len(items) or about.ids != _ids_hash(items):
            raise IdsMismatch(
                f"{folder} was written with {about.n_items} other item ids than the {len(items)} it lists"
            )
        usable = search if about.search and search and search.name == about.search else None
        return cls(
            items=items,
            learner=about.learner,
            as_of=about.as_of,
            blend=about.blend,
            popularity=open_array(folder / "popularity.npy"),
            lists=ItemLists.open(folder / "lists") if about.lists else None,
            lists_name=about.lists,
            vectors=Vectors.open(folder / "vectors") if about.vectors else None,
            index=usable.open(str(folder / "index")) if usable else None,
        )


def _ids_hash(items: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(items).encode()).hexdigest()


def _about(folder: Path) -> _About:
    try:
        raw = (folder / "recommender.json").read_bytes()
        number = msgspec.json.decode(raw, type=dict[str, Any]).get("format")
        if isinstance(number, int) and number > FORMAT:
            raise FormatTooNew(f"{folder} has format {number}, and this tidemill reads up to {FORMAT}")
        return msgspec.json.decode(raw, type=_About)
    except (OSError, msgspec.DecodeError) as problem:
        raise BundleCorrupt(f"{folder / 'recommender.json'} cannot be read: {problem}") from problem


def _items(file: Path) -> list[str]:
    try:
        with pa.memory_map(str(file)) as source:
            ids: list[str] = pa.ipc.open_file(source).read_all().column("item_id").to_pylist()
    except (OSError, KeyError, pa.ArrowInvalid) as problem:
        raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem
    if len(set(ids)) != len(ids):
        raise IdsMismatch(f"{file} lists an item twice")
    return ids
