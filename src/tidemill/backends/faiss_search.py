"""FAISS search: an inverted file (IVF) index for inner product; small catalogues use a flat (exact) index.

Vectors belong to the cell with the nearest centroid by L2 distance, but cells are probed in the order of their
centroids' inner products with the query. With skewed norms this probes a tenth of what the usual forms need: assignment
by inner product puts most vectors into the cells of the longest centroids, and the reduction to L2 distance by one more
entry √(M² - |x|²), M being the largest norm (Bachrach et al. 2014), makes all short vectors alike. Graph indexes with
inner product lose most of the true neighbours there, which does not show at small k.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from tidemill.backends.faiss_file import faiss_refusal_reason
from tidemill.core.backend import BackendContext
from tidemill.core.errors import BackendMissing, BundleCorrupt
from tidemill.core.record_format import decode_json

F32 = npt.NDArray[np.float32]

#: A larger number of a centroid has products that float32 cannot hold.
_LARGEST = 1e18
#: Below this number of vectors the index is flat: an exact scan is then as fast as IVF.
FLAT_BELOW = 20_000
#: The number of cells is `CELLS` times the square root of the number of vectors.
CELLS = 8
#: Candidate shares of cells to probe; the first with a recall of `FOUND` at `POOL` neighbours is used.
PROBES = (
    0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.09, 0.12, 0.18, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55,
    0.6, 0.65, 0.7, 0.8, 0.9, 1.0,
)  # fmt: skip
FOUND, POOL = 0.96, 200


class _IndexHeader(msgspec.Struct, frozen=True):
    """`index.json`."""

    #: Number of vectors.
    count: int
    #: The norm of all vectors in indexes of earlier versions.
    longest: float = 0.0


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
        if len(vectors) < self._flat_below:
            index = self._faiss.IndexFlatIP(vectors.shape[1])
            index.add(vectors)
        else:
            index = self._lists(vectors)
            index.nprobe = _probes(index, vectors, queries)
        self._faiss.write_index(index, str(Path(folder) / "index.faiss"))
        (Path(folder) / "index.json").write_bytes(msgspec.json.encode({"count": len(vectors)}))

    def _lists(self, vectors: F32) -> Any:
        n, width = vectors.shape
        cells = int(CELLS * np.sqrt(n))
        by_distance = self._faiss.IndexFlatL2(width)
        index = self._faiss.IndexIVFFlat(by_distance, width, cells)
        index.cp.seed = 1
        index.cp.min_points_per_centroid = 1
        index.train(vectors)
        index.add(vectors)
        by_product = self._faiss.IndexFlatIP(width)
        by_product.add(by_distance.reconstruct_n(0, cells))
        by_product.this.disown()
        index.quantizer, index.own_fields = by_product, True
        index.metric_type = self._faiss.METRIC_INNER_PRODUCT
        return index

    def open(self, folder: str) -> FaissIndex:
        file = Path(folder) / "index.faiss"
        try:
            about = decode_json((Path(folder) / "index.json").read_bytes(), _IndexHeader)
            reason = faiss_refusal_reason(file, about.count)
            # IO_FLAG_MMAP alone reads every list from the file; with IFC the lists are arrays in the mapping.
            index = None if reason else self._faiss.read_index(str(file), self._faiss.IO_FLAG_MMAP_IFC)
        except (OSError, RuntimeError, msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise BundleCorrupt(f"{file} cannot be opened as an index: {problem}") from problem
        if reason:
            raise BundleCorrupt(f"{file} cannot be opened as an index: {reason}")
        return FaissIndex(index, about.longest)


class FaissIndex:
    """An opened index. Scores are inner products, also if the index compares L2 distances.

    Indexes of earlier versions do: their vectors have one more entry, which makes all norms `longest`.
    """

    def __init__(self, index: Any, longest: float = 0.0) -> None:
        self._faiss, self._index, self._square = _faiss(), index, longest**2
        self._by_distance = index.metric_type == self._faiss.METRIC_L2
        #: The centroids with the opposite sign, float32 (d, n_cells): the least products are of the cells to probe.
        self._opposite: F32 | None = None
        if hasattr(index, "nprobe") and not self._by_distance:
            centroids = self._faiss.downcast_index(index.quantizer).reconstruct_n(0, index.nlist)
            if not (np.abs(centroids) < _LARGEST).all():
                raise BundleCorrupt("the centroids of an index are not vectors of finite products")
            self._opposite = np.ascontiguousarray(-centroids.T)

    @property
    def count(self) -> int:
        count: int = self._index.ntotal
        return count

    def query(
        self, vector: F32, n: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.int64], F32]:
        found, scores = self._search(vector[None], n, allowed)
        n = len(found[0])
        if n and found[0, -1] < 0:  # the probed cells contain fewer than n
            n = int(np.count_nonzero(found[0] >= 0))
        return found[0, :n], scores[0, :n]

    def query_many(
        self, vectors: F32, n: int, allowed: npt.NDArray[np.bool_] | None = None
    ) -> tuple[npt.NDArray[np.int64], F32]:
        found, scores = self._search(vectors, n, allowed)
        scores[found < 0] = -np.inf
        return found, scores

    def _search(self, queries: F32, n: int, allowed: npt.NDArray[np.bool_] | None) -> tuple[npt.NDArray[np.int64], F32]:
        """Indices and inner products, best first (n_queries, n); the indices are -1 where there are no more."""
        n = min(n, self.count)
        if allowed is None and self._opposite is not None:
            # NumPy ranks the cells in half the time of FAISS, whose result is sorted.
            probes = self._index.nprobe
            cells = (queries @ self._opposite).argpartition(probes - 1)[:, :probes]
            scores, found = self._index.search_preassigned(queries, n, cells, None)
            return found, scores
        params = None
        if allowed is not None:
            bits = np.packbits(allowed, bitorder="little")
            selector = self._faiss.IDSelectorBitmap(self.count, self._faiss.swig_ptr(bits))
            params = self._faiss.SearchParameters(sel=selector)
            if hasattr(self._index, "nprobe"):
                params = self._faiss.SearchParametersIVF(sel=selector, nprobe=self._cells(n, allowed))
        asked = queries
        if self._by_distance:
            asked = np.column_stack((queries, np.zeros(len(queries), np.float32)))
        scores, found = self._index.search(asked, n, params=params)
        if self._by_distance:
            squares = np.einsum("ij,ij->i", queries, queries)[:, None] + np.float32(self._square)  # (n_queries, 1)
            scores = (squares - scores) * np.float32(0.5)
        return found, scores

    def _cells(self, n: int, allowed: npt.NDArray[np.bool_]) -> int:
        """Cells to probe under a filter: the n nearest of an allowed share s are among about the n / s nearest."""
        depth = n * self.count / max(1, int(np.count_nonzero(allowed)))
        probes: int = min(self._index.nlist, int(np.ceil(self._index.nprobe * max(1.0, depth / POOL))))
        return probes


def _probes(index: Any, vectors: F32, queries: F32 | None) -> int:
    """The smallest number of cells with enough recall on real queries; a quarter of the cells without queries."""
    if queries is None or not len(queries):
        quarter: int = max(1, index.nlist // 4)
        return quarter
    pool = min(POOL, len(vectors))
    edges = [np.partition(vectors @ query, -pool)[-pool] for query in queries]
    for share in PROBES:
        index.nprobe = max(1, round(index.nlist * share))
        near, _ = FaissIndex(index).query_many(queries, pool)
        found = [
            np.count_nonzero(vectors[codes[codes >= 0]] @ query >= edge) / pool
            for codes, query, edge in zip(near, queries, edges, strict=True)
        ]
        if np.mean(found) >= FOUND:
            break
    probes: int = index.nprobe
    return probes


def _faiss() -> Any:
    logging.getLogger("faiss.loader").setLevel(logging.WARNING)  # it logs every CPU variant that it tries
    try:
        import faiss
    except ModuleNotFoundError as problem:
        raise BackendMissing('search = "faiss" needs faiss', tip="pip install 'tidemill[learn]'") from problem
    faiss.omp_set_num_threads(1)  # more threads spin on busy cores and do not speed up single queries
    return faiss
