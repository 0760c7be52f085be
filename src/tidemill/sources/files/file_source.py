"""File source: a file, a folder or a glob, whose files may grow, be added, arrive late or arrive twice."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tidemill.core.contract.contract import Contract
from tidemill.core.errors import SourceDamaged, SourceMissing, nearest
from tidemill.core.row_ids import DECLARED_NUMBERS
from tidemill.core.source_read import ReadRequest, SourceRead, SourceState
from tidemill.sources.files.file_reader import FileReading
from tidemill.sources.files.file_registry import FileRegistry
from tidemill.sources.files.file_state import FORMAT, FileSourceState
from tidemill.sources.files.file_url import parse_file_url
from tidemill.sources.files.mapping import check_specs

#: Endings of files that are still being written by common tools; names with `.` or `_` in front are left too.
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp", "~")

#: The name of the state of all sources that read files.
KIND = "files"


class FileSource:
    """The files behind a `file:` URL as rows of a contract.

    Formats are recognised by their bytes: CSV, JSON lines, Parquet; plain, gzip or zstd. Each file is read at most once
    per call, however many days it fills, and not at all while nothing about it has changed and nothing in it is due.
    Raises `SettingError` where the URL does not fit the contract.
    """

    kind = KIND

    def __init__(self, url: str, contract: Contract, base: Path) -> None:
        self._url = parse_file_url(url)
        self._contract, self._base = contract, base
        if self._url.columns:
            check_specs(self._url.columns, contract)

    def read(self, request: ReadRequest) -> SourceRead:
        """See `Source.read`. Raises `SourceMissing`, `SourceUnknown`, `SchemaChanged` and `SourceDamaged`."""
        if request.nothing_due:
            return SourceRead.empty(self._contract, request.state or SourceState.from_entries(KIND, FORMAT, {}))
        known = FileSourceState.from_source_state(request.state, DECLARED_NUMBERS)
        files = {self._name(path): path for path in self._paths(before=bool(known.files))}
        register = FileRegistry(known.files, known.taken, files)
        visit = FileReading(self._contract, self._url, register, known.taken, request)
        # Names that were seen before come first: only then is it known which contents are no longer where they were.
        for name, path in sorted(files.items(), key=lambda item: (register.at(item[0]) is None, item[0])):
            try:
                visit.file(name, path)
            except SourceDamaged as error:
                if request.damaged == "raise":
                    raise
                visit.damaged.append(error)
        return visit.result(KIND)

    def _name(self, path: Path) -> str:
        return path.relative_to(self._base).as_posix() if path.is_relative_to(self._base) else path.as_posix()

    def _paths(self, *, before: bool) -> list[Path]:
        """The files that the URL names now, by name; `before`: there were some in an earlier read."""
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
            return []  # it was read before and has been tidied away since
        near = [path.name for path in place.parent.iterdir()] if place.parent.is_dir() else []
        where = nearest(place.name, near) if near else f"{place.parent} is empty or missing"
        raise SourceMissing(f"there is no file or folder {place}: {where}", tip="put it there, or correct the URL")


def _finished(paths: Iterable[Path]) -> list[Path]:
    """Files that are whole by their names, sorted."""
    return sorted(
        path
        for path in paths
        if path.is_file() and not path.name.startswith((".", "_")) and not path.name.endswith(_UNFINISHED)
    )
