"""File source: a file, a folder or a glob, whose files may grow, be added, arrive late or be delivered twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from tidemill.core.contract.contract import Contract
from tidemill.core.errors import SettingError, SourceMissing, nearest
from tidemill.core.row_ids import DECLARED_NUMBERS
from tidemill.core.source_read import ReadRequest, SourceRead, SourceState, SplitReader
from tidemill.sources.files.file_reader import FileReading
from tidemill.sources.files.file_registry import FileRegistry
from tidemill.sources.files.file_state import FORMAT, FileSourceState
from tidemill.sources.files.file_url import parse_file_url
from tidemill.sources.files.mapping import check_specs

#: Extensions that common tools use for incomplete files; names that start with `.` or `_` are also ignored.
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp", "~")

#: The state kind of all sources that read files.
KIND = "files"


class FileSource:
    """The files of a `file:` URL as rows of a contract.

    Formats are detected by content: CSV, JSON lines, Parquet; plain, gzip or zstd. Each file is read at most once per
    call, whatever number of days it has, and not at all if it has not changed and has no due rows.
    Raises `SettingError` where the URL does not fit the contract.
    """

    kind = KIND

    def __init__(self, url: str, contract: Contract, base: Path) -> None:
        self._url = parse_file_url(url)
        self._contract, self._base = contract, base
        if self._url.columns:
            check_specs(self._url.columns, contract)

    def read(self, request: ReadRequest) -> SourceRead:
        """See `Source.read`. Raises `SourceMissing`, `SourceUnknown`, `SchemaChanged` and `SourceDamaged`, and
        `SettingError` for a file outside the allowed folders.
        """
        return self._read(request, None)

    def read_splits(self, request: ReadRequest, workers: SplitReader) -> SourceRead:
        """See `SplitSource.read_splits`: a split is a file."""
        return self._read(request, workers)

    def _read(self, request: ReadRequest, workers: SplitReader | None) -> SourceRead:
        known = FileSourceState.from_source_state(request.state, DECLARED_NUMBERS)
        if request.nothing_due:
            empty = SourceRead.empty(self._contract, request.state or SourceState.from_entries(KIND, FORMAT, {}))
            return replace(empty, notes=self._new_files(known))
        paths = self._paths(before=bool(known.files))
        if request.roots is not None:
            self._check_inside(paths, request.roots)
        files = {self._name(path): path for path in paths}
        register = FileRegistry(known.files, known.taken, files)
        reading = FileReading(self._contract, self._url, register, known.taken, request, workers)
        reading.files(sorted(files.items()))
        return reading.result(KIND)

    def _new_files(self, known: FileSourceState) -> tuple[str, ...]:
        """A note for each file that no read has seen."""
        names = {file.path for file in known.files}
        found = [self._name(path) for path in self._paths(before=True)]
        return tuple(f"{name} has not been read yet" for name in found if name not in names)

    def _name(self, path: Path) -> str:
        return path.as_posix().removeprefix(self._base.as_posix() + "/")

    def _check_inside(self, paths: Iterable[Path], roots: Iterable[str]) -> None:
        """Raise `SettingError` for a file outside the project's folder and `roots`, also behind a symbolic link."""
        allowed = [self._base.resolve(), *((self._base / Path(root).expanduser()).resolve() for root in roots)]
        inside: set[Path] = set()  # folders, whose links are followed once
        for path in paths:
            folder, is_link = path.parent, path.is_symlink()
            if not is_link and folder in inside:
                continue
            found = path.resolve() if is_link else folder.resolve() / path.name
            if any(found.is_relative_to(root) for root in allowed):
                inside.update(() if is_link else (folder,))
            else:
                raise SettingError(
                    f"the source file:{self._url.path} has the file {found}, which is outside the project",
                    tip=f'if it belongs to the source, add source_roots = ["{found.parent}"] to the profile',
                )

    def _paths(self, *, before: bool) -> list[Path]:
        """The current files of the URL, by name; `before`: an earlier read had files."""
        place = self._base / self._url.path
        if place.is_file():
            return [place]
        if place.is_dir():
            return _finished(place.iterdir())
        if any(letter in self._url.path for letter in "*?["):
            pattern = Path(self._url.path)
            root = Path(pattern.anchor) if pattern.is_absolute() else self._base
            found = _finished(root.glob(str(pattern.relative_to(pattern.anchor))))
            if found or before:
                return found
            raise SourceMissing(f"no file matches {place}", tip="paths are relative to the project's folder")
        if before:
            return []  # it was read before and has since been removed
        near = [path.name for path in place.parent.iterdir()] if place.parent.is_dir() else []
        where = nearest(place.name, near) if near else f"{place.parent} is empty or missing"
        raise SourceMissing(f"there is no file or folder {place}: {where}", tip="put it there, or correct the URL")


def _finished(paths: Iterable[Path]) -> list[Path]:
    """Files that are complete judging by their names, sorted."""
    named = (path for path in paths if not path.name.startswith((".", "_")) and not path.name.endswith(_UNFINISHED))
    # by `parts`, as paths compare, but each is split once
    return sorted((path for path in named if path.is_file()), key=lambda path: path.parts)
