"""LightGBM trees as a member: a table by its predictor, a single row by its C API (Ke et al. 2017)."""

from __future__ import annotations

import ctypes
import struct
import weakref
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import BundleCorrupt, BundleRefused
from tidemill.models.formats.lightgbm_library import lightgbm_booster, lightgbm_library
from tidemill.models.tabular.recipe import TreesMember

F64 = NDArray[np.float64]
#: Maps a row's design and values to its margins, `k` of them.
OfRow = Callable[[list[float], Sequence[Any]], Sequence[float]]
_RAW_SCORE, _FLOAT64, _ALL = 1, 1, -1


class TreeMember:
    """A `TreesMember` member: `raw` is LightGBM's text, `k` the number of margins per row.

    Raises `BackendMissing` without LightGBM, `BundleRefused` for invalid trees, and `BundleCorrupt` if they have other
    columns or classes.
    """

    def __init__(self, member: TreesMember, raw: bytes, k: int) -> None:
        needed = "this model's trees need lightgbm"
        try:
            self._booster = lightgbm_booster(raw, needed)
        except ValueError as problem:
            raise BundleRefused(f"{member.file}: {problem}") from problem
        found = (self._booster.num_feature(), self._booster.num_model_per_iteration())
        if found != (len(member.columns), k):
            raise BundleCorrupt(
                f"{member.file} has {found[0]} columns and {found[1]} margins; expected {len(member.columns)} and {k}"
            )
        self._library = lightgbm_library(needed).basic._LIB
        self._columns, self._k = member.columns, k

    def margins(self, design: F64, inputs: Any) -> F64:
        """float64 (n, k)."""
        if not len(design):
            return np.zeros((0, self._k))
        picked = np.ascontiguousarray(design[:, list(self._columns)])
        found = self._booster.predict(picked, raw_score=True, num_threads=1)
        return np.asarray(found, np.float64).reshape(len(design), self._k)

    def contributions(self, design: F64) -> tuple[F64, F64]:
        """TreeSHAP values float64 (n, k, n_columns of the design) and their base (n, k) (Lundberg et al. 2020)."""
        n, width = len(design), len(self._columns)
        picked = np.ascontiguousarray(design[:, list(self._columns)])
        raw = (
            self._booster.predict(picked, pred_contrib=True, num_threads=1) if n else np.zeros((0, self._k, width + 1))
        )
        found = np.asarray(raw, np.float64).reshape(n, self._k, width + 1)
        values = np.zeros((n, self._k, design.shape[1]))
        values[:, :, list(self._columns)] = found[:, :, :-1]
        return values, found[:, :, -1]

    def row(self) -> OfRow:
        """The function that predicts single rows, for one thread at a time, because it owns its buffers."""
        pick = _picked(self._columns)
        if not hasattr(self._library, "LGBM_BoosterPredictForMatSingleRowFastInit"):
            return self._slow_row(pick)
        ask, buffer, found = self._single_row_call()
        pack = struct.Struct(f"{len(self._columns)}d").pack_into

        def of_row(design: list[float], values: Sequence[Any]) -> Sequence[float]:
            pack(buffer, 0, *pick(design))
            ask()
            margins: Sequence[float] = found
            return margins

        return of_row

    def _slow_row(self, pick: Callable[[list[float]], Sequence[float]]) -> OfRow:
        predict = self._booster.predict

        def of_row(design: list[float], values: Sequence[Any]) -> Sequence[float]:
            margins = predict(np.asarray([pick(design)], np.float64), raw_score=True, num_threads=1)
            found: list[float] = np.ravel(margins).tolist()
            return found

        return of_row

    def _single_row_call(self) -> tuple[Callable[[], None], Any, Any]:
        """The call, its input buffer, and its output buffer."""
        library, booster = self._library, self._booster
        config = ctypes.c_void_p()
        _ok(
            library,
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                booster._handle,
                ctypes.c_int(_RAW_SCORE),
                ctypes.c_int(0),
                ctypes.c_int(_ALL),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(len(self._columns)),
                ctypes.c_char_p(b"num_threads=1 verbosity=-1"),
                ctypes.byref(config),
            ),
        )
        buffer, found = (ctypes.c_double * len(self._columns))(), (ctypes.c_double * self._k)()
        length = ctypes.c_int64()
        ask_c, length_at = library.LGBM_BoosterPredictForMatSingleRowFast, ctypes.byref(length)

        def ask(held: Any = booster) -> None:  # keeps the booster alive, whose trees the call reads
            if ask_c(config, buffer, length_at, found):
                _ok(library, -1)

        weakref.finalize(ask, library.LGBM_FastConfigFree, config)
        return ask, buffer, found


def _picked(columns: tuple[int, ...]) -> Callable[[list[float]], Sequence[float]]:
    if len(columns) == 1:
        only = columns[0]
        return lambda design: (design[only],)
    return itemgetter(*columns)


def _ok(library: Any, status: int) -> None:
    if status:
        library.LGBM_GetLastError.restype = ctypes.c_char_p
        raise BundleCorrupt(f"LightGBM failed to predict: {library.LGBM_GetLastError().decode()}")
