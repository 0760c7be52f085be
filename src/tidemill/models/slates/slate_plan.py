"""A slate plan: arrays over the catalogue, computed once per version of the facts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from tidemill.core.errors import IdsMismatch
from tidemill.core.records.release import Rule, RuleSet
from tidemill.models.recommender.event_facts import ItemFactColumns
from tidemill.models.recommender.interactions import F32, I32, I64, Mask
from tidemill.models.recommender.recent_popularity import popularity_order, recent_popularity
from tidemill.models.recommender.recommender import Recommender
from tidemill.models.slates.shortlist import Column
from tidemill.models.slates.slate_spec import fact_columns

#: Days of the fallback window of a slate without a `fallback=` rule.
FALLBACK_DAYS = 30


class SlatePlan:
    """Arrays over the catalogue (n items) for one version of the facts; computed in linear time, then read-only."""

    def __init__(self, recommender: Recommender, rules: RuleSet, facts: ItemFactColumns) -> None:
        self.version = facts.version
        self.items = facts.items
        self.n = len(facts.items)
        self.codes = _codes(recommender, facts)
        self.ids: npt.NDArray[np.object_] = np.array(facts.items, dtype=object)
        self.columns: dict[str, Column] = {column: facts.column(view, column) for view, column in fact_columns(rules)}
        self.allowed: Mask = _allowed(rules, self.columns, self.n)
        self.n_allowed = int(self.allowed.sum())
        self.prior: F32 = _prior(recommender, facts, self.n)
        chain = _chain(recommender, rules.fallback, facts, self.n)
        #: Allowed codes, best first: the fallback's window, then all-time popularity, then the fixed order.
        self.fallback: I32 = chain[self.allowed[chain]]
        #: Position of every item in that order, which also breaks ties of scores.
        self.place: I32 = np.empty(self.n, np.int32)
        self.place[chain] = np.arange(self.n, dtype=np.int32)
        #: For each count-based retrieval rule, its codes.
        self.drawn = {
            rule.name + str(rule.args["days"]): _most(rule, facts, self.allowed)
            for rule in rules.retrieve
            if "days" in rule.args
        }
        #: For each ordering rule, a code for each value of its fact, and its strength.
        self.groups = [(_groups(self.columns[rule.args["column"]]), rule.args["strength"]) for rule in rules.order]
        self._told = _told(rules, self.drawn, facts, self.n)

    def reason(self, code: int) -> str:
        """The reason for an item without a history item behind it."""
        for mask, text in self._told:
            if mask[code]:
                return text
        return "next in the catalogue"


def _codes(recommender: Recommender, facts: ItemFactColumns) -> Mapping[str, int]:
    n = recommender.n_items
    if list(facts.items[:n]) != list(recommender.items):
        raise IdsMismatch("the catalogue of the facts does not start with the bundle's items in the bundle's order")
    if len(facts.items) == n:
        return recommender.codes
    codes = recommender.codes | {item: n + i for i, item in enumerate(facts.items[n:])}
    if len(codes) != len(facts.items):
        raise IdsMismatch("the catalogue of the facts contains an item twice")
    return codes


def _allowed(rules: RuleSet, columns: Mapping[str, Column], n: int) -> Mask:
    allowed = np.ones(n, np.bool_)
    for rule in rules.filter:
        if rule.name == "eligible":
            allowed &= eligible_mask(rule, columns)
    return allowed


def eligible_mask(rule: Rule, columns: Mapping[str, Column]) -> Mask:
    """The items of the catalogue that one `eligible` rule keeps."""
    values, present = columns[rule.args["column"]]
    passes: Mask = np.where(present, values.astype(np.bool_), bool(rule.args["missing"]))
    return passes


def _prior(recommender: Recommender, facts: ItemFactColumns, n: int) -> F32:
    """Recent popularity from live counts; from training if there are none."""
    live = recent_popularity(recommender.prior.steps, facts.counts)
    if live.any():
        return live
    return np.concatenate((recommender.popularity, np.zeros(n - recommender.n_items, np.float32)))


def _chain(recommender: Recommender, fallback: Rule | None, facts: ItemFactColumns, n: int) -> I32:
    counted = np.asarray(facts.counts(None), np.float64)
    if not counted.any():
        counted = np.concatenate((recommender.popularity, np.zeros(n - recommender.n_items)))
    return popularity_order(facts.counts(fallback.args["days"] if fallback else FALLBACK_DAYS), counted)


def _most(rule: Rule, facts: ItemFactColumns, allowed: Mask) -> I32:
    """The `n` allowed items with the most events in a rule's window, of those with any."""
    counts = np.where(allowed, np.asarray(facts.counts(rule.args["days"])), 0)
    taken = np.flatnonzero(counts)
    best = taken[np.lexsort((taken, -counts[taken]))]
    return best[: rule.args["n"]].astype(np.int32)


def _groups(column: Column) -> I32:
    """A code for each value of a fact; -1 if missing."""
    values, present = column
    groups = np.full(len(values), -1, np.int32)
    if present.any():
        groups[present] = np.unique(np.asarray(values)[present].astype(str), return_inverse=True)[1]
    return groups


def _told(rules: RuleSet, drawn: Mapping[str, I32], facts: ItemFactColumns, n: int) -> list[tuple[Mask, str]]:
    reasons: list[tuple[Mask, str]] = []
    for rule in rules.retrieve:
        if "days" in rule.args:
            mask = np.zeros(n, np.bool_)
            mask[drawn[rule.name + str(rule.args["days"])]] = True
            reasons.append((mask, f"{rule.name} over {rule.args['days']} days"))
    last: I64 = np.asarray(facts.counts(rules.fallback.args["days"] if rules.fallback else FALLBACK_DAYS))
    name = rules.fallback.name if rules.fallback else "popular"
    days = rules.fallback.args["days"] if rules.fallback else FALLBACK_DAYS
    return [
        *reasons,
        (last > 0, f"{name} over {days} days"),
        (np.asarray(facts.counts(None)) > 0, "popular of all time"),
    ]
