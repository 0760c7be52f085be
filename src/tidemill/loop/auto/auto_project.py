"""Project files generated from a file of rows: the mill.py of one tabular model and the settings of its source."""

from __future__ import annotations

import hashlib
import keyword
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tidemill.core.contract.contract import ROW
from tidemill.core.errors import UsageError
from tidemill.core.kinds import KINDS
from tidemill.loop.auto.infer_schema import RESERVED, names_people
from tidemill.loop.project.stores import STATE
from tidemill.models.learners.auto import Prefer
from tidemill.sources.files.column_kinds import FileColumn
from tidemill.sources.files.decompress import file_sha256
from tidemill.sources.files.table_file import TableFile

#: Before the digest of both files in `tidemill.toml`, by which an edited project is recognised.
_MARK = "# Written by `tidemill auto` "
_RELEASED = "has a project with a release"
#: The event time of rows without one: the time of their arrival.
_ARRIVED = "seen_at"


@dataclass(frozen=True)
class AutoRequest:
    """A request for a project from a file: the model's name, its target and options."""

    name: str
    file: TableFile
    target: str
    minutes: float = 2.0
    prefer: Prefer = "simple"
    #: The event time, `None` for the only time column; and the time zone of times without one.
    time: str | None = None
    zone: str | None = None
    group: str | None = None
    left_out: Sequence[str] = ()
    #: Attributes, or `ATTRIBUTE=REFERENCE GROUP`.
    fairness: Sequence[str] = ()
    helps: str = ""
    could_harm: str = ""


def write_auto_project(folder: Path, asked: AutoRequest) -> list[str]:
    """Write mill.py and tidemill.toml into `folder`; returns the names of the written files, none if they are there.

    A project that it wrote before, without a release and without an edit, is written again; one with a release stays if
    the request and the file are the same. Raises `UsageError` if
    anything else is in the folder.
    """
    mill, source = mill_text(asked), source_url(asked, folder)
    settings = (
        "# Settings that are not listed here have their defaults.\n"
        f"[laptop]\nsource_roots = [{_quoted(_relative_path(asked, folder))}]\n\n"
        f"[laptop.sources]\nrows = {_quoted(source)}\n"
        f"# sha256 of the file: {file_sha256(asked.file.path)}\n"
    )
    settings += f"{_MARK}{_digest(mill, settings)}\n"
    if folder.exists() and any(folder.iterdir()):
        kept = _kept_because(folder)
        if kept == _RELEASED and _texts(folder) == (mill, settings):
            return []
        if kept:
            further = f"cd {folder} && tidemill run && tidemill train {asked.name}"
            tip = f"train it on what is new in the file with: {further}; or " if kept == _RELEASED else ""
            raise UsageError(f"{folder} {kept}; nothing was written", tip=f"{tip}choose another --name")
    shutil.rmtree(folder / STATE, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mill.py").write_text(mill, encoding="utf-8")
    (folder / "tidemill.toml").write_text(settings, encoding="utf-8")
    (folder / ".gitignore").write_text(".tidemill/\n__pycache__/\n", encoding="utf-8")
    return [".gitignore", "mill.py", "tidemill.toml"]


def _kept_because(folder: Path) -> str:
    """Why the contents of a folder stay; empty for a project of this module that has no release and was not edited."""
    try:
        mill, settings = _texts(folder)
    except (OSError, UnicodeDecodeError):
        return "already exists and is not empty"
    others = {path.name for path in folder.iterdir()} - {".gitignore", "mill.py", "tidemill.toml", STATE, "__pycache__"}
    before, mark, digest = settings.rpartition(_MARK)
    if not mark or others:
        return "already exists and is not empty"
    if digest.strip() != _digest(mill, before):
        return "has a project whose mill.py or tidemill.toml was edited"
    return _RELEASED if any((folder / STATE / "blobs").glob("bundle:*")) else ""


def _texts(folder: Path) -> tuple[str, str]:
    mill, settings = ((folder / name).read_text(encoding="utf-8") for name in ("mill.py", "tidemill.toml"))
    return mill, settings


def _digest(mill: str, settings: str) -> str:
    return hashlib.sha256(f"{mill}\0{settings}".encode()).hexdigest()[:16]


def mill_text(asked: AutoRequest) -> str:
    """The project file."""
    target = asked.file.column(asked.target)
    time = event_time(asked)
    key_column = _key(asked, target)
    key = key_column.name if key_column else None
    left_out = {asked.file.column(name).name for name in asked.left_out}
    group = asked.file.column(asked.group).name if asked.group else None
    kept = _rows_file(asked).columns
    lines = [_line(column, key=key, time=time, zone=asked.zone) for column in kept]
    if time is None:
        lines.append(f'    {_arrived(kept)}: datetime = tm.event_time(zone="UTC")  # when it arrived')
    inputs = [
        column.name
        for column in asked.file.columns
        if column.name not in {target.name, key, group, *left_out} and (column == time or column.kind != "time")
    ]
    how = "stream" if time is not None else "snapshot"
    best = "" if asked.prefer == "simple" else ', prefer="best"'
    arguments = [
        f'    "{asked.name}",',
        "    examples=rows,",
        f"    target={_quoted(target.name)},",
        f"    inputs=[{_wrapped(inputs)}],",
        f"    learn=tm.auto(minutes={asked.minutes:g}{best}),",
    ]
    arguments += [f"    group={_quoted(group)},  # the rows of one group stay on one side of a split"] if group else []
    if asked.fairness:
        given = [name.partition("=") for name in asked.fairness]
        pairs = [(_quoted(asked.file.column(name).name), _quoted(group)) for name, _, group in given]
        plain = all(not group for *_, group in given)
        names = ", ".join(name if plain else f"{name}: {group}" for name, group in pairs)
        arguments.append(f"    fairness={f'[{names}]' if plain else f'{{{names}}}'},")
    unsaid = f"Not specified: the model was generated from {asked.file.path.name} by `tidemill auto`."
    arguments += [
        f"    helps={_quoted(asked.helps or unsaid)},",
        f"    could_harm={_quoted(asked.could_harm or unsaid)},",
    ]
    body = "\n".join(
        [
            f'"""One model of the rows of {asked.file.path.name}: it predicts {target.name}."""',
            "",
            "from datetime import datetime",
            "",
            "import tidemill as tm",
            "",
            f"mill = tm.Mill({_quoted(asked.name)})",
            "",
            "",
            "class Row(tm.Event):",
            *lines,
            "",
            "",
            f'rows = mill.{how}("rows", Row, key={_quoted(key or ROW)})',
            "",
            f"{asked.name} = mill.model(",
            *arguments,
            ")",
        ]
    )
    return body + "\n"


def model_name(folder: str) -> str:
    """A valid model name for mill.py, from the name of its folder."""
    name = re.sub(r"\W+", "_", folder)
    return name if name.isidentifier() and not keyword.iskeyword(name) and name not in RESERVED else f"model_{name}"


def _arrived(columns: Sequence[FileColumn]) -> str:
    name = _ARRIVED
    while name in {column.name for column in columns}:
        name += "_"
    return name


def _relative_path(asked: AutoRequest, folder: Path) -> str:
    return os.path.relpath(asked.file.path.resolve(), folder.resolve())


def source_url(asked: AutoRequest, folder: Path) -> str:
    """The URL by which the project reads the file."""
    path = _relative_path(asked, folder).replace("%", "%25").replace("?", "%3F")
    options = _rows_file(asked).options()
    return f"file:{path}?{options}" if options else f"file:{path}"


def _rows_file(asked: AutoRequest) -> TableFile:
    """The file with the columns of the project's rows: a time without a zone that is not the event time stays text."""
    time, text = event_time(asked), asked.file.form in ("csv", "excel")
    kept = [
        column if column == time or column.kind != "time" or column.zoned else replace(column, kind="str", unit=None)
        for column in asked.file.columns
        if text or column == time or column.kind != "time" or column.zoned
    ]
    return replace(asked.file, columns=tuple(kept))


def event_time(asked: AutoRequest) -> FileColumn | None:
    """The event time: the requested column, or the only time column; `None` if there are several."""
    if asked.time is not None:
        return asked.file.column(asked.time)
    times = [column for column in asked.file.columns if column.kind == "time" and not column.optional]
    return times[0] if len(times) == 1 else None


def _key(asked: AutoRequest, target: FileColumn) -> FileColumn | None:
    """The column that identifies a row, if any: texts come before numbers."""
    found = [column for column in asked.file.columns if column.unique and column != target]
    chosen = sorted(found, key=lambda column: (not names_people(column), column.kind != "str"))[:1]
    if chosen and (chosen[0].kind == "str" or re.search(r"(^|_)(id|key|number|no)\Z", chosen[0].name, re.IGNORECASE)):
        return chosen[0]
    return None


def notes(asked: AutoRequest) -> list[str]:
    """The decisions made from the file, as sentences."""
    sentences = list(asked.file.notes)
    key, time = _key(asked, asked.file.column(asked.target)), event_time(asked)
    if key is not None:
        sentences.append(
            f"{key.source} identifies {'a person' if names_people(key) else 'a row'}, so it is not an input"
        )
    if time is not None and asked.time is None:
        sentences.append(f"{time.source} is used as the event time; --time names another column")
    unused = [column.source for column in asked.file.columns if column.kind == "time" and column != time]
    if unused:
        sentences.append(f"times are not inputs: {', '.join(unused)}; --time COLUMN names the event time")
    options = _rows_file(asked).options()
    if options not in ("", "header=true"):
        sentences.append(f"read with these options, which --options can change: {options}")
    return sentences


def _line(column: FileColumn, *, key: str | None, time: FileColumn | None, zone: str | None) -> str:
    kind = KINDS[column.kind].python.__name__
    if column == time:
        about = f'zone={_quoted(zone or "UTC")}, ambiguous="earliest", nonexistent="forward"'
        return f"    {column.name}: datetime = tm.event_time({about})"
    if column.name == key and column.kind == "str":
        return f"    {column.name}: str = tm.{'subject' if names_people(column) else 'item'}()"
    return f"    {column.name}: {kind}{'' if column.name == key else ' | None = None'}"


def _wrapped(names: Sequence[str]) -> str:
    """A list of names, broken into lines if it is long."""
    quoted = [_quoted(name) for name in names]
    if sum(len(one) + 2 for one in quoted) < 90:
        return ", ".join(quoted)
    lines, line = [], "        "
    for one in quoted:
        if len(line) + len(one) > 110:
            lines.append(line.rstrip())
            line = "        "
        line += f"{one}, "
    return "\n" + "\n".join([*lines, line.rstrip()]) + "\n    "


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'
