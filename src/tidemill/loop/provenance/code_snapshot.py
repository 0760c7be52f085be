"""Code snapshot of a training: mill.py and every file of the project that it imports.

Stored as a sealed folder of Python sources; equal code is stored once. It does not include files and services that
functions read: a training reads published tables only.
"""

from __future__ import annotations

import ast
import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tidemill.core.ports import Blobs
from tidemill.loop.project.project import FILE
from tidemill.release import seal_bundle, verify_bundle

KIND, CHANGES = "code", "changes"
_MOST_DIFF = 2 * 1024 * 1024


def project_sources(project: Path) -> dict[str, bytes]:
    """Path within the project -> content, for mill.py and all files of the project that it imports.

    Imports are read from the source, so the result is the same in every process. Raises `SyntaxError` for a file that
    is not valid Python.
    """
    found: dict[str, bytes] = {}
    waiting = [project / FILE]
    while waiting:
        file = waiting.pop()
        name = file.relative_to(project).as_posix()
        if name in found:
            continue
        found[name] = file.read_bytes()
        for module in _imported(ast.parse(found[name]), name):
            waiting.extend(_files_of(project, module))
    return dict(sorted(found.items()))


def keep_code(blobs: Blobs, project: Path) -> str:
    """Store the project's code as a blob and return its name: 64 hex digits.

    Raises `BundleRefused` for a file that cannot be stored: larger than a megabyte, or with an unusual name.
    """
    with tempfile.TemporaryDirectory(prefix="tidemill-code-") as place:
        folder = Path(place) / KIND
        for name, content in project_sources(project).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        sha256 = seal_bundle(folder, holds="modules")
        blobs.put_folder(f"{KIND}:{sha256}", str(folder))
    return sha256


def git_output(project: Path, *words: str) -> str | None:
    """The output of git; `None` without git or a checkout."""
    try:
        found = subprocess.run(["git", "-C", str(project), *words], capture_output=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.decode("utf-8", "replace")


def keep_changes(blobs: Blobs, project: Path, commit: str) -> str:
    """Store the diff between the project's code and `commit`, by git, and return its name; empty without a difference
    or without git.
    """
    names = list(project_sources(project))
    diff = git_output(project, "diff", "--no-color", "--no-ext-diff", commit, "--", *names)
    if not diff or len(diff) > _MOST_DIFF:
        return ""
    with tempfile.TemporaryDirectory(prefix="tidemill-changes-") as place:
        folder = Path(place) / CHANGES
        folder.mkdir()
        changes = {"commit": commit, "diff": diff}
        (folder / "changes.json").write_bytes(msgspec.json.encode(changes))
        sha256 = seal_bundle(folder)
        blobs.put_folder(f"{CHANGES}:{sha256}", str(folder))
    return sha256


def kept_code(blobs: Blobs, sha256: str) -> dict[str, bytes]:
    """Path -> content of the stored code of this name; `NoSuchBlob`, or `BundleCorrupt` naming each changed file."""
    folder = Path(blobs.folder(f"{KIND}:{sha256}"))
    manifest = verify_bundle(folder, sha256, holds="modules")
    return {name: (folder / name).read_bytes() for name in manifest.files}


def write_code(code: dict[str, bytes], folder: Path) -> None:
    """Write stored code to a folder, as a project that can be loaded."""
    for name, content in code.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def changed_files(before: dict[str, bytes], after: dict[str, bytes]) -> tuple[str, ...]:
    """The changes of each file between two versions of the code.

    >>> changed_files({"mill.py": b"1", "old.py": b""}, {"mill.py": b"2", "new.py": b""})
    ('mill.py changed', 'new.py added', 'old.py removed')
    """
    changes = []
    for name in sorted({*before, *after}):
        if name not in before:
            changes.append(f"{name} added")
        elif name not in after:
            changes.append(f"{name} removed")
        elif hashlib.sha256(before[name]).digest() != hashlib.sha256(after[name]).digest():
            changes.append(f"{name} changed")
    return tuple(changes)


def _imported(tree: ast.Module, name: str) -> Iterator[str]:
    """Dotted names that a file may import; relative imports of its package are made absolute."""
    package = name.split("/")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - (node.level - 1)] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)
        elif isinstance(node, ast.Call) and _calls_import(node):
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _calls_import(node: ast.Call) -> bool:
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    return called in ("import_module", "__import__") and bool(node.args)


def _files_of(project: Path, module: str) -> Iterator[Path]:
    """The project's files that run on importing `module`: its own, and `__init__.py` of each package above it."""
    parts = [part for part in module.split(".") if part]
    for length in range(1, len(parts) + 1):
        place = project.joinpath(*parts[:length])
        for file in (place / "__init__.py", place.with_name(place.name + ".py")):
            if file.is_file() and "site-packages" not in file.parts:
                yield file
                break
