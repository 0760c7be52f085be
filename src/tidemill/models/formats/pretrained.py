"""Pretrained models: a folder with an ONNX graph and a card that states its origin.

    SENTIMENT = tm.pretrained("models/sentiment")

The folder contains `model.onnx` and `card.json` with `source`, `licence`, `revision`, `sha256` (of the graph) and
`card` (a text: training data and intended use). A graph whose hash differs from the card is refused.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import BundleRefused, OriginMissing
from tidemill.core.record_format import Record, decode_json
from tidemill.models.formats.onnx_check import onnx_refusal_reason, onnx_session

GRAPH, CARD = "model.onnx", "card.json"
_NUMPY = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class ModelOrigin(Record, frozen=True):
    """Origin of a model, as in its `card.json`; other keys of the file are ignored."""

    source: str = ""
    licence: str = ""
    #: The version at the source: a tag, a commit, a date.
    revision: str = ""
    #: sha256 of the model's file, 64 hex digits.
    sha256: str = ""
    #: Training data, quality, and uses to avoid.
    card: str = ""

    def facts(self) -> dict[str, str]:
        """`source`, `licence`, `revision` and `sha256`: the fields that a release's card stores."""
        return {"source": self.source, "licence": self.licence, "revision": self.revision, "sha256": self.sha256}


def read_origin(file: Path) -> ModelOrigin:
    """The origin in a `card.json`. Raises `OriginMissing` if a field is missing."""
    try:
        origin = decode_json(file.read_bytes(), ModelOrigin)
    except (OSError, msgspec.DecodeError) as problem:
        raise OriginMissing(
            f"{file} cannot be read: {problem}",
            tip=f"write it with the fields {', '.join(ModelOrigin.__struct_fields__)}, all strings",
        ) from problem
    return origin


def check_origin(origin: ModelOrigin, raw: bytes, where: str) -> None:
    """Check that `origin` is complete and pins the hash of `raw`. Raises `OriginMissing` with all missing fields."""
    silent = [name for name in ModelOrigin.__struct_fields__ if not getattr(origin, name).strip()]
    found = hashlib.sha256(raw).hexdigest()
    if silent:
        shown = f"; the file's sha256 is {found}" if "sha256" in silent else ""
        raise OriginMissing(f"{where} lacks {', '.join(silent)}{shown}", tip=f"add it to {CARD}")
    if origin.sha256.lower() != found:
        raise OriginMissing(
            f"{where} pins the sha256 {origin.sha256[:12]}…, but the file has {found}",
            tip="download that revision again, or review the changes before you pin the new hash",
        )


def pretrained(folder: str | Path) -> PretrainedGraph:
    """The model in `folder`: for `learn=` (nothing is fitted), or as a function of arrays for on-demand features.

    A relative folder is resolved against the project's folder, or against the working folder outside a project. Files
    are read on first use.

    >>> pretrained("models/sentiment").folder.as_posix()
    'models/sentiment'
    """
    return PretrainedGraph(Path(folder))


class PretrainedGraph:
    """A graph with its origin; can be shared between threads and pickled, because it only stores the folder's name."""

    #: Accepted in place of an estimator, although it has no `fit`.
    learned_elsewhere = True

    def __init__(self, folder: Path, root: Path = Path()) -> None:
        #: As written by the user.
        self.folder = Path(folder)
        self.root = root

    def __repr__(self) -> str:
        """The folder and the hash that its card pins: a different graph has a different representation."""
        try:
            pinned = f", sha256={read_origin(self.place / CARD).sha256!r}"
        except OriginMissing:
            pinned = ""
        return f"pretrained({self.folder.as_posix()!r}{pinned})"

    def __reduce__(self) -> tuple[Any, ...]:
        return PretrainedGraph, (self.folder, self.root)

    @property
    def place(self) -> Path:
        """The folder of its files."""
        return self.root / self.folder

    def within(self, root: Path) -> PretrainedGraph:
        """The same graph, with a relative folder resolved against `root`."""
        return PretrainedGraph(self.folder, root)

    def write(self, folder: Path) -> None:
        """Write the graph and its card into a new `folder`; raises like `raw`."""
        raw = self.raw
        folder.mkdir(parents=True)
        (folder / GRAPH).write_bytes(raw)
        (folder / CARD).write_bytes((self.place / CARD).read_bytes())

    @cached_property
    def origin(self) -> ModelOrigin:
        """The origin, complete and checked against the graph."""
        origin = read_origin(self.place / CARD)
        check_origin(origin, self._unchecked(), str(self.place / CARD))
        return origin

    @property
    def raw(self) -> bytes:
        """The graph's bytes, checked against the card. Raises `OriginMissing` or `BundleRefused`."""
        raw = self._unchecked()
        if why := onnx_refusal_reason(raw):
            raise BundleRefused(f"{self.place / GRAPH} is refused: {why}")
        check_origin(read_origin(self.place / CARD), raw, str(self.place / CARD))
        return raw

    def _unchecked(self) -> bytes:
        try:
            return (self.place / GRAPH).read_bytes()
        except OSError as problem:
            raise OriginMissing(
                f"no pre-trained model in {self.place}: {problem.strerror}",
                tip=f"put {GRAPH} and {CARD} there",
            ) from problem

    @cached_property
    def _session(self) -> Any:
        raw = self.raw
        try:
            return onnx_session(raw)
        except ValueError as problem:
            raise BundleRefused(f"{self.place / GRAPH} is refused: {problem}") from problem

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the graph's inputs, in its order."""
        return tuple(one.name for one in self._session.get_inputs())

    def __call__(self, *arrays: Any, output: str | None = None, **named: Any) -> NDArray[Any]:
        """The graph's first output, or the one called `output`, for arrays in its order or by name; on one thread.

        Each array is converted to the type that the graph reads; a missing text becomes an empty one. An empty input
        gives an empty output with the usual shape and type. Raises `TypeError` for too many or unknown arrays.
        """
        inputs = {one.name: one.type for one in self._session.get_inputs()}
        given = dict(zip(inputs, arrays, strict=False)) | named
        if len(arrays) > len(inputs) or set(given) != set(inputs):
            raise TypeError(f"{self!r} expects the inputs {', '.join(inputs)}, but got {', '.join(given) or 'none'}")
        fed = {name: _tensor(array, inputs[name]) for name, array in given.items()}
        nothing = bool(fed) and all(array.ndim and not len(array) for array in fed.values())
        if nothing:  # many graphs cannot run on an empty input
            fed = {name: _one_of(array) for name, array in fed.items()}
        n = max((len(array) for array in fed.values() if array.ndim), default=1)
        found: NDArray[Any] = self._session.run([output or self._session.get_outputs()[0].name], fed, n)[0]
        return found[:0] if nothing else found


def _tensor(array: Any, kind: str) -> NDArray[Any]:
    tensor: NDArray[Any] = np.asarray(array, _NUMPY.get(kind, np.float32))
    if tensor.dtype == object:
        flat = ["" if value is None else value for value in tensor.ravel().tolist()]
        tensor = np.array(flat, object).reshape(tensor.shape)
    return tensor


def _one_of(array: NDArray[Any]) -> NDArray[Any]:
    """One row of zeros or empty texts for an empty array."""
    return np.full((1, *array.shape[1:]), "" if array.dtype == object else 0, array.dtype)
