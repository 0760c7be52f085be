"""Installed packages: their versions and requirements, and the entry points that register back-ends and learners.

Reading the metadata of all packages takes 0.3 s of CPU time, so a process caches it for each folder of `sys.path` until
the folder changes.
"""

from __future__ import annotations

import sys
from functools import cache, cached_property
from importlib import metadata
from importlib.metadata import EntryPoint
from pathlib import Path

from tidemill.core.errors import SettingRefused


class InstalledPackage:
    """An installed distribution: its name, version, requirements and entry points, each read on first use."""

    def __init__(self, distribution: metadata.Distribution) -> None:
        self._distribution = distribution

    @cached_property
    def _fields(self) -> tuple[str, str, tuple[str, ...]]:
        fields = self._distribution.metadata
        requires = tuple(fields.get_all("Requires-Dist") or self._distribution.requires or ())
        return fields["Name"], fields["Version"], requires

    @property
    def name(self) -> str:
        """The name as the package writes it."""
        return self._fields[0]

    @property
    def version(self) -> str:
        """The version as the package writes it."""
        return self._fields[1]

    @property
    def requires(self) -> tuple[str, ...]:
        """Its requirements (PEP 508), including those of its extras."""
        return self._fields[2]

    @property
    def record(self) -> Path:
        """The path of its file list, which may not exist."""
        return Path(str(getattr(self._distribution, "_path", ""))) / "RECORD"

    @cached_property
    def entry_points(self) -> dict[str, list[EntryPoint]]:
        """Its entry points by group."""
        found: dict[str, list[EntryPoint]] = {}
        for point in self._distribution.entry_points:
            found.setdefault(point.group, []).append(point)
        return found


def installed_packages() -> list[InstalledPackage]:
    """Every installed distribution in the order of `sys.path`; of two with the same name, Python imports the first."""
    return [package for folder in sys.path for package in _packages(folder, _modified(folder))]


def entry_points(group: str) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name. A name has several if more than one package registers it."""
    found: dict[str, list[EntryPoint]] = {}
    seen = set()
    for package in installed_packages():
        points = package.entry_points.get(group)
        if points and package.name not in seen:
            seen.add(package.name)
            for point in points:
                found.setdefault(point.name, []).append(point)
    return found


def only_one(points: list[EntryPoint], noun: str) -> EntryPoint:
    """The only entry point of a name. Raises `SettingRefused` with the packages' names if there are several."""
    if len(points) > 1:
        sources = " and ".join(sorted(point.dist.name if point.dist else point.value for point in points))
        raise SettingRefused(
            f"{sources} both register a {noun} `{points[0].name}`", tip="rename one of them, or uninstall its package"
        )
    return points[0]


@cache
def _packages(folder: str, modified: int) -> list[InstalledPackage]:
    """The packages in a folder. `modified` is its modification time, part of the cache key."""
    return [InstalledPackage(found) for found in metadata.distributions(path=[folder])]


def _modified(folder: str) -> int:
    try:
        return Path(folder).stat().st_mtime_ns
    except OSError:
        return 0
