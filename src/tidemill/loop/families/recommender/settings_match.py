"""Settings match: compares settings and rules of a release with those of mill.py; an open setting matches any value."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from tidemill.core.duration import duration
from tidemill.core.records.release import Card, Release
from tidemill.core.search_space import SearchGrid, SearchRange
from tidemill.loop.project.declarations import RecommenderDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.models import Auto, LearnerSpec


def trained_release(stores: Stores, release: Release) -> Release:
    """The release that was trained: `release` itself, or the one that it is a refresh of."""
    return stores.releases.get(release.card.refreshed.of) if release.card.refreshed else release


def declaration_difference(
    graph: ProjectGraph, model: RecommenderDeclaration, release: Release, trained: Release
) -> tuple[str, str] | None:
    """In what a release of `model` differs from mill.py, and the command to type; `None` if it does not."""
    again = f"tidemill train {model.name}"
    setting = first_difference(model.learn, trained.card)
    if setting:
        return f"the setting `{setting}` of {trained.name} differs from mill.py", again
    views = graph.item_views(model)
    modules = {name: hashlib.sha256(source).hexdigest() for name, source in model.slate.modules().items()}
    pinned = (release.rules, release.facts, release.rule_modules, release.log)
    if pinned != (model.slate.rules(views), dict(model.slate.facts(views)), modules, model.log):
        return f"the rules of {release.name} differ from mill.py", f"{again} --rules-only"
    return None


def first_difference(spec: LearnerSpec, card: Card) -> str | None:
    """The first setting in which `spec` and the card differ (`learner` for another learner); `None` if they match."""
    if isinstance(spec, Auto):
        return "learner" if spec.only and card.learner not in spec.only else None
    if spec.name != card.learner:
        return "learner"
    return _other(spec, card.parameters)


def _other(spec: LearnerSpec, learned: Mapping[str, Any]) -> str | None:
    for name in spec.__struct_fields__:
        value = getattr(spec, name)
        if name in learned and not _agree(value, learned[name]):
            return name
    inner, members = spec.blend_members(), learned.get("members", {})
    if set(members) != set(inner):
        return "members"
    for name, member in inner.items():
        other = "learner" if members[name].get("learner") != member.name else _other(member, members[name])
        if other:
            return f"{name}.{other}"
    return None


def _agree(given: Any, learned: Any) -> bool:
    if given is None or isinstance(given, Mapping):  # open, or members, which are compared one by one
        return True
    if isinstance(given, SearchGrid):
        return learned in given.values
    if isinstance(given, SearchRange):
        if given.kind == "duration":
            return duration(given.low) <= duration(learned) <= duration(given.high)
        return bool(given.low <= learned <= given.high)
    return bool(msgspec.to_builtins(given) == msgspec.to_builtins(learned))
