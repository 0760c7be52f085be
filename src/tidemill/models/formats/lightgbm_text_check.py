"""Check of LightGBM's model text without LightGBM: refuses whatever could make its native code read invalid memory.

LightGBM uses the indices of a text without a bounds check. Therefore each tree is checked to be a tree over the named
features: arrays of the stated lengths, no linear leaves, category sets inside their array, and children that come after
their parent, each once, so that every path ends in a leaf.
"""

from __future__ import annotations

import re
from itertools import accumulate, pairwise

START = b"tree\nversion="
#: A text of more bytes than this is too large for a small machine.
MOST_BYTES = 256 * 1024 * 1024
#: LightGBM recurses through the levels of a tree to explain a prediction.
DEEPEST = 512
#: LightGBM's limit on the leaves of a tree.
MOST_LEAVES = 131_072
_CATEGORY = 1
#: Lists that LightGBM reads if present; a wrong length ends the process.
_BESIDE_LEAVES = ("leaf_weight", "leaf_count")
_BESIDE_SPLITS = ("split_gain", "internal_value", "internal_weight", "internal_count")
_NUMBER = re.compile(r"-?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?|-?inf|-?nan", re.ASCII)
#: LightGBM reads beyond the end of an empty one.
_OBJECTIVE = re.compile(r"[a-z][a-z0-9_]*( [a-z_]+(:[-+.0-9a-zA-Z]+)?)*", re.ASCII)
_Tree = dict[str, str]


def lightgbm_refusal_reason(raw: bytes) -> str | None:
    """The reason why a text is refused as a LightGBM model; `None` if it is accepted.

    >>> lightgbm_refusal_reason(b"import os")
    'it does not start like a LightGBM model'
    """
    if not raw.startswith(START):
        return "it does not start like a LightGBM model"
    if len(raw) > MOST_BYTES:
        return f"it is larger than {MOST_BYTES:,} bytes"
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "it is not text"
    if "\r" in text or "\0" in text:
        return "its line ends are not those of LightGBM"
    head, *trees = text.split("\n\nTree=")
    try:
        about = _lines(head)
        features = _ints(about, "max_feature_idx")[0] + 1
        if features != len(about["feature_names"].split()) or features < 1:
            return "its number of features does not match its feature names"
        scores = _ints(about, "num_class")[0]
        if scores < 1 or about["num_tree_per_iteration"] != about["num_class"] or not trees or len(trees) % scores:
            return "its number of trees does not match its number of scores"
        if not _OBJECTIVE.fullmatch(about.get("objective", "custom")):
            return "its objective is invalid"
        if "tree_sizes" in about and (problem := _sizes_trouble(about["tree_sizes"], trees)):
            return problem
        for number, tree in enumerate(trees):
            if problem := _tree_trouble(_lines(tree.split("\n\n", 1)[0]), features):
                return f"tree {number}: {problem}"
    except (KeyError, ValueError, IndexError) as problem:
        return f"its trees cannot be read: {problem}"
    return None if "\nend of trees\n" in text else "it is truncated"


def _sizes_trouble(stated: str, trees: list[str]) -> str | None:
    """LightGBM uses the sizes as offsets of the trees, so each tree must start at its offset."""
    sizes = [int(size) for size in stated.split()]
    found = [len(f"\n\nTree={tree}".encode()) for tree in trees[:-1]]
    if len(sizes) != len(trees) or list(accumulate(sizes[:-1])) != list(accumulate(found)):
        return "its tree sizes are wrong"
    return None


def _lines(block: str) -> _Tree:
    """Parse `key=value` lines; a line without a value is a flag. Duplicate keys are refused."""
    found: _Tree = {}
    for line in block.split("\n"):
        key, _, value = line.partition("=")
        if key and key in found:
            raise ValueError(f"`{key[:40]}` occurs twice")
        found[key] = value
    return found


def _tree_trouble(tree: _Tree, features: int) -> str | None:
    (leaves,), (categories,) = _ints(tree, "num_leaves"), _ints(tree, "num_cat")
    if "shrinkage" in tree and len(_floats(tree, "shrinkage")) != 1:
        return "its shrinkage is not a number"
    if tree["is_linear"] != "0":
        return "linear leaves are not supported"
    if not 1 <= leaves <= MOST_LEAVES or len(_floats(tree, "leaf_value")) != leaves:
        return "its number of leaves is wrong"
    if leaves == 1:
        return None if categories == 0 else "it has categories but no split"
    inner = leaves - 1
    split, left, right = (_ints(tree, key) for key in ("split_feature", "left_child", "right_child"))
    kinds, thresholds = _ints(tree, "decision_type"), _floats(tree, "threshold")
    if {len(split), len(left), len(right), len(kinds), len(thresholds)} != {inner}:
        return "its number of splits is wrong"
    if any(len(_floats(tree, key)) != leaves for key in _BESIDE_LEAVES if key in tree):
        return "the lengths of its leaf arrays differ"
    if any(len(_floats(tree, key)) != inner for key in _BESIDE_SPLITS if key in tree):
        return "the lengths of its split arrays differ"
    if any(not 0 <= one < features for one in split):
        return "it uses an unknown feature"
    if any(not 0 <= kind < 16 for kind in kinds):
        return "it has an unsupported type of split"
    category_sets = [threshold for kind, threshold in zip(kinds, thresholds, strict=True) if kind & _CATEGORY]
    return _categories_trouble(tree, categories, category_sets) or _walk_trouble(left, right)


def _ints(tree: _Tree, key: str) -> list[int]:
    return [int(value) for value in _words(tree, key)]


def _floats(tree: _Tree, key: str) -> list[float]:
    return [float(value) for value in _words(tree, key)]


def _words(tree: _Tree, key: str) -> list[str]:
    """The numbers of a line as C reads them; Python also accepts 1_000, other scripts' digits and other blanks."""
    words = tree[key].split(" ") if tree[key] else []
    if any(not _NUMBER.fullmatch(word) for word in words):
        raise ValueError(f"`{key[:40]}` contains a value that is not a number")
    return words


def _categories_trouble(tree: _Tree, categories: int, category_sets: list[float]) -> str | None:
    """Sets of categories are bits in one array: set i is stored in the words from boundary i to boundary i + 1."""
    if any(one not in range(categories) for one in category_sets):
        return "it splits by categories that are missing"
    if categories == 0:
        return None
    if "cat_boundaries" not in tree or "cat_threshold" not in tree:
        return "its categories are missing"
    bounds, words = _ints(tree, "cat_boundaries"), _ints(tree, "cat_threshold")
    rising = bounds[:1] == [0] and all(former <= later for former, later in pairwise(bounds))
    if len(bounds) != categories + 1 or not rising or bounds[-1] != len(words):
        return "its categories are out of bounds"
    return None if all(0 <= word < 1 << 32 for word in words) else "its categories are not valid bit sets"


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
