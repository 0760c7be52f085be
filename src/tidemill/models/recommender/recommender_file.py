"""Recommender files: a folder of arrays, written once and memory-mapped; inconsistent files are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from tidemill.core.errors import BundleCorrupt, BundleRefused, FormatTooNew, IdsMismatch
from tidemill.core.ports import VectorSearch
from tidemill.core.record_format import decode_json
from tidemill.models.formats.arrays import open_array, write_array
from tidemill.models.recommender.history_weights import HistoryWeights
from tidemill.models.recommender.interactions import F32
from tidemill.models.recommender.item_ids import read_ids, write_ids
from tidemill.models.recommender.item_lists import ItemLists
from tidemill.models.recommender.model_part import ModelPart
from tidemill.models.recommender.ranking import CandidateRanker
from tidemill.models.recommender.recommender import Prior, Recommender
from tidemill.models.recommender.user_vectors import Factors, Vectors

FORMAT = 2
#: Kind of vectors -> the function that opens them.
_VECTORS: dict[str, Callable[[Path], Any]] = {"vectors": Vectors.open, "factors": Factors.open}


class _PartHeader(msgspec.Struct, frozen=True, kw_only=True):
    """A part in `recommender.json`."""

    kind: str
    #: Folder of its arrays; parts may share one and weight a history differently.
    folder: str
    share: Annotated[float, Meta(ge=0, le=1)]
    weights: HistoryWeights
    draws: Annotated[int, Meta(ge=0)] | None
    #: Name of the search back-end that built its index, `None` if vectors are scanned.
    search: str | None


class _RecommenderHeader(msgspec.Struct, frozen=True, kw_only=True):
    """`recommender.json`."""

    format: int
    learner: dict[str, Any]
    as_of: int
    n_items: int
    #: sha256 of the item ids in their order, so that arrays and ids of two models cannot be mixed.
    ids: str
    prior: Prior
    parts: dict[str, _PartHeader]
    ranking: bool


def write_recommender(
    made: Recommender, folder: Path, search: VectorSearch | None = None, queries: Mapping[str, F32] | None = None
) -> None:
    """Write `.npy`, `.json`, `.arrow`, `.txt` (and what `search` writes) into the empty `folder`; no pickles.

    The index of each part with vectors is tuned on its `queries`, user vectors float32 (n_users, n_factors).
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_ids(folder / "items.arrow", made.items)
    write_array(folder / "popularity.npy", made.popularity)
    parts: dict[str, _PartHeader] = {}
    places: dict[int, str] = {}  # arrays shared by two parts are written once
    for name, part in made.parts.items():
        arrays: Any = part.lists or part.vectors
        place = places.setdefault(id(arrays), name)
        if place == name:
            arrays.write(folder / "parts" / name)
        if search and part.vectors:
            search.build(part.vectors.items, str(folder / "index" / name), (queries or {}).get(name))
        parts[name] = _PartHeader(
            kind=part.kind,
            folder=place,
            share=part.share,
            weights=part.weights,
            draws=part.draws,
            search=search.name if search and part.vectors else None,
        )
    if made.ranking:
        made.ranking.write(folder / "ranking")
    about = _RecommenderHeader(
        format=FORMAT,
        learner=made.learner,
        as_of=made.as_of,
        n_items=made.n_items,
        ids=_ids_hash(made.items),
        prior=made.prior,
        parts=parts,
        ranking=made.ranking is not None,
    )
    (folder / "recommender.json").write_bytes(msgspec.json.format(msgspec.json.encode(about)))


def open_recommender(folder: Path, search: VectorSearch | None = None) -> Recommender:
    """Open what `write_recommender` wrote, memory-mapped.

    The `search` back-end that built the indexes uses them; with another or none the vectors are scanned, which is
    exact and slower. Raises `BundleCorrupt`, `BundleRefused`, `FormatTooNew`, and `IdsMismatch` if parts disagree about
    the items.
    """
    folder = Path(folder)
    about = _about(folder)
    items = read_ids(folder / "items.arrow")
    if about.n_items != len(items) or about.ids != _ids_hash(items):
        raise IdsMismatch(
            f"{folder} was written for {about.n_items} items whose ids differ from the {len(items)} that it contains"
        )
    opened: dict[str, Any] = {}
    return Recommender(
        items=items,
        learner=about.learner,
        as_of=about.as_of,
        prior=about.prior,
        popularity=open_array(folder / "popularity.npy", np.float32, (None,)),
        parts={name: _opened(folder, name, part, opened, search) for name, part in about.parts.items()},
        ranking=CandidateRanker.open(folder / "ranking") if about.ranking else None,
    )


def _opened(
    folder: Path, name: str, about: _PartHeader, opened: dict[str, Any], search: VectorSearch | None
) -> ModelPart:
    place = about.folder
    if not place.isidentifier() or not name.isidentifier():
        raise BundleCorrupt(f"{folder / 'recommender.json'} has an invalid name of a part: {name!r} in {place!r}")
    if about.kind != "lists" and about.kind not in _VECTORS:
        raise FormatTooNew(f"{folder} has a part of kind {about.kind!r}, which this tidemill does not support")
    if place not in opened:
        opened[place] = (_VECTORS.get(about.kind) or ItemLists.open)(folder / "parts" / place)
    indexed = search is not None and about.search == search.name
    return ModelPart(
        share=about.share,
        weights=about.weights,
        draws=about.draws,
        lists=opened[place] if about.kind == "lists" else None,
        vectors=None if about.kind == "lists" else opened[place],
        index=search.open(str(folder / "index" / name)) if search is not None and indexed else None,
    )


def _ids_hash(items: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(items).encode()).hexdigest()


def _about(folder: Path) -> _RecommenderHeader:
    file = folder / "recommender.json"
    try:
        raw = file.read_bytes()
        number = decode_json(raw, dict[str, Any]).get("format")
        if isinstance(number, int) and number > FORMAT:
            raise FormatTooNew(f"{folder} has format {number}; this tidemill reads formats up to {FORMAT}")
        if isinstance(number, int) and number < FORMAT:
            raise BundleRefused(f"{folder} has format {number}, which is no longer read", tip="tidemill train MODEL")
        return decode_json(raw, _RecommenderHeader)
    except (OSError, msgspec.DecodeError) as problem:
        raise BundleCorrupt(f"{file} cannot be read: {problem}") from problem
