"""Check of LightGBM's model text without LightGBM: refuses whatever could make its native code read invalid memory.

LightGBM uses the indices of a text without a bounds check. Therefore each tree is checked to be a tree over the named
features: arrays of the stated lengths, no linear leaves, category sets inside their array, and children that come after
their parent, each once, so that every path ends in a leaf. LightGBM only gets the text that is written again here, so
that it can find nothing in it that the check has not seen. It lacks the ranges of the training columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

START = b"tree\nversion="
#: A text of more bytes than this is too large for a small machine.
MOST_BYTES = 256 * 1024 * 1024
#: LightGBM recurses through the levels of a tree to explain a prediction.
DEEPEST = 512
#: LightGBM's limit on the leaves of a tree.
MOST_LEAVES = 131_072
_MOST_FEATURES = 1_000_000
_CATEGORY = 1
#: Lists of numbers at the leaves and at the splits. They are checked if present; LightGBM gets the needed ones.
_AT_LEAVES = ("leaf_value", "leaf_weight", "leaf_count")
_AT_SPLITS = (
    "split_feature", "split_gain", "threshold", "decision_type", "left_child", "right_child", "internal_value",
    "internal_weight", "internal_count",
)  # fmt: skip
_INTEGERS = frozenset({"leaf_count", "split_feature", "decision_type", "left_child", "right_child", "internal_count"})
_NEEDED = frozenset({"leaf_value", "split_feature", "threshold", "decision_type", "left_child", "right_child"})
_WRITTEN = (*_AT_SPLITS[:6], "leaf_value", "leaf_count", "internal_count")
_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|-?inf|-?nan", re.ASCII)
#: LightGBM reads beyond the end of an empty one.
_OBJECTIVE = re.compile(r"[a-z][a-z0-9_]*( [a-z_]+(:[-+.0-9a-zA-Z]+)?)*", re.ASCII)
_FEATURE = re.compile(r"[^\s\x00-\x1f\x7f]+")
_Tree = dict[str, str]


def lightgbm_refusal_reason(raw: bytes) -> str | None:
    """The reason why a text is refused as a LightGBM model; `None` if it is accepted.

    >>> lightgbm_refusal_reason(b"import os")
    'it does not start like a LightGBM model'
    """
    try:
        checked_text(raw)
    except ValueError as refused:
        return str(refused)
    return None


def checked_text(raw: bytes) -> str:
    """The text, written again with what predictions and explanations need; `ValueError` with the reason if refused."""
    if not raw.startswith(START):
        raise ValueError("it does not start like a LightGBM model")
    if len(raw) > MOST_BYTES:
        raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise ValueError("it is not text") from None
    if "\r" in text or "\0" in text:
        raise ValueError("its line ends are not those of LightGBM")
    model, end, _ = text.partition("\nend of trees\n")
    head, *trees = model.split("\n\nTree=")
    try:
        header = _written_header(_lines(head), len(trees))
        if not end:
            raise ValueError("it is truncated")
        written = []
        for number, tree in enumerate(trees):
            try:
                lines = _written_tree(_lines(tree.split("\n\n", 1)[0]), len(header["feature_names"].split(" ")))
            except ValueError as problem:
                raise ValueError(f"tree {number}: {problem}") from None
            written.append(f"Tree={number}\n{lines}\n\n\n")
    except KeyError as missing:
        raise ValueError(f"its trees cannot be read: {missing} is missing") from None
    header["tree_sizes"] = _joined(len(tree) for tree in written)
    lines = "\n".join(f"{key}={value}" if value else key for key, value in header.items())
    return f"{lines}\n\n{''.join(written)}end of trees\n\npandas_categorical:null\n"


def _written_header(about: _Tree, trees: int) -> _Tree:
    (last,), (scores,) = _ints(about, "max_feature_idx"), _ints(about, "num_class")
    names = about["feature_names"].split(" ")
    if last + 1 != len(names) or len(names) > _MOST_FEATURES or not all(map(_FEATURE.fullmatch, names)):
        raise ValueError("its number of features does not match its feature names")
    if scores < 1 or about["num_tree_per_iteration"] != about["num_class"] or not trees or trees % scores:
        raise ValueError("its number of trees does not match its number of scores")
    if not _OBJECTIVE.fullmatch(about.get("objective", "custom")):
        raise ValueError("its objective is invalid")
    numbers = {"num_class": str(scores), "num_tree_per_iteration": str(scores), "label_index": "0"}
    header = {"tree": "", "version": "v4"} | numbers | {"max_feature_idx": str(last)}
    header |= {key: about[key] for key in ("objective", "average_output") if key in about}
    return header | {"feature_names": " ".join(names), "feature_infos": " ".join(["none"] * len(names))}


def _lines(block: str) -> _Tree:
    """Parse `key=value` lines; a line without a value is a flag. Duplicate keys are refused."""
    found: _Tree = {}
    for line in block.split("\n"):
        key, _, value = line.partition("=")
        if key and key in found:
            raise ValueError(f"`{key[:40]}` occurs twice")
        found[key] = value
    return found


def _written_tree(tree: _Tree, features: int) -> str:
    (leaves,), (categories,) = _ints(tree, "num_leaves"), _ints(tree, "num_cat")
    if "shrinkage" in tree and len(_floats(tree, "shrinkage")) != 1:
        raise ValueError("its shrinkage is not a number")
    if tree["is_linear"] != "0":
        raise ValueError("linear leaves are not supported")
    inner = leaves - 1
    if not 1 <= leaves <= MOST_LEAVES or len(_floats(tree, "leaf_value")) != leaves:
        raise ValueError("its number of leaves is wrong")
    if not inner and categories:
        raise ValueError("it has categories but no split")
    parts: dict[str, list[Any]] = {"num_leaves": [leaves], "num_cat": [categories]}
    for keys, n, where in ((_AT_SPLITS, inner, "splits"), (_AT_LEAVES, leaves, "leaves")):
        for key in keys if inner else ("leaf_value",) if where == "leaves" else ():
            if key in tree or key in _NEEDED:
                parts[key] = _ints(tree, key) if key in _INTEGERS else _floats(tree, key)
                if len(parts[key]) != n:
                    raise ValueError(f"its number of {where} is wrong: `{key}` has {len(parts[key])}")
    if not all(map(math.isfinite, parts["leaf_value"])) or any(map(math.isnan, parts.get("threshold", ()))):
        raise ValueError("a threshold or the value of a leaf is not a number")
    if not all(0 <= count < 1 << 31 for key in ("leaf_count", "internal_count") for count in parts.get(key, ())):
        raise ValueError("a count of rows is out of bounds")
    if inner:
        parts |= _checked_splits(tree, categories, features, parts)
    kept = ("num_leaves", "num_cat", *_WRITTEN, "cat_boundaries", "cat_threshold")
    return "\n".join([*(f"{key}={_joined(parts[key])}" for key in kept if key in parts), "is_linear=0", "shrinkage=1"])


def _joined(values: Iterable[float]) -> str:
    return " ".join(map(repr, values))


def _ints(tree: _Tree, key: str) -> list[int]:
    try:
        return [int(value) for value in _words(tree, key)]
    except ValueError:
        raise ValueError(f"`{key}` contains a value that is not an integer") from None


def _floats(tree: _Tree, key: str) -> list[float]:
    return [float(value) for value in _words(tree, key)]


def _words(tree: _Tree, key: str) -> list[str]:
    """The numbers of a line as C reads them; Python also accepts 1_000, other scripts' digits and other blanks."""
    words = tree[key].split(" ") if tree[key] else []
    if any(not _NUMBER.fullmatch(word) for word in words):
        raise ValueError(f"`{key[:40]}` contains a value that is not a number")
    return words


def _checked_splits(
    tree: _Tree, categories: int, features: int, parts: Mapping[str, list[Any]]
) -> dict[str, list[int]]:
    """The category sets of a tree whose splits are sound: `cat_boundaries` and `cat_threshold`, if there are any.

    Sets are bits in one array: set i is stored in the words from boundary i to boundary i + 1.
    """
    if any(not 0 <= one < features for one in parts["split_feature"]):
        raise ValueError("it uses an unknown feature")
    if any(not 0 <= kind < 16 for kind in parts["decision_type"]):
        raise ValueError("it has an unsupported type of split")
    for kind, threshold in zip(parts["decision_type"], parts["threshold"], strict=True):
        if kind & _CATEGORY and threshold not in range(categories):
            raise ValueError("it splits by categories that are missing")
    if problem := _walk_trouble(parts["left_child"], parts["right_child"]):
        raise ValueError(problem)
    if categories == 0:
        return {}
    if "cat_boundaries" not in tree or "cat_threshold" not in tree:
        raise ValueError("its categories are missing")
    bounds, words = _ints(tree, "cat_boundaries"), _ints(tree, "cat_threshold")
    rising = bounds[:1] == [0] and all(former <= later for former, later in pairwise(bounds))
    if len(bounds) != categories + 1 or not rising or bounds[-1] != len(words):
        raise ValueError("its categories are out of bounds")
    if not all(0 <= word < 1 << 32 for word in words):
        raise ValueError("its categories are not valid bit sets")
    return {"cat_boundaries": bounds, "cat_threshold": words}


def _walk_trouble(left: list[int], right: list[int]) -> str | None:
    """Checks that every node but the root, and every leaf, has exactly one earlier parent, and none is too deep."""
    inner, seen = len(left), 0
    depth = [1] * inner
    leaves = [False] * (inner + 1)
    for node, children in enumerate(zip(left, right, strict=True)):
        for child in children:
            if not (node < child < inner or -inner - 1 <= child < 0):
                return "a child index is out of bounds"
            if child < 0:
                seen += not leaves[~child]
                leaves[~child] = True
            elif depth[child] > 1:
                return "a node has two parents"
            else:
                depth[child] = depth[node] + 1
    if seen != inner + 1:
        return "a leaf has no parent or several"
    return None if max(depth) <= DEEPEST else f"it is deeper than {DEEPEST} levels"
