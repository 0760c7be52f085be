"""FAISS search: an inverted file (IVF) index over norm-augmented vectors, which reduces inner product to L2 distance.

A vector x gets one more entry √(M² - |x|²), where M is the largest norm, and a query gets a zero there; then
|q' - x'|² = |q|² + M² - 2 q·x (Bachrach et al. 2014). Graph indexes with inner product lose most of the true neighbours
if norms are skewed, which does not show at small k; this index does not. Small catalogues use a flat (exact) index.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tidemill.core.backend import BackendContext
from tidemill.core.errors import BackendMissing, BundleCorrupt

F32 = npt.NDArray[np.float32]

#: Below this number of vectors the index is flat: an exact scan is then as fast as IVF.
FLAT_BELOW = 20_000
#: The number of cells is `CELLS` times the square root of the number of vectors.
CELLS = 4
#: Candidate shares of cells to probe; the first with a recall of `FOUND` at `POOL` neighbours is used.
PROBES = (0.04, 0.06, 0.09, 0.12, 0.18, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0)
FOUND, POOL = 0.96, 200


class FaissSearch:
    """An IVF index in one memory-mapped file; the number of probed cells is tuned on real queries."""

    name = "faiss"

    def __init__(self, flat_below: int = FLAT_BELOW) -> None:
        self._faiss = _faiss()
        self._flat_below = flat_below

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> FaissSearch:
        """The search; the URL has no options."""
        return cls()

    def build(self, vectors: F32, folder: str, queries: F32 | None = None) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        vectors = np.ascontiguousarray(vectors, np.float32)
        longest = float(np.linalg.norm(vectors, axis=1).max(initial=0.0))
        if len(vectors) < self._flat_below:
            index = self._faiss.IndexFlatIP(vectors.shape[1])
            index.add(vectors)
        else:
            index = self._lists(_augmented(vectors, longest))
            index.nprobe = _probes(index, longest, vectors, queries)
        self._faiss.write_index(index, str(Path(folder) / "index.faiss"))
        about = {"longest": longest, "count": len(vectors)}
        (Path(folder) / "index.json").write_bytes(msgspec.json.encode(about))

    def _lists(self, augmented: F32) -> Any:
        n, width = augmented.shape
        cells = int(CELLS * np.sqrt(n))
        index = self._faiss.IndexIVFFlat(self._faiss.IndexFlatL2(width), width, cells)
        index.cp.seed = 1
        index.cp.min_points_per_centroid = 1
        index.train(augmented)
        index.add(augmented)
        return index

    def open(self, folder: str) -> FaissIndex:
        file = Path(folder) / "index.faiss"
        try:
            about = msgspec.json.decode((Path(folder) / "index.json").read_bytes(), type=dict[str, float])
            # IO_FLAG_MMAP alone reads every list from the file; with IFC the lists are arrays in the mapping.
            index = self._faiss.read_index(str(file), self._faiss.IO_FLAG_MMAP_IFC)
        except (OSError, RuntimeError, msgspec.DecodeError) as problem:
            raise BundleCorrupt(f"{file} cannot be opened as an index: {problem}") from problem
        if index.ntotal != about["count"]:
            raise BundleCorrupt(f"{file} has {index.ntotal} vectors, but was written with {about['count']:.0f}")
        return FaissIndex(index, about["longest"])


class FaissIndex:
    """An opened index. Scores are inner products, also if the index compares L2 distances."""

    def __init__(self, index: Any, longest: float) -> None:
        self._faiss, self._index, self._square = _faiss(), index, longest**2
        self._by_distance = hasattr(index, "nprobe")

    @property
    def count(self) -> int:
        count: int = self._index.ntotal
        return count

    def query(
        self, vector: F32, n: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.int64], F32]:
        n = min(n, self.count)
        queries = np.zeros((1, self._index.d), np.float32)  # not reused: threads share an index
        queries[0, : len(vector)] = vector
        scores, found = self._search(queries, n, allowed)
        valid = found[0] >= 0  # the probed cells may contain fewer than n
        if self._by_distance:
            scores = (np.float32(vector @ vector + self._square) - scores) * np.float32(0.5)
        return (found[0], scores[0]) if valid.all() else (found[0][valid], scores[0][valid])

    def query_many(
        self, vectors: F32, n: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.int64], F32]:
        queries = np.zeros((len(vectors), self._index.d), np.float32)
        queries[:, : vectors.shape[1]] = vectors
        scores, found = self._search(queries, min(n, self.count), allowed)
        if self._by_distance:
            squares = np.einsum("ij,ij->i", vectors, vectors)[:, None] + np.float32(self._square)  # (m, 1)
            scores = (squares - scores) * np.float32(0.5)
        scores[found < 0] = -np.inf
        return found, scores

    def _search(self, queries: F32, n: int, allowed: npt.NDArray[np.bool_] | None) -> tuple[F32, npt.NDArray[np.int64]]:
        if allowed is None:
            scores, found = self._index.search(queries, n)
            return scores, found
        bits = np.packbits(allowed, bitorder="little")
        selector = self._faiss.IDSelectorBitmap(self.count, self._faiss.swig_ptr(bits))
        if self._by_distance:
            params = self._faiss.SearchParametersIVF(sel=selector, nprobe=self._cells(n, allowed))
        else:
            params = self._faiss.SearchParameters(sel=selector)
        scores, found = self._index.search(queries, n, params=params)
        return scores, found

    def _cells(self, n: int, allowed: npt.NDArray[np.bool_]) -> int:
        """Cells to probe under a filter: the n nearest of an allowed share s are among about the n / s nearest."""
        depth = n * self.count / max(1, int(np.count_nonzero(allowed)))
        probes: int = min(self._index.nlist, int(np.ceil(self._index.nprobe * max(1.0, depth / POOL))))
        return probes


def _probes(index: Any, longest: float, vectors: F32, queries: F32 | None) -> int:
    """The smallest number of cells with enough recall on real queries; a quarter of the cells without queries."""
    if queries is None or not len(queries):
        quarter: int = max(1, index.nlist // 4)
        return quarter
    pool = min(POOL, len(vectors))
    edges = [np.partition(vectors @ query, -pool)[-pool] for query in queries]
    for share in PROBES:
        index.nprobe = max(1, round(index.nlist * share))
        opened = FaissIndex(index, longest)
        near = [vectors[opened.query(query, pool)[0]] @ query for query in queries]
        found = [np.count_nonzero(scores >= edge) / pool for scores, edge in zip(near, edges, strict=True)]
        if np.mean(found) >= FOUND:
            break
    probes: int = index.nprobe
    return probes


def _augmented(vectors: F32, longest: float) -> F32:
    rest = np.maximum(longest**2 - np.einsum("ij,ij->i", vectors, vectors), 0.0)
    return np.ascontiguousarray(np.column_stack((vectors, np.sqrt(rest))), np.float32)


def _faiss() -> Any:
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it logs every CPU variant that it tries
    try:
        import faiss
    except ImportError as problem:
        raise BackendMissing('search = "faiss" needs faiss', tip="pip install 'tidemill[learn]'") from problem
    faiss.omp_set_num_threads(1)  # more threads spin on busy cores and do not speed up single queries
    return faiss
