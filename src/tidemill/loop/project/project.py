"""Project discovery: the folder of a project, and its `mill.py` loaded as a `Mill`."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType

from tidemill.core.errors import GraphError, PlaceRefused, ProjectMissing, TidemillError
from tidemill.loop.project.mill import Mill
from tidemill.loop.project.pretrained_folders import place_pretrained

FILE = "mill.py"
#: Projects of other users that this user accepts: absolute folders, one a line.
TRUSTED = Path("~/.config/tidemill/trusted_projects")


def find_project(start: Path) -> Path:
    """The folder at or above `start` that contains a mill.py; raises `ProjectMissing` with the searched folder."""
    start = start.resolve()
    for folder in [start, *start.parents]:
        if (folder / FILE).is_file():
            return folder
    raise ProjectMissing(
        f"no {FILE} in {start} or above it", tip="`tidemill init NAME` writes a project, `--project DIR` names one"
    )


def _check_owner(file: Path) -> None:
    """Refuse a file of somebody else, which would run with this user's rights, as git does with `safe.directory`."""
    owners = {one.stat().st_uid for one in (file, file.resolve().parent)}
    if owners <= {os.geteuid(), 0}:
        return
    folder = str(file.resolve().parent)
    accepted = TRUSTED.expanduser()
    if accepted.is_file() and folder in accepted.read_text(encoding="utf-8").splitlines():
        return
    raise PlaceRefused(
        f"{file} belongs to another user, and loading it would run that user's code as you",
        tip=f"if you trust it: mkdir -p {TRUSTED.parent} && echo {shlex.quote(folder)} >> {TRUSTED}",
    )


class _SourceLoader(SourceFileLoader):
    """Compiles the file each time: cached bytecode may be of an earlier content of the same size and second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _where(error: BaseException, file: Path) -> str:
    """The file, and its last line that was run before the error."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file.name}, line {lines[-1]}" if lines else file.name


def load_mill(project: Path) -> Mill:
    """The only `Mill` in the project file. Its folder is importable while it loads and afterwards."""
    file = project / FILE
    if not file.is_file():
        raise ProjectMissing(f"no {FILE} in {project}", tip="`tidemill init NAME` writes a project")
    _check_owner(file)
    if str(project) not in sys.path:
        sys.path.insert(0, str(project))
    name = "tidemill_project"
    spec = importlib.util.spec_from_file_location(name, file, loader=_SourceLoader(name, str(file)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except TidemillError as error:
        error.message = f"{_where(error, file)}: {error.message}"
        raise
    except (Exception, SystemExit) as error:
        raise GraphError(
            f"{_where(error, file)} does not load: {type(error).__name__}: {error}",
            tip="run `python mill.py` to see the whole trace",
        ) from error
    mills = [value for value in vars(module).values() if isinstance(value, Mill)]
    if len(mills) != 1:
        raise GraphError(f"{file.name} defines {len(mills)} mills", tip='write `mill = tm.Mill("name")` once')
    place_pretrained(mills[0], project.resolve())
    return mills[0]
