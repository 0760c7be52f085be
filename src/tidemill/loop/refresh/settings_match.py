"""Settings match: compares the settings of a release with those of mill.py; an open setting matches any value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tidemill.core.duration import duration
from tidemill.core.records.release import Card
from tidemill.core.search_space import SearchGrid, SearchRange
from tidemill.models import Auto, LearnerSpec


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
