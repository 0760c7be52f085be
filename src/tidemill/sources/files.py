"""Files as a source: a file, a folder or a glob that grows, is added to, comes late or comes twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from tidemill.core.errors import SourceDamaged, SourceMissing, nearest
from tidemill.core.schema import Contract
from tidemill.sources.known import FILES_END, KnownFile
from tidemill.sources.mapping import check_specs
from tidemill.sources.read import SourceRead, nothing
from tidemill.sources.register import Register
from tidemill.sources.url import parse_file_url
from tidemill.sources.visit import Asked, Visit

#: Endings of files that are still being written by common tools; names with `.` or `_` in front are left too.
_UNFINISHED = (".tmp", ".part", ".partial", ".crdownload", ".filepart", ".swp", "~")


class FileSource:
    """The files behind a `file:` URL as rows of a contract.

    Formats are recognised by their bytes: CSV, JSON lines, Parquet; plain, gzip or zstd. Each file is read at most once
    per call, however many days it fills, and not at all while nothing about it has changed and nothing in it is due.
    `known` and `positions` may hold those of the stream's other sources too; they are left alone and not given back.
    Raises `SettingError` where the URL does not fit the contract.
    """

    def __init__(self, url: str, contract: Contract, base: Path, known: Sequence[KnownFile] = ()) -> None:
        self._url = parse_file_url(url)
        self._contract, self._base = contract, base
        self._known = tuple(file for file in known if file.number < FILES_END)
        if self._url.columns:
            check_specs(self._url.columns, contract)

    def read(
        self,
        until: date | None,
        *,
        zone: str,
        after: date | None,
        positions: Mapping[str, int],
        arrival: datetime | None = None,
        now: datetime | None = None,
        damaged: Literal["raise", "leave"] = "raise",
    ) -> SourceRead:
        """See `Source.read`. Raises `SourceMissing`, `SourceUnknown`, `SchemaChanged` and `SourceDamaged`."""
        positions = {number: line for number, line in positions.items() if int(number) < FILES_END}
        if until is not None and after is not None and until <= after:
            return nothing(self._contract, self._known, positions)
        files = {self._name(path): path for path in self._paths()}
        register = Register(self._known, positions, files)
        visit = Visit(self._contract, self._url, register, positions, Asked(until, after, zone, arrival, now))
        # Names that were seen before come first: only then is it known which contents are no longer where they were.
        for name, path in sorted(files.items(), key=lambda item: (register.at(item[0]) is None, item[0])):
            try:
                visit.file(name, path)
            except SourceDamaged as error:
                if damaged == "raise":
                    raise
                visit.damaged.append(error)
        return visit.result()

    def _name(self, path: Path) -> str:
        return path.relative_to(self._base).as_posix() if path.is_relative_to(self._base) else path.as_posix()

    def _paths(self) -> list[Path]:
        """The files that the URL names now, by name."""
        place = self._base / self._url.path
        if place.is_file():
            return [place]
        if place.is_dir():
            return _finished(place.iterdir())
        if any(letter in self._url.path for letter in "*?["):
            pattern = Path(self._url.path)
            root = Path(pattern.anchor) if pattern.is_absolute() else self._base
            found = _finished(root.glob(str(pattern.relative_to(pattern.anchor))))
            if found or self._known:
                return found
            raise SourceMissing(f"no file matches {place}", tip="the path is taken relative to the project's folder")
        if self._known:
            return []  # it was read before and has been tidied away since
        near = [path.name for path in place.parent.iterdir()] if place.parent.is_dir() else []
        where = nearest(place.name, near) if near else f"nothing lies in {place.parent}"
        raise SourceMissing(f"there is no file or folder {place}: {where}", tip="put it there, or mend the URL")


def _finished(paths: Iterable[Path]) -> list[Path]:
    """Files that are whole by their names, sorted."""
    return sorted(
        path
        for path in paths
        if path.is_file() and not path.name.startswith((".", "_")) and not path.name.endswith(_UNFINISHED)
    )
