"""Entry points of the installed packages: how back-ends, sources and learners of other packages are found."""

from __future__ import annotations

import sys
from functools import cache
from importlib import metadata
from importlib.metadata import EntryPoint

from tidemill.core.errors import SettingRefused


def entry_points(group: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name. A name has several where more than one package registers it."""
    return _installed(tuple(sys.path)).get(group, {})


def only_one(points: list[EntryPoint], noun: str) -> EntryPoint:
    """The only entry point of a name; raises `SettingRefused`, which names the packages, where there are several."""
    if len(points) > 1:
        sources = " and ".join(sorted(point.dist.name if point.dist else point.value for point in points))
        raise SettingRefused(
            f"{sources} both register a {noun} `{points[0].name}`", tip="rename one of them, or uninstall its package"
        )
    return points[0]


@cache
def _installed(path: tuple[str, ...]) -> dict[str, dict[str, list[EntryPoint]]]:
    """The entry points of the packages on `path`, which is `sys.path`: looking for them reads every package's files."""
    all_points, found = metadata.entry_points(), dict[str, dict[str, list[EntryPoint]]]()
    for group in all_points.groups:
        for point in all_points.select(group=group):
            found.setdefault(group, {}).setdefault(point.name, []).append(point)
    return found
