"""Validation of a recipe and its arrays before any prediction."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tidemill.core.errors import BundleCorrupt, BundleRefused
from tidemill.core.kinds import KINDS, Kind
from tidemill.models.tabular.oblivious_trees import DEEPEST
from tidemill.models.tabular.recipe import (
    AdditiveTerm,
    AdditiveTerms,
    DatePart,
    Encoder,
    Member,
    NumberColumn,
    ObliviousTreesMember,
    OneHot,
    Ordinal,
    TabularRecipe,
    TargetMean,
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\Z")
_MOST = 100_000
_READS: dict[type, tuple[Kind, ...]] = {
    NumberColumn: ("float", "int", "bool", "time"),
    Ordinal: ("str", "int", "bool"),
    OneHot: ("str", "int", "bool"),
    TargetMean: ("str", "int", "bool"),
    DatePart: ("time",),
}
_LINKS = {
    "binary": ("sigmoid", "none"),
    "classes": ("softmax", "none"),
    "number": ("identity", "exp", "none"),
    "count": ("identity", "exp", "none"),
}


def check_recipe(recipe: TabularRecipe, parts: Mapping[str, Any]) -> None:
    """Raise `BundleCorrupt` with all mismatches, and `BundleRefused` if a name is not a plain file name."""
    check_names(recipe)
    troubles = list(_shape(recipe)) or [one for encoder in recipe.encoders for one in _encoder(recipe, encoder)]
    if not troubles:
        troubles = [f"member {m.name}: {one}" for m in recipe.members for one in _member(recipe, m, parts)]
    if troubles:
        more = f" (and {len(troubles) - 5} more)" if len(troubles) > 5 else ""
        raise BundleCorrupt(f"the files of the model do not match: {'; '.join(troubles[:5])}{more}")


def check_names(recipe: TabularRecipe) -> None:
    """Raise `BundleRefused` if a member's name or file is not a plain name, so that no path leaves the folder."""
    for member in recipe.members:
        for name in (member.name, *files_of(member)):
            if not _NAME.match(name):
                raise BundleRefused(f"tabular.json names {name[:80]!r}, which is not a plain file name")


def files_of(member: Member) -> tuple[str, ...]:
    """Names of the files of a member; `NAME.counts.npy` of symmetric trees is optional."""
    if isinstance(member, ObliviousTreesMember):
        return tuple(f"{member.name}.{what}.npy" for what in ("splits", "borders", "leaves", "counts"))
    return () if isinstance(member, AdditiveTerms) else (member.file,)


def _shape(recipe: TabularRecipe) -> Iterator[str]:
    names = [field.name for field in recipe.inputs]
    if len(set(names)) != len(names) or max(len(names), len(recipe.encoders), len(recipe.members)) > _MOST:
        yield f"{len(names):,} inputs, {len(recipe.encoders):,} encoders: a duplicate name, or too many"
    if not recipe.members or len({member.name for member in recipe.members}) != len(recipe.members):
        yield "no member, or two with the same name"
    if len(recipe.weights) != len(recipe.members):
        yield f"{len(recipe.weights)} weights for {len(recipe.members)} members"
    n_classes = len(recipe.classes)
    if (recipe.task == "binary" and n_classes != 2) or (recipe.task == "classes" and n_classes < 2):
        yield f"{n_classes} classes of a {recipe.task} task"
    is_pair = recipe.task == "classes" and n_classes == 2 and len(recipe.bias) == 1
    k = n_classes if recipe.task == "classes" and not is_pair else 1
    if len(recipe.bias) != k:
        yield f"a bias of {len(recipe.bias)} numbers; expected {k}"
    if recipe.link not in _LINKS["binary" if is_pair else recipe.task]:
        yield f"the link {recipe.link} of a {recipe.task} task"
    ends = [end for end in (recipe.low, recipe.high) if end is not None]
    if not _finite([*recipe.weights, *recipe.bias, recipe.threshold, *ends]) or ends != sorted(ends):
        yield "a weight, bias, threshold or range limit is not a number, or the range is empty"


def _encoder(recipe: TabularRecipe, encoder: Encoder) -> Iterator[str]:
    kinds = {field.name: field.kind for field in recipe.inputs}
    inputs = encoder.inputs if isinstance(encoder, TargetMean) else (encoder.input,)
    if not inputs:
        yield "an encoder without input"
    for name in inputs:
        if kinds.get(name) not in _READS[type(encoder)]:
            found = f"is {KINDS[kinds[name]].words}" if name in kinds else "is not an input"
            yield f"an encoder `{type(encoder).__name__}` reads {name!r}, which {found}"
    if isinstance(encoder, TargetMean) and not _finite([*encoder.values.values(), encoder.other]):
        yield f"the values of {encoder.inputs} are not all numbers"


def _member(recipe: TabularRecipe, member: Member, parts: Mapping[str, Any]) -> Iterator[str]:
    optional = f"{member.name}.counts.npy"
    absent = [name for name in files_of(member) if name not in parts and name != optional]
    if absent:
        yield f"{absent[0]} is missing"
        return
    k, width = len(recipe.bias), len(recipe.encoders)
    columns = _columns(member)
    if columns is not None and (not columns or not all(0 <= one < width for one in columns)):
        yield f"it reads columns outside the {width} of the design"
    if isinstance(member, AdditiveTerms):
        if len(member.bias) != k or not _finite(member.bias):
            yield f"its bias is not {k} numbers"
        for term in member.terms:
            yield from _term(term, k)
    if isinstance(member, ObliviousTreesMember):
        yield from _oblivious(member, parts, k)


def _columns(member: Member) -> tuple[int, ...] | None:
    if isinstance(member, AdditiveTerms):
        return tuple(term.column for term in member.terms) or None
    return member.columns


def _term(term: AdditiveTerm, k: int) -> Iterator[str]:
    shapes = {len(row) for row in (*term.values, term.missing, *((term.mean,) if term.mean else ()))}
    if not term.knots or len(term.values) != len(term.knots) or shapes != {k}:
        yield f"the term of column {term.column} has {len(term.knots)} knots and {len(term.values)} rows of values"
    flat = [one for row in term.values for one in row]
    if not _finite([*term.knots, *flat, *term.missing, *term.mean]):
        yield f"the term of column {term.column} contains a value that is not a number"
    if any(later <= former for former, later in zip(term.knots, term.knots[1:], strict=False)):
        yield f"the knots of column {term.column} are not increasing"


def _oblivious(member: ObliviousTreesMember, parts: Mapping[str, Any], k: int) -> Iterator[str]:
    splits, borders, leaves = (np.asarray(parts[name]) for name in files_of(member)[:3])
    counts = parts.get(f"{member.name}.counts.npy")
    if splits.ndim != 2 or splits.dtype != np.int32 or not 1 <= splits.shape[1] <= DEEPEST:
        yield f"its splits are {splits.dtype} of shape {splits.shape}, not int32 (trees, depth 1 to {DEEPEST})"
        return
    trees, leaf = splits.shape[0], 1 << splits.shape[1]
    shapes = [(borders, np.float32, splits.shape, "borders"), (leaves, np.float64, (trees, leaf, k), "leaves")]
    if counts is not None:
        shapes.append((np.asarray(counts), np.float64, (trees, leaf), "counts"))
    for array, dtype, shape, what in shapes:
        if array.dtype != dtype or array.shape != shape:
            yield f"its {what} are {array.dtype} of shape {array.shape}, not {np.dtype(dtype)} {shape}"
            return
    if trees and not (splits.min() >= 0 and splits.max() < len(member.columns)):
        yield f"it splits by a column outside its {len(member.columns)}"
    if np.isnan(borders).any() or not np.isfinite(leaves).all():
        yield "its borders or leaves are not all numbers"
    if counts is not None and not (np.isfinite(counts).all() and (np.asarray(counts) >= 0).all()):
        yield "its counts are not all numbers of at least 0"
    if len(member.bias) != k or not _finite([*member.bias, member.scale]):
        yield f"its bias is not {k} numbers, or its scale is not a number"


def _finite(numbers: Iterable[float]) -> bool:
    return all(math.isfinite(number) for number in numbers)
