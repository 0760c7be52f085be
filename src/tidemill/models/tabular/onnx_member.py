"""An ONNX graph as a member: ONNX Runtime on one CPU thread, with telemetry switched off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tidemill.core.errors import AnswerFailed, BundleCorrupt, BundleRefused, NotExplained
from tidemill.core.kinds import KINDS, Kind
from tidemill.core.records.signature import InputField
from tidemill.models.formats.onnx_check import onnx_session
from tidemill.models.tabular.design_matrix import microseconds, numbers
from tidemill.models.tabular.recipe import OnnxGraphMember
from tidemill.models.tabular.tree_member import OfRow

F64 = NDArray[np.float64]
_FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64}


class OnnxMember:
    """An `OnnxGraphMember` member: `raw` is the graph, `k` the number of margins per row.

    Raises `BackendMissing` without ONNX Runtime, `BundleRefused` for an invalid graph, and `BundleCorrupt` if it reads
    other inputs.
    """

    def __init__(self, member: OnnxGraphMember, raw: bytes, k: int, fields: Sequence[InputField]) -> None:
        try:
            self._session = onnx_session(bytes(raw))
        except ValueError as problem:
            raise BundleRefused(f"{member.file}: {problem}") from problem
        self._member, self._k = member, k
        read = self._session.get_inputs()
        inputs = {one.name: one.type for one in read}
        if member.output not in {one.name for one in self._session.get_outputs()}:
            raise BundleCorrupt(f"{member.file} has no output {member.output!r}")
        if member.columns is not None:
            self._matrix: tuple[str, Any] | None = _matrix(member.file, inputs)
            width = read[0].shape[-1] if read[0].shape else None  # a text: any
            if isinstance(width, int) and width != len(member.columns):
                raise BundleCorrupt(f"{member.file} reads {width} columns, and gets {len(member.columns)}")
            self._reads: list[tuple[str, int, Kind, str]] = []
        else:
            self._matrix, self._reads = None, _reads(member.file, inputs, fields)

    def margins(self, design: F64, inputs: dict[str, pa.Array]) -> F64:
        """float64 (n, k)."""
        if not len(design):
            return np.zeros((0, self._k))
        if self._matrix is not None:
            name, kind = self._matrix
            with np.errstate(over="ignore"):
                return self._run({name: design[:, list(self._member.columns or ())].astype(kind)}, len(design))
        return self._run(
            {name: self._fed(inputs[name], kind, type_) for name, _, kind, type_ in self._reads}, len(design)
        )

    def contributions(self, design: F64) -> tuple[F64, F64]:
        """Raises `NotExplained`: Shapley values of a graph would need thousands of evaluations."""
        raise NotExplained(
            f"{self._member.file} is an ONNX graph, whose predictions cannot be explained",
            tip="train with tm.auto() or LightGBM where explanations are needed",
        )

    def row(self) -> OfRow:
        """The function that predicts single rows."""
        if self._matrix is not None:
            name, kind = self._matrix
            columns = list(self._member.columns or ())

            def of_design(design: list[float], values: Sequence[Any]) -> Sequence[float]:
                with np.errstate(over="ignore"):
                    matrix = np.array([[design[column] for column in columns]]).astype(kind)
                margins: list[float] = self._run({name: matrix}, 1)[0].tolist()
                return margins

            return of_design
        cells = [(name, at, *self._cell(kind, type_)) for name, at, kind, type_ in self._reads]

        def of_row(design: list[float], values: Sequence[Any]) -> Sequence[float]:
            with np.errstate(over="ignore"):
                fed = {name: np.array([[of_value(values[at])]], dtype) for name, at, of_value, dtype in cells}
            found: list[float] = self._run(fed, 1)[0].tolist()
            return found

        return of_row

    def _run(self, fed: dict[str, Any], n: int) -> F64:
        try:
            found = np.asarray(self._session.run([self._member.output], fed, n)[0], np.float64).reshape(n, -1)
        except AnswerFailed:
            raise
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise AnswerFailed(f"{self._member.file}: {type(error).__name__} for {n:,} rows") from error
        if found.shape[1] == 2 and self._k == 1:
            found = found[:, 1:]
        if found.shape[1] != self._k:
            raise BundleCorrupt(f"{self._member.file} returns {found.shape[1]} values per row; expected {self._k}")
        return found

    def _fed(self, column: pa.Array, kind: Kind, type_: str) -> NDArray[Any]:
        if type_ == "tensor(string)":
            texts = column.cast(pa.string()).fill_null(self._member.missing_text)
            found: NDArray[Any] = texts.to_numpy(zero_copy_only=False).astype(object)
        elif type_ == "tensor(int64)" and kind == "time":
            found = microseconds(column)
        elif type_ == "tensor(int64)":
            found = column.cast(pa.int64()).fill_null(self._member.missing_whole).to_numpy()
        elif type_ == "tensor(bool)":
            found = column.fill_null(False).to_numpy(zero_copy_only=False)
        else:
            with np.errstate(over="ignore"):
                found = numbers(column).astype(_FLOATS[type_])
        return found[:, None]

    def _cell(self, kind: Kind, type_: str) -> tuple[Callable[[Any], Any], Any]:
        missing_text, missing_whole = self._member.missing_text, 0 if kind == "time" else self._member.missing_whole
        if type_ == "tensor(string)":
            if kind == "bool":
                return lambda value: missing_text if value is None else ("true" if value else "false"), object
            return lambda value: missing_text if value is None else str(value), object
        if type_ == "tensor(int64)":
            return lambda value: missing_whole if value is None else int(value), np.int64
        if type_ == "tensor(bool)":
            return bool, np.bool_
        nan = float("nan")
        if kind == "time":
            return lambda value: nan if value is None else float(value) / 1e6, _FLOATS[type_]
        return lambda value: nan if value is None else float(value), _FLOATS[type_]


def _matrix(file: str, inputs: dict[str, str]) -> tuple[str, Any]:
    if len(inputs) != 1 or next(iter(inputs.values())) not in _FLOATS:
        raise BundleCorrupt(f"{file} must have one input, a matrix of floats, but has {inputs}")
    name, type_ = next(iter(inputs.items()))
    return name, _FLOATS[type_]


def _reads(file: str, inputs: dict[str, str], fields: Sequence[InputField]) -> list[tuple[str, int, Kind, str]]:
    """(input, its index, its kind, the graph's type) for each input of the graph."""
    places = {field.name: (place, field.kind) for place, field in enumerate(fields)}
    found: list[tuple[str, int, Kind, str]] = []
    for name, type_ in inputs.items():
        if name not in places:
            raise BundleCorrupt(f"{file} reads {name!r}, which is not an input of the model")
        place, kind = places[name]
        if not _fits(kind, type_):
            raise BundleCorrupt(f"{file} reads {name!r} as {type_}; expected {KINDS[kind].words}")
        found.append((name, place, kind, type_))
    return found


def _fits(kind: Kind, type_: str) -> bool:
    if type_ == "tensor(string)":
        return kind in ("str", "int", "bool")
    if type_ == "tensor(int64)":
        return kind in ("int", "bool", "time")
    if type_ == "tensor(bool)":
        return kind == "bool"
    return type_ in _FLOATS and kind != "str"
