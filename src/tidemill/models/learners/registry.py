"""The registry of learners: classes looked up by entry point; built-in learners use the same group as third-party ones.

    [project.entry-points."tidemill.learners"]
    nearby = "my_package.nearby:Nearby"

A class in the project's own modules is also found after `mill.py` has imported it. Classes are loaded on first use, and
a bundle is served without the learner that trained it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any

import msgspec

from tidemill.core.errors import BackendMissing, SettingRefused, nearest
from tidemill.core.installed_packages import entry_points, only_one
from tidemill.core.library_errors import refuse_limit
from tidemill.models.learners.learner import LearnerSpec

GROUP = "tidemill.learners"


def learner_names() -> list[str]:
    """The names of all installed learners, sorted."""
    return sorted(_points())


def is_known(name: str) -> bool:
    """Whether there is a learner with this name, even if it cannot be imported."""
    return name in _points() or name in _imported()


def learner_class(name: str) -> type[LearnerSpec]:
    """The class of the learner `name`.

    Raises `BackendMissing` if it is not installed or cannot be imported, and `SettingRefused` if the entry point names
    something else.
    """
    points = _points()
    if name in points:
        return _loaded(only_one(points[name], "learner"))
    if name in (imported := _imported()):
        return imported[name]
    raise BackendMissing(
        f"no learner `{name}` is installed: {nearest(name, points)}",
        tip=f"install the package that registers `{name}` in the entry point group {GROUP}",
    )


def check_registered(spec: LearnerSpec) -> None:
    """Raise `SettingRefused` if its name is registered for another class: it could not be loaded again."""
    points = _points()
    if spec.name in points and (found := learner_class(spec.name)) is not type(spec):
        raise SettingRefused(
            f"the learner `{spec.name}` is {type(spec).__module__}.{type(spec).__qualname__}, and `{spec.name}` is "
            f"registered as {found.__module__}.{found.__qualname__}",
            tip="give your class another tag",
        )


def learner_of(name: str, settings: Mapping[str, Any]) -> LearnerSpec:
    """The learner of this name with these settings, as returned by `settings()`.

    >>> from tidemill.models.learners.item_knn import item_knn
    >>> learner_of("item_knn", item_knn(shrinkage=3.0).settings()) == item_knn(shrinkage=3.0)
    True

    Raises `SettingRefused` for unknown settings, and what `learner_class` raises.
    """
    kind = learner_class(name)
    plain = {key: value for key, value in settings.items() if key != "learner"}
    members = plain.pop("members", {})
    try:
        spec: LearnerSpec = msgspec.convert({**plain, "learner": name}, kind)
        if members:
            parts = {part: learner_of(member["learner"], member) for part, member in members.items()}
            spec = msgspec.structs.replace(spec, members=parts)
    except (msgspec.ValidationError, AttributeError, KeyError, TypeError) as problem:
        raise SettingRefused(f"invalid settings of `{name}`: {problem}") from problem
    return spec


def auto_learners(only: Sequence[str] = ()) -> dict[str, type[LearnerSpec]]:
    """The learners that `tm.auto()` tries, cheapest first: those with these names, or all with a position there."""
    kinds = {name: learner_class(name) for name in only or learner_names()}
    orders = {name: kind.CAPABILITIES.auto_order for name, kind in kinds.items()}
    first = sorted((order, name) for name, order in orders.items() if order is not None)
    last = [name for name, order in orders.items() if order is None and only]
    return {name: kinds[name] for name in [*(name for _, name in first), *last]}


def distribution_of(name: str) -> str | None:
    """Name and version of the package of a learner; `None` for tidemill's own and those of a project."""
    for point in _points().get(name, ()):
        if point.dist is not None and point.dist.name != "tidemill":
            return f"{point.dist.name}=={point.dist.version}"
    return None


def _points() -> dict[str, list[EntryPoint]]:
    found = entry_points(GROUP)
    if not found:
        raise BackendMissing(f"no learner is registered in {GROUP}", tip="reinstall tidemill")
    return found


def _loaded(point: EntryPoint) -> type[LearnerSpec]:
    try:
        kind: Any = point.load()
    except (ImportError, AttributeError) as problem:
        refuse_limit(problem)
        source = point.dist.name if point.dist else point.value
        raise BackendMissing(
            f"the learner `{point.name}` of {source} cannot be loaded: {problem}",
            tip=f"repair or uninstall {source}",
        ) from problem
    if not isinstance(kind, type) or not issubclass(kind, LearnerSpec) or kind.__struct_config__.tag != point.name:
        raise SettingRefused(
            f"the entry point `{point.name}` names {point.value}, which is not a learner of that name",
            tip=f'name a subclass of LearnerSpec with tag="{point.name}"',
        )
    return kind


def _imported() -> dict[str, type[LearnerSpec]]:
    """Learners by name whose classes this process has imported, with or without an entry point."""
    todo, found = [LearnerSpec], dict[str, type[LearnerSpec]]()
    while todo:
        todo.extend(below := todo.pop().__subclasses__())
        found |= {str(kind.__struct_config__.tag): kind for kind in below}
    return found
