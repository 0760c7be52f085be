"""LightGBM's text of trees, looked at without LightGBM: what could send its native code astray is refused.

LightGBM follows the numbers of a text without asking whether they lie inside its arrays. Here each tree is checked to
be a tree over the named features: plain numbers, no categories, no linear leaves, and children that come after their
parent, so that every walk from the root ends in a leaf.
"""

from __future__ import annotations

START = b"tree\nversion="
#: Text of more bytes than this is no small ranker.
MOST_BYTES = 64 * 1024 * 1024


def trouble(raw: bytes) -> str | None:
    """Why a text is no plain LightGBM trees; `None` where it is.

    >>> trouble(b"import os")
    'it does not start as LightGBM trees do'
    """
    if not raw.startswith(START):
        return "it does not start as LightGBM trees do"
    if len(raw) > MOST_BYTES:
        return f"it is larger than {MOST_BYTES:,} bytes"
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return "it is no text"
    head, *trees = text.split("\n\nTree=")
    try:
        about = _lines(head)
        features = int(about["max_feature_idx"]) + 1
        if features != len(about["feature_names"].split()) or about["num_class"] != "1":
            return "its head does not say one score from named features"
        if about["num_tree_per_iteration"] != "1" or not trees:
            return "it holds no trees of one score"
        for number, tree in enumerate(trees):
            if problem := _tree_trouble(_lines(tree.split("\n\n\nend of trees")[0]), features):
                return f"tree {number}: {problem}"
    except (KeyError, ValueError) as problem:
        return f"its trees cannot be read: {problem}"
    return None if "\nend of trees\n" in text else "it was cut off"


def _lines(block: str) -> dict[str, str]:
    """`key=value` lines; a line without a value is a flag. A key that comes twice is refused."""
    found: dict[str, str] = {}
    for line in block.split("\n"):
        key, _, value = line.partition("=")
        if key and key in found:
            raise ValueError(f"`{key[:40]}` comes twice")
        found[key] = value
    return found


def _tree_trouble(tree: dict[str, str], features: int) -> str | None:
    leaves = int(tree["num_leaves"])
    if tree["num_cat"] != "0" or tree["is_linear"] != "0":
        return "categories and linear leaves are not known here"
    if leaves < 1 or len([float(value) for value in tree["leaf_value"].split()]) != leaves:
        return "it has another number of leaves than it says"
    if leaves == 1:
        return None
    inner = leaves - 1
    split = [int(value) for value in tree["split_feature"].split()]
    left, right = ([int(value) for value in tree[side].split()] for side in ("left_child", "right_child"))
    kinds = [int(value) for value in tree["decision_type"].split()]
    thresholds = [float(value) for value in tree["threshold"].split()]
    if {len(split), len(left), len(right), len(kinds), len(thresholds)} != {inner}:
        return "it has another number of splits than it says"
    if any(not 0 <= one < features for one in split):
        return "it asks for a feature that is not named"
    if any(kind & 1 for kind in kinds):
        return "it splits by categories"
    for node, children in enumerate(zip(left, right, strict=True)):
        if any(not (node < child < inner or -leaves <= child < 0) for child in children):
            return "a child lies outside the tree"
    return None
