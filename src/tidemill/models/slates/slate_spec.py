"""The slate specification: retrieval, filtering, scoring and ordering of candidates.

    tm.slate(
        retrieve=[tm.nearest(200), tm.trending(days=7)],
        filter=[tm.unseen(), tm.eligible("in_stock", missing=False), my_rule],
        order=[tm.diverse(by="category")],
        fallback=tm.popular(days=30),
    )

Built-in rules are data. A custom rule is a plain function over `Shortlist`; its source is shipped with the release as a
module (`custom_rules.py`). Facts come from feature views of the items only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import SlateMismatch, TypeMismatch
from tidemill.core.errors import nearest as nearest_name
from tidemill.core.records.release import Rule, RuleSet
from tidemill.models.slates.custom_rules import CustomRule, custom_rule

#: A function over candidates that returns a bool (filter) or a score (score) per candidate.
Function = Callable[..., Any]

#: The rules that each step of a slate accepts.
PLACES: dict[str, frozenset[str]] = {
    "retrieve": frozenset({"nearest", "trending", "popular"}),
    "filter": frozenset({"unseen", "eligible"}),
    "score": frozenset({"relevance"}),
    "order": frozenset({"diverse"}),
    "fallback": frozenset({"popular", "trending"}),
}


def nearest(n: int = 200, *, by: str | None = None) -> Rule:
    """The `n` items nearest to a user's history, from each index of the bundle, or from the one named in `by`."""
    return Rule(name="nearest", args={"n": _positive("nearest", n=n)} | ({"by": by} if by else {}))


def trending(days: int = 7, *, n: int = 100) -> Rule:
    """The `n` items with the most events in the last `days` days before the as-of of the request."""
    return Rule(name="trending", args={"days": _positive("trending", days=days), "n": _positive("trending", n=n)})


def popular(days: int = 30, *, n: int = 100) -> Rule:
    """The most popular items of the last `days` days; as a fallback, then of all time, then in a fixed order."""
    return Rule(name="popular", args={"days": _positive("popular", days=days), "n": _positive("popular", n=n)})


def unseen() -> Rule:
    """Only items that the user has no event with up to the time of the request."""
    return Rule(name="unseen")


def eligible(column: str, *, missing: bool = False) -> Rule:
    """Only items whose fact `column` is true; an item without the fact passes only with `missing=True`."""
    return Rule(name="eligible", args={"column": column, "missing": bool(missing)})


def relevance(weight: float = 1.0) -> Rule:
    """The model's score, blended with recent popularity; the default of a slate without `score=`."""
    return Rule(name="relevance", args={"weight": float(weight)})


def diverse(by: str, *, strength: float = 0.7) -> Rule:
    """Spread a list over the values of the fact `by`: each further item of a value keeps `strength` of its score.

    This is greedy re-ranking with a multiplicative penalty, solved in closed form. Items without the fact are not
    penalised.
    """
    if not 0 < strength <= 1:
        raise TypeMismatch(f"diverse(strength={strength!r}): it must be above 0 and at most 1")
    return Rule(name="diverse", args={"column": by, "strength": float(strength)})


def _positive(rule: str, **given: int) -> int:
    ((name, value),) = given.items()
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise TypeMismatch(f"{rule}({name}={value!r}): it must be an integer above 0")
    return value


@dataclass(frozen=True)
class SlateSpec:
    """A declared slate: built-in rules as data, and custom rules with their source."""

    retrieve: tuple[Rule, ...]
    filter: tuple[Rule | CustomRule, ...]
    score: tuple[Rule | CustomRule, ...]
    order: tuple[Rule, ...]
    fallback: Rule

    def check(self, parts: Collection[str]) -> None:
        """Raise `SlateMismatch` for candidates that a bundle with these model `parts` cannot retrieve."""
        check_parts(self.retrieve, parts, declared=True)

    def rules(self, views: Mapping[str, Collection[str]]) -> RuleSet:
        """The slate as data; `views` are the feature views of items (name -> columns) that its facts come from.

        Raises `SlateMismatch` if no view, or more than one, has a column that the slate reads.
        """

        def resolve(place: Sequence[Rule | CustomRule]) -> tuple[Rule, ...]:
            return tuple(_resolved(entry, views) for entry in place)

        return RuleSet(
            retrieve=resolve(self.retrieve),
            filter=resolve(self.filter),
            score=resolve(self.score),
            order=resolve(self.order),
            fallback=self.fallback,
        )

    def facts(self, views: Mapping[str, Collection[str]]) -> dict[str, tuple[str, ...]]:
        """The feature columns that the slate reads: view -> columns."""
        return facts_of(self.rules(views))

    def modules(self) -> dict[str, bytes]:
        """The source of the custom rules: path inside the bundle -> bytes."""
        own = [entry for entry in (*self.filter, *self.score) if isinstance(entry, CustomRule)]
        return {entry.path: entry.source.encode() for entry in own}


def slate(
    *,
    retrieve: Sequence[Rule],
    filter: Sequence[Rule | Function] = (),  # noqa: A002 - the field's word for this step
    score: Sequence[Rule | Function] = (),
    order: Sequence[Rule] = (),
    fallback: Rule | None = None,
) -> SlateSpec:
    """A slate from rules; see the module's docstring.

    Raises `SlateMismatch` for a rule in an argument that does not accept it, and `RuleRefused` for a function that
    cannot be shipped with a release.
    """
    given: dict[str, Sequence[Rule | Function]] = {
        "retrieve": retrieve, "filter": filter, "score": score, "order": order, "fallback": [fallback or popular()],
    }  # fmt: skip
    placed = {place: tuple(_placed(place, entry) for entry in entries) for place, entries in given.items()}
    if not placed["retrieve"]:
        raise SlateMismatch("the slate has no retrieval rule", tip="write retrieve=[tm.nearest(200)]")
    _distinct_paths(placed["filter"] + placed["score"])
    return SlateSpec(
        retrieve=_built_in(placed["retrieve"]),
        filter=placed["filter"],
        score=placed["score"],
        order=_built_in(placed["order"]),
        fallback=_built_in(placed["fallback"])[0],
    )


def _placed(place: str, entry: Rule | Function) -> Rule | CustomRule:
    if isinstance(entry, Rule):
        if entry.name not in PLACES[place]:
            fits = [name for name, rules in PLACES.items() if entry.name in rules]
            raise SlateMismatch(
                f"`{entry.name}` cannot be used in {place}=",
                tip=f"use it in {' or '.join(f'{name}=' for name in fits)}",
            )
        return entry
    if place not in ("filter", "score"):
        raise SlateMismatch(f"{place}= takes built-in rules only", tip="use a function in filter= or score=")
    return custom_rule(entry)


def _distinct_paths(entries: Sequence[Rule | CustomRule]) -> None:
    seen: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry, CustomRule) and seen.setdefault(entry.path, entry.source) != entry.source:
            raise SlateMismatch(f"two different rules have the name `{entry.function}`", tip="rename one of them")


def _built_in(entries: Sequence[Rule | CustomRule]) -> tuple[Rule, ...]:
    return tuple(entry for entry in entries if isinstance(entry, Rule))


def _resolved(entry: Rule | CustomRule, views: Mapping[str, Collection[str]]) -> Rule:
    if isinstance(entry, CustomRule):
        reads = {column: _view(column, entry.function, views) for column in entry.columns}
        return Rule(name="own", args={"module": entry.path, "function": entry.function, "reads": reads})
    if "column" in entry.args:
        column = entry.args["column"]
        return Rule(name=entry.name, args=entry.args | {"view": _view(column, entry.name, views)})
    return entry


def _view(column: str, rule: str, views: Mapping[str, Collection[str]]) -> str:
    having = [view for view, columns in views.items() if column in columns]
    if len(having) == 1:
        return having[0]
    if having:
        raise SlateMismatch(f"`{rule}` reads `{column}`, which several views have: {', '.join(sorted(having))}")
    known = {name for columns in views.values() for name in columns}
    raise SlateMismatch(
        f"`{rule}` reads `{column}`, which no feature view of items has: {nearest_name(column, known)}",
        tip="define it in a feature view with entity=<the item column> and list that view in features=[…]",
    )


def check_parts(retrieve: Sequence[Rule], parts: Collection[str], *, declared: bool = False) -> None:
    """Raise `SlateMismatch` for rules that retrieve from a named part that is not among `parts`.

    If `declared`, `nearest` needs at least one part. A bundle may have none, if `auto` found that nothing beats
    popularity: then `nearest` retrieves nothing, and the other rules and the fallback fill the slate.
    """
    for rule in retrieve:
        if rule.name != "nearest":
            continue
        drawn_from = set(parts) - {"popularity"}
        named = rule.args.get("by")
        if (declared and not drawn_from) or (named and named not in drawn_from):
            rule_text = f"nearest(by={rule.args['by']!r})" if rule.args.get("by") else "nearest"
            raise SlateMismatch(
                f"the slate needs `{rule_text}`, but the model has only: {', '.join(sorted(parts))}",
                tip="train tm.cooccurrence() or tm.spectral(), or retrieve with tm.popular() and tm.trending() only",
            )


def fact_columns(rules: RuleSet) -> Iterator[tuple[str, str]]:
    """Every `(view, column)` that a rule set reads."""
    for rule in (*rules.filter, *rules.score, *rules.order):
        if "view" in rule.args:
            yield rule.args["view"], rule.args["column"]
        for column, view in rule.args.get("reads", {}).items():
            yield view, column


def facts_of(rules: RuleSet) -> dict[str, tuple[str, ...]]:
    """The feature columns that a rule set reads: view -> columns."""
    found: dict[str, set[str]] = {}
    for view, column in fact_columns(rules):
        found.setdefault(view, set()).add(column)
    return {view: tuple(sorted(columns)) for view, columns in sorted(found.items())}
