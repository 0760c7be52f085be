"""Identifier scan of a folder: every file, every container in it, every common encoding of each identifier."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from tidemill.core.record_format import Record
from tidemill.governance.identifier_scan.container_readers import UndecodedContainer, file_contents
from tidemill.governance.identifier_scan.identifier_encodings import identifier_encodings
from tidemill.governance.identifier_scan.multi_pattern_search import PatternSearch

#: The form of a possible leak in a file that could not be decoded completely.
UNDECODED = "undecoded"


class IdentifierLeak(Record, frozen=True):
    """A file that contains at least one of the identifiers in one form. The record contains no identifier."""

    #: Relative to the scanned folder.
    path: str
    #: `raw`, `lower`, `upper`, `url`, `json`, `utf-16`, `base64`, `hex`, a hash's name, or `undecoded`.
    form: str
    #: The container: `file`, `parquet`, `gzip`, …, nested as `gzip/parquet`; `name` is the file's own path.
    store: str


def scan_folder(folder: Path, identifiers: Iterable[str], exclude: Iterable[str | Path] = ()) -> list[IdentifierLeak]:
    """Every leak of `identifiers` below `folder`, sorted; an empty list means that all files were read and none leaks.

    Parquet, Arrow files, `.npy`, gzip, zstd, zip, SQLite (with its write-ahead log) and LMDB (with freed pages) are
    decoded, nested ones too; other files are searched byte by byte. Links are not followed. `exclude` lists files,
    folders or patterns relative to `folder`. Identifiers shorter than eight bytes match only as whole words.
    Memory: about 60 bytes for each of the about twenty forms of an identifier.
    """
    wanted = list(dict.fromkeys(identifiers))
    patterns = PatternSearch(form for identifier in wanted for form in identifier_encodings(identifier))
    numbers = any(identifier.isdecimal() for identifier in wanted)
    skipped = [Path(entry).as_posix().rstrip("/") for entry in exclude]
    leaks = {leak for path in _files(folder, skipped) for leak in _leaks(folder, path, patterns, numbers)}
    return sorted(leaks, key=lambda leak: (leak.path, leak.store, leak.form))


def _leaks(folder: Path, path: Path, patterns: PatternSearch, numbers: bool) -> Iterator[IdentifierLeak]:
    place = path.relative_to(folder).as_posix()
    name = os.fsencode(place) + (b"\n" + os.fsencode(path.readlink()) if path.is_symlink() else b"")
    for form in patterns.found([name]):
        yield IdentifierLeak(path=place, form=form, store="name")
    if path.is_symlink() or not path.is_file():
        return
    store = "file"
    try:
        for store, chunks in file_contents(path, numbers=numbers):
            for form in patterns.found(chunks):
                yield IdentifierLeak(path=place, form=form, store=store)
    except UndecodedContainer:
        yield IdentifierLeak(path=place, form=UNDECODED, store=store)


def _files(folder: Path, skipped: list[str]) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_skipped(folder, Path(root, name), skipped)]
        links = [name for name in folders if Path(root, name).is_symlink()]
        for name in sorted([*names, *links]):
            if not _is_skipped(folder, Path(root, name), skipped):
                yield Path(root, name)


def _is_skipped(folder: Path, path: Path, skipped: list[str]) -> bool:
    place = path.relative_to(folder).as_posix()
    return any(place == entry or fnmatch.fnmatchcase(place, entry) for entry in skipped)
