"""Installed libraries: every distribution with its version, the hash of its files, and whether it is needed."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata

from tidemill.core.installed_packages import InstalledPackage, installed_packages
from tidemill.core.record_format import Record

#: Files written by the installer, not part of the distribution.
_OF_INSTALLERS = ("INSTALLER", "REQUESTED", "RECORD", "direct_url.json", "uv_cache.json", "uv_build.json")
#: RECORD file -> its modification time and hash, so that a process that trains twice reads it once.
_read: dict[str, tuple[int, str]] = {}


class InstalledLibrary(Record, frozen=True):
    """One installed distribution: its version, and a sha256 over its files (empty: it lists none).

    `needed`: the process has loaded it, or tidemill or a loaded library requires it.
    """

    version: str = ""
    files: str = ""
    needed: bool = False


def installed_libraries() -> dict[str, InstalledLibrary]:
    """Every installed distribution except tidemill by normalised name; of duplicates the imported one."""
    found: dict[str, InstalledPackage] = {}
    for one in installed_packages():
        if one.name:
            found.setdefault(plain_name(one.name), one)
    needed = _needed(found)
    return {
        name: InstalledLibrary(version=one.version, files=_files_hash(one), needed=name in needed)
        for name, one in sorted(found.items())
        if name != "tidemill"
    }


def library_differences(
    recorded: Mapping[str, InstalledLibrary], here: Mapping[str, InstalledLibrary]
) -> Iterable[str]:
    """A sentence for each needed library that differs here or is not installed."""
    for name, before in sorted(recorded.items()):
        now = here.get(name)
        if not before.needed:
            continue
        if now is None:
            yield f"{name}: recorded {before.version}, not installed here"
        elif before.version != now.version:
            yield f"{name}: recorded {before.version}, here {now.version}"
        elif before.files and now.files and before.files != now.files:
            yield f"{name} {now.version}: its files differ from those recorded"


def plain_name(name: str) -> str:
    """A distribution's normalised name (PEP 503).

    >>> plain_name("Scikit_Learn")
    'scikit-learn'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _needed(found: Mapping[str, InstalledPackage]) -> set[str]:
    loaded = {name.partition(".")[0] for name in sys.modules}
    waiting = ["tidemill", *(plain_name(name) for top in loaded for name in _homes().get(top, ()))]
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found and name not in needed:
            needed.add(name)
            waiting.extend(_required_by(found[name]))
    return needed


@cache
def _homes() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _required_by(one: InstalledPackage) -> Iterable[str]:
    """Names of its unconditional requirements; requirements of its extras are either loaded or not needed."""
    for line in one.requires:
        match = re.match(r"[A-Za-z0-9][\w.-]*", line)
        if match and not re.search(r"extra\s*==", line):
            yield plain_name(match[0])


def _files_hash(one: InstalledPackage) -> str:
    """sha256 over the lines of RECORD for the distribution's own files: installer files differ between machines, and
    so do scripts, which contain the path of their interpreter.
    """
    try:
        modified = one.record.stat().st_mtime_ns
    except OSError:
        return ""
    if _read.get(str(one.record), (0, ""))[0] != modified:
        lines = one.record.read_text(encoding="utf-8", errors="replace").splitlines()
        own = sorted(line for line in lines if _is_own(line))
        _read[str(one.record)] = (modified, hashlib.sha256("\n".join(own).encode()).hexdigest())
    return _read[str(one.record)][1]


def _is_own(line: str) -> bool:
    path, _, rest = line.rpartition(",")[0].rpartition(",")
    return bool(rest) and not path.startswith(("..", "/")) and path.rpartition("/")[2] not in _OF_INSTALLERS
