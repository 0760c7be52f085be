"""XGBoost's files, JSON and UBJSON, read without XGBoost, whose reader trusts the indices of a file.

UBJSON (https://ubjson.org) is read as far as XGBoost writes it. Either becomes the same checked record.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tidemill.core.errors import NotPublishable

#: A file of more bytes than this is too large for a small machine.
MOST_BYTES = 256 * 1024 * 1024
_DEEPEST = 32
_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_CONSTANTS = {b"T": True, b"F": False, b"Z": None}


class XgboostTree(msgspec.Struct, frozen=True):
    """A tree as arrays over its nodes; the first is the root, and a leaf has the children -1."""

    left_children: list[int]
    right_children: list[int]
    split_indices: list[int]
    #: The threshold of a split, or the value of a leaf.
    split_conditions: list[float]
    default_left: list[int | bool]
    split_type: list[int] = []


class XgboostTrees(msgspec.Struct, frozen=True):
    """The trees, and the target of each."""

    trees: list[XgboostTree] = []
    tree_info: list[int] = []


class XgboostBooster(msgspec.Struct, frozen=True):
    """The booster; other kinds than `gbtree` have another `model`, or none."""

    name: str
    model: XgboostTrees = XgboostTrees()


class XgboostObjective(msgspec.Struct, frozen=True):
    """The objective."""

    name: str


class XgboostParameters(msgspec.Struct, frozen=True):
    """Numbers, which XGBoost writes as strings."""

    base_score: str
    num_class: str
    num_feature: str = "0"


class XgboostLearner(msgspec.Struct, frozen=True):
    """The model."""

    gradient_booster: XgboostBooster
    objective: XgboostObjective
    learner_model_param: XgboostParameters
    feature_names: list[str] = []


class XgboostModel(msgspec.Struct, frozen=True):
    """What is used of a file."""

    learner: XgboostLearner


def read_xgboost(file: Path) -> XgboostModel:
    """The model in a `.json` or `.ubj` file. Raises `NotPublishable` if it is not XGBoost's."""
    return xgboost_from_bytes(file.read_bytes(), file.name)


def xgboost_from_bytes(raw: bytes, name: str) -> XgboostModel:
    """The model in the bytes of a file called `name`. Raises `NotPublishable` if it is not XGBoost's."""
    if len(raw) > MOST_BYTES:
        raise NotPublishable(f"{name} is larger than {MOST_BYTES:,} bytes")
    try:
        if raw[1:2] == b"L":  # the type of a key's length, and no JSON
            return msgspec.convert(_Ubjson(raw).document(), XgboostModel)
        return msgspec.json.decode(raw, type=XgboostModel)
    except (msgspec.MsgspecError, UnicodeDecodeError, struct.error, ValueError, RecursionError) as problem:
        raise NotPublishable(f"{name} is not an XGBoost model: {str(problem)[:200]}") from problem


class _Ubjson:
    """A reader of UBJSON that raises `ValueError` or `struct.error` for anything that XGBoost does not write."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._place = raw, 0

    def document(self) -> Any:
        """The value that the bytes are."""
        value = self._value(self._take(1), _DEEPEST)
        if self._place != len(self._raw):
            raise ValueError("bytes follow its end")
        return value

    def _take(self, n: int) -> bytes:
        taken = self._raw[self._place : self._place + n]
        if n < 0 or len(taken) != n:
            raise ValueError("it is truncated")
        self._place += n
        return taken

    def _length(self) -> int:
        kind = self._take(1)
        if kind not in (b"i", b"U", b"I", b"l", b"L"):
            raise ValueError("a length is not an integer")
        return int(self._numbers(kind, 1)[0])

    def _numbers(self, kind: bytes, n: int) -> list[Any]:
        dtype = np.dtype(_NUMBERS[kind])
        found: list[Any] = np.frombuffer(self._take(n * dtype.itemsize), dtype).tolist()
        return found

    def _text(self) -> str:
        return self._take(self._length()).decode()

    def _value(self, kind: bytes, deepest: int) -> Any:
        if not deepest:
            raise ValueError("it is nested too deeply")
        if kind in _NUMBERS:
            return self._numbers(kind, 1)[0]
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind == b"S":
            return self._text()
        if kind == b"[":
            return self._array(deepest)
        if kind == b"{":
            return self._object(deepest)
        raise ValueError(f"it has a value of the unknown type {kind!r}")

    def _array(self, deepest: int) -> list[Any]:
        mark = self._take(1)
        if mark == b"$":
            kind = self._take(1)
            if kind not in _NUMBERS or self._take(1) != b"#":
                raise ValueError("an array is of an unknown type")
            return self._numbers(kind, self._length())
        if mark == b"#":
            n = self._length()
            if n > len(self._raw):
                raise ValueError("it is truncated")
            return [self._value(self._take(1), deepest - 1) for _ in range(n)]
        found = []
        while mark != b"]":
            found.append(self._value(mark, deepest - 1))
            mark = self._take(1)
        return found

    def _object(self, deepest: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self._raw[self._place : self._place + 1] != b"}":
            key = self._text()
            if key in found:
                raise ValueError(f"{key[:40]!r} occurs twice")
            found[key] = self._value(self._take(1), deepest - 1)
        self._place += 1
        return found
