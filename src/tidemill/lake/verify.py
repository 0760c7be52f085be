"""Verification of the lake: finds all differences between files, the tables' own logs, manifests and the ledger.

What it reads is recorded by path: that of a data file within the lake's folder, and the name of an object.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from tidemill.core.errors import CorruptFile
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ledger.ledger_entry import LedgerEntry, LedgerHead
from tidemill.core.ports import StagedFile, TableCommit, Tables
from tidemill.core.storage.verification import Verification
from tidemill.lake.append_logs import MANIFEST, KeptVersions, unrecorded_batch
from tidemill.lake.manifest import Manifests, TableManifest
from tidemill.lake.publications import PublishedVersion

#: The files of every version are derived from the log. Every `_OPENED_EVERY` versions, the table is also opened as
#: readers open it, which tests the checkpoints.
_OPENED_EVERY = 10
#: How often a table is verified that others change meanwhile, and the time that a writer has for its ledger entry.
_ATTEMPTS, _PAUSE_S = 3, 0.2


class RecordedTable(msgspec.Struct):
    """What the ledger records of a table."""

    #: Version -> SHA-256 of its manifest.
    versions: dict[int, str] = {}
    #: File of the table's own log -> SHA-256 of its newest content.
    files: dict[str, str] = {}
    #: The oldest version that is kept, and the log files that only earlier ones have.
    oldest: int = 0
    expired: set[str] = set()


def verify_tables(
    tables: Tables,
    manifests: Manifests,
    recorded: Mapping[str, RecordedTable],
    again: Callable[[], Mapping[str, RecordedTable]],
    found: Verification,
) -> None:
    """Add all problems to `found`. Reads every data file of every version once, unless others change the table.

    `recorded` is what the ledger records, and `again` reads it again.
    """
    for table in sorted(recorded):
        for _ in range(_ATTEMPTS):
            one = Verification(found.store)
            with one.attempt(f"table `{table}`"):
                _table(tables, manifests, table, recorded[table], one)
            if not one.problems:
                break
            time.sleep(_PAUSE_S)
            before, recorded = recorded, again()
            if recorded[table] == before[table]:
                break
        found.add(one)


def verify_without_ledger(tables: Tables, manifests: Manifests, found: Verification) -> None:
    """Compare the data files with the manifests that are there, where the ledger, which names them, cannot be read."""
    for table in manifests.tables():
        read: dict[int, TableManifest] = {}
        for version in manifests.versions(table):
            with found.attempt(f"table `{table}`"):
                read[version] = manifests.stored(table, version, found)
        _files(tables, table, read, found)


def _order(publications: Sequence[PublishedVersion]) -> Iterator[str]:
    for expected, known in enumerate(publications, 1):
        if known.publication.number != expected:
            yield f"ledger entry {known.seq}: publication {known.publication.number} found, {expected} expected"
            return


def _table(tables: Tables, manifests: Manifests, table: str, recorded: RecordedTable, found: Verification) -> None:
    read: dict[int, TableManifest] = {}
    for version, sha256 in sorted(recorded.versions.items()):
        with found.attempt(f"table `{table}`"):
            read[version] = manifests.verified(table, version, sha256, found)
    with found.attempt(f"table `{table}`"):
        commits = list(tables.history(table))
        batch = unrecorded_batch(commits, max(recorded.versions))
        if batch is not None:
            read[batch.version] = manifests.verified(table, batch.version, batch.note[MANIFEST], found)
            says = (
                f"table `{table}`: version {batch.version} is not in the ledger yet; the server's log writer records it"
            )
            found.problem(says, derived=True)
        for problem in _log(tables, table, read, recorded, commits):
            found.problem(problem)
        _own_log(tables, table, recorded, commits, found)
    _files(tables, table, read, found)


def _files(tables: Tables, table: str, read: Mapping[int, TableManifest], found: Verification) -> None:
    seen: dict[str, StagedFile] = {}
    for version, manifest in read.items():
        for file in manifest.files:
            path = file.entry.path
            if path in seen:
                if seen[path] != file:
                    found.problem(
                        f"table `{table}`: manifest {version} describes {path} differently from an earlier one"
                    )
                continue
            seen[path] = file
            with found.attempt(f"table `{table}`"):
                for problem in _file(tables, table, file):
                    found.problem(problem)
                found.read(f"{table}/{path}", file.entry.size_bytes)


def _file(tables: Tables, table: str, file: StagedFile) -> Iterator[str]:
    entry = file.entry
    place = tables.locate(table, entry.path)
    sha256, size_bytes = tables.digest(table, entry.path)
    if size_bytes != entry.size_bytes:
        yield f"{place} has {size_bytes} bytes, but {entry.size_bytes} were written"
    elif sha256 != entry.sha256:
        yield f"{place} was changed: its sha256 differs from the manifest"
    else:
        rows = tables.read(table, entry.path, []).num_rows
        if rows != entry.rows:
            yield f"{place} has {rows} rows, but the manifest records {entry.rows}"


def _log(
    tables: Tables,
    table: str,
    read: Mapping[int, TableManifest],
    recorded: RecordedTable,
    commits: Sequence[TableCommit],
) -> Iterator[str]:
    """Compare the table's own log with the manifests: the files of every version, and versions without publication."""
    last, oldest = max(recorded.versions), recorded.oldest
    kept = [commit for commit in commits if commit.version >= oldest]
    yield from _gaps(table, kept, oldest, last)
    files = set(tables.files(table, oldest)) if oldest else set()
    for commit in reversed(kept):
        if commit.version > oldest or not oldest:
            files = files - set(commit.removed) | set(commit.added)
        manifest = read.get(commit.version)
        if manifest is None:
            if commit.number and commit.version not in recorded.versions:
                yield f"table `{table}`: version {commit.version} is in its log, but in no publication of the ledger"
            continue
        yield from _same_files(table, manifest, sorted(files), "its log")
        if commit.version % _OPENED_EVERY == 0 or commit.version == last:
            try:
                yield from _same_files(table, manifest, tables.files(table, commit.version), "the view of its readers")
            except CorruptFile as error:
                yield error.message


def _own_log(
    tables: Tables, table: str, recorded: RecordedTable, commits: Sequence[TableCommit], found: Verification
) -> None:
    """Compare the files of the table's own log with their hashes in the ledger, each as its last version wrote it."""
    stored: dict[str, str] = {}
    last = max((commit.version for commit in commits), default=-1)
    for version in range(min((commit.version for commit in commits), default=0), last + 1):
        for file in tables.log_files(table, version):
            stored[file.path] = file.sha256
            found.read(f"{table}/{file.path}", file.size_bytes)
    for path, sha256 in sorted(recorded.files.items()):
        place, is_checkpoint = tables.locate(table, path), "checkpoint" in path
        if path in stored and stored[path] != sha256:
            remedy = "; remove it, then readers use the commits" if is_checkpoint and not recorded.oldest else ""
            found.problem(f"{place} was changed: its sha256 differs from the ledger{remedy}")
        elif path in stored or path in recorded.expired:
            continue
        elif recorded.oldest or not is_checkpoint or _exists(tables, table, path):
            found.problem(f"{place} is missing or names another version", derived=is_checkpoint and not recorded.oldest)
    if unpinned := len(stored.keys() - recorded.files.keys()):
        found.skip(f"the hashes of {unpinned} log files of table `{table}`", "an older version did not record them")


def _exists(tables: Tables, table: str, path: str) -> bool:
    try:
        tables.digest(table, path)
    except CorruptFile:
        return False
    return True


def recorded_tables(
    publications: Sequence[PublishedVersion], ledger: Ledger, found: Verification
) -> dict[str, RecordedTable]:
    """Table -> what the ledger records of it; adds contradictions to `found`."""
    recorded: dict[str, RecordedTable] = {}
    for problem in _order(publications):
        found.problem(problem)
    for known in publications:
        for table, version in known.publication.versions.items():
            sha256 = known.publication.manifests[table]
            if recorded.setdefault(table, RecordedTable()).versions.setdefault(version, sha256) != sha256:
                found.problem(
                    f"ledger entry {known.seq}: table `{table}` version {version} has a different manifest than before"
                )
    for line in ledger.find("publish"):
        for table, files in line.details.get("logs", {}).items():
            if table in recorded:
                recorded[table].files.update(files)
    logged: dict[str, list[LedgerEntry]] = {}
    for line in ledger.find("log"):
        logged.setdefault(line.about.removeprefix("table:"), []).append(line)
    for table, lines in logged.items():
        oldest = max(KeptVersions.noted(line.details).oldest for line in lines)  # an older tidemill names none
        one = recorded.setdefault(table, RecordedTable(oldest=oldest))
        for line in lines:
            files, version = line.details.get("logs", {}), line.details["version"]
            one.files.update(files)
            if version < one.oldest:
                one.expired.update(files)
            else:
                one.versions[version] = line.details["manifest"]
                one.expired.difference_update(files)
    return recorded


def _gaps(table: str, commits: Sequence[TableCommit], oldest: int, last: int) -> Iterator[str]:
    found = {commit.version for commit in commits}
    missing = sorted(set(range(oldest, max(found, default=-1) + 1)) - found)
    if missing:
        yield f"table `{table}`: the log lacks version {missing[0]}"
    if max(found, default=-1) < last:
        yield f"table `{table}`: the log ends at version {max(found, default=-1)}, but version {last} is published"


def _same_files(table: str, manifest: TableManifest, found: Sequence[str], who: str) -> Iterator[str]:
    expected = {file.entry.path for file in manifest.files}
    for path in sorted(expected - set(found)):
        yield f"table `{table}` version {manifest.version}: {who} lacks {path}, which is part of it"
    for path in sorted(set(found) - expected):
        yield f"table `{table}` version {manifest.version}: {who} contains {path}, which is not part of it"


def recorded_heads(tables: Tables, names: Sequence[str], newest: int | None = None) -> list[LedgerHead]:
    """The ledger heads in the notes of these tables' commits (all, or the `newest` of each), sorted by number."""
    commits = (commit for name in names for commit in islice(tables.history(name), newest))
    notes = [commit.note.get("ledger_head", "") for commit in commits]
    found = {LedgerHead.parse(note) for note in notes if note and not note.startswith("0:")}
    return sorted(found, key=lambda head: head.seq)
