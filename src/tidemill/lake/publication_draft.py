"""Draft of the next publication: changes of tables, invisible to readers until `publish` commits them atomically."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import narwhals as nw
import pyarrow as pa

from tidemill.core.empty_tables import empty_table
from tidemill.core.errors import NotPublished, StaleWriter, nearest
from tidemill.core.ports import Engine, Lease, PersistedFrame, Tables
from tidemill.core.records.external_pin import ExternalPin
from tidemill.core.records.ingest import Increment, Publication, Verdict
from tidemill.core.storage.failpoint import failpoint
from tidemill.lake.commit_intent import CommitIntent, CommitIntents, TableCommitPlan
from tidemill.lake.draft_changes import StagedChange, StagedMerge, StreamMerge, TableChange
from tidemill.lake.held_increments import HeldIncrements
from tidemill.lake.manifest import Manifests, TableManifest
from tidemill.lake.part_exchange import ORIGIN, fit_in_memory
from tidemill.lake.publications import PublishedVersion
from tidemill.lake.row_equality import conform_schema, matching_rows
from tidemill.lake.stream_merge import merge_frame, merge_table, refuse_absent
from tidemill.lake.table_draft import Keys, TableDraft

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True)
class LakeStores:
    """The stores that a draft uses."""

    tables: Tables
    engine: Engine
    manifests: Manifests
    intents: CommitIntents
    held: HeldIncrements
    #: Name of the mill in refs.
    mill: str


class PublicationDraft:
    """The unpublished publication `number`. A `with` block discards its staged files unless it was published.

    >>> with lake.draft(lease) as draft:                                        # doctest: +SKIP
    ...     merged = draft.merge_stream("reviews", rows, ("user_id", "item_id", "reviewed_at"))
    ...     draft.publish(increment, verdict)
    """

    def __init__(
        self, stores: LakeStores, base: PublishedVersion | None, lease: Lease, is_published: Callable[[str, int], bool]
    ) -> None:
        self._stores, self._base, self._lease = stores, base, lease
        self._is_published = is_published
        self.number = base.publication.number + 1 if base else 1
        self.rows_read = 0
        #: External table -> the version that its tables are computed from.
        self.external: dict[str, ExternalPin] = dict(base.publication.external) if base else {}
        self._working: dict[str, TableDraft] = {}
        self._open = True

    def __enter__(self) -> PublicationDraft:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def schema(self, table: str) -> pa.Schema | None:
        """The schema of a table; `None` if the table does not exist yet."""
        found = self._find(table)
        return found.schema if found else None

    def declare(self, table: str, schema: pa.Schema, personal: Sequence[str] = ()) -> None:
        """Create an empty table if it does not exist yet, so that other tables can be derived from it."""
        if self._find(table) is None:
            self._create(table, schema, personal)

    def scan(self, table: str, keys: Keys | None = None) -> nw.LazyFrame[Any]:
        """A table as of this publication; with `keys`, only the rows whose key columns match (semi-join)."""
        frame, n_read = self._get(table).scan(keys)
        self.rows_read += n_read
        return frame

    def append(self, table: str, rows: pa.Table, personal: Sequence[str] = ()) -> None:
        """Append rows unchanged."""
        working = self._for(table, rows, personal)
        working.add(conform_schema(rows, working.schema, table))

    def merge_stream(
        self,
        table: str,
        rows: pa.Table,
        key: Sequence[str],
        *,
        personal: Sequence[str] = (),
    ) -> StreamMerge:
        """Add rows with new keys, drop repeats, and resolve conflicts: the row with the largest `_row` wins.

        Only files whose statistics (ranges of the key's numbers and times) may include one of the keys are read, so
        that a day's rows do not read all earlier years.
        """
        working = self._for(table, rows, personal)
        merged = merge_table(working, conform_schema(rows, working.schema, table), key)
        self.rows_read += merged.rows_read
        return merged

    def merge_frame(
        self,
        table: str,
        rows: nw.LazyFrame[Any],
        schema: pa.Schema,
        key: Sequence[str],
        *,
        personal: Sequence[str] = (),
    ) -> StagedMerge:
        """`merge_stream` of a frame with `schema`, by the engine where the rows are: only rows whose key occurs twice
        or is in the table are compared, in memory if they are few.
        """
        working = self._find(table) or self._create(table, schema, personal)
        merged = merge_frame(working, self._stores.engine, rows, key)
        self.rows_read += merged.rows_read
        return merged

    def upsert(
        self,
        table: str,
        rows: pa.Table,
        *,
        by: Sequence[str],
        touched: pa.Table,
        personal: Sequence[str] = (),
    ) -> TableChange:
        """Replace all rows whose `by` columns occur in `touched` by `rows`; equal rows are not rewritten."""
        working = self._for(table, rows, personal)
        rows = conform_schema(rows, working.schema, table)
        keys = touched.select(list(by)).group_by(list(by), use_threads=False).aggregate([])
        refuse_absent(keys, by, table)
        return self._exchange(working, rows, keys, *working.pull(keys))

    def replace(self, table: str, rows: pa.Table, personal: Sequence[str] = ()) -> TableChange:
        """Replace the content of the table by `rows`; equal rows are not rewritten."""
        working = self._for(table, rows, personal)
        return self._exchange(working, conform_schema(rows, working.schema, table), None, *working.pull(None))

    def reshape(self, table: str, rows: pa.Table, personal: Sequence[str] = ()) -> TableChange:
        """Replace the content and the schema of the table by those of `rows`; earlier versions keep their schema."""
        working = self._for(table, rows, personal)
        if working.schema.equals(rows.schema):
            return self.replace(table, rows, personal)
        working.reshape(rows)
        return TableChange(rows, empty_table(rows.schema), 0)

    def _exchange(
        self, working: TableDraft, rows: pa.Table, keys: Keys | None, old: pa.Table, n_read: int
    ) -> TableChange:
        stays, known = matching_rows(old, rows, working.schema.names)
        added = rows.filter(pa.array(~known))
        removed = old.filter(pa.array(~stays)).drop_columns([ORIGIN])
        n_read += working.exchange(old, ~stays, added, keys)
        self.rows_read += n_read
        return TableChange(added, removed, n_read)

    def exchange(
        self,
        table: str,
        new: PersistedFrame,
        schema: pa.Schema,
        *,
        by: Sequence[str] = (),
        touched: Keys | None = None,
        personal: Sequence[str] = (),
    ) -> TableChange | StagedChange:
        """Replace the content of a table by a frame: with `by`, of the rows whose `by` columns occur in `touched`, else
        of all, also where `schema` differs. Few rows are exchanged in memory, many by the engine where they are.
        """
        working = self._find(table) or self._create(table, schema, personal)
        if isinstance(touched, nw.LazyFrame):
            self._refuse_absent_in(touched, by, table)
        elif touched is not None:
            refuse_absent(touched, by, table)
        is_same = working.schema.equals(schema)
        if fit_in_memory(new.rows):
            rows = conform_schema(self._stores.engine.collect(new.frame), schema, table)
            if not is_same:
                return self.reshape(table, rows, personal)
            old = working.pull_few(touched)
            if old is not None:
                return self._exchange(working, rows, touched, *old)
        if not is_same:
            working.restart(schema)
        return working.staged_change(working.exchange_in_parts(new, touched))

    def _refuse_absent_in(self, keys: nw.LazyFrame[Any], by: Sequence[str], table: str) -> None:
        absent = keys.filter(nw.any_horizontal(*(nw.col(name).is_null() for name in by), ignore_nulls=False))
        refuse_absent(self._stores.engine.collect(absent.head(1)), by, table)

    def publish(self, increment: Increment, verdict: Verdict, *, details: Mapping[str, Any] = {}) -> Publication:
        """Atomically publish the changes of all tables; without changes, this only appends a ledger entry."""
        if self._is_published(increment.stream, increment.number):
            raise StaleWriter(f"increment {increment.number} of `{increment.stream}` is already published")
        return self._publish(
            increment.as_of,
            increment.stream,
            increment.number,
            verdict,
            about=f"stream:{increment.stream}",
            fingerprint=increment.commitment,
            details={**details, "increment": increment.json()},
        )

    def rebuild(self, as_of: int, *, details: Mapping[str, Any] = {}) -> Publication:
        """Publish tables that were rebuilt from published tables, without an increment."""
        return self._publish(as_of, "", 0, Verdict(outcome="pass"), about="lake", fingerprint="", details=details)

    def hold(
        self,
        increment: Increment,
        verdict: Verdict,
        rows: pa.Table,
        *,
        refused: pa.Table | None = None,
        details: Mapping[str, Any] = {},
    ) -> None:
        """Hold the increment: store its rows for a person's decision; no table changes."""
        self._stores.held.hold(increment, verdict, rows, refused, details, self._lease)
        self.discard()

    def discard(self) -> None:
        """Delete the staged files; does nothing after `publish` or `hold`."""
        if self._open:
            self._open = False
            for table in self._working:
                self._stores.tables.discard(table, self.number)

    def _publish(
        self,
        as_of: int,
        stream: str,
        increment: int,
        verdict: Verdict,
        *,
        about: str,
        fingerprint: str,
        details: Mapping[str, Any],
    ) -> Publication:
        if not self._open:
            raise StaleWriter(f"the draft of publication {self.number} is closed")
        changed = [working for working in self._working.values() if working.changed]
        for working in changed:
            working.compact()
        failpoint("publish.checked")
        changes = tuple(self._change(working) for working in changed)
        manifests = [self._manifest(working, change) for working, change in zip(changed, changes, strict=True)]
        before = self._base.publication if self._base else None
        known_until = self._base.as_of if self._base else as_of
        publication = Publication(
            number=self.number,
            as_of=as_of,
            stream=stream,
            increment=increment,
            verdict=verdict,
            versions=(before.versions if before else {}) | {made.table: made.version for made in manifests},
            manifests=(before.manifests if before else {}) | {made.table: made.sha256 for made in manifests},
            external=self.external,
        )
        refs = [
            f"publication:{self._stores.mill}@{self.number}",
            *(f"table:{made.table}@{made.version}" for made in manifests),
        ]
        intent = CommitIntent(
            publication=publication,
            changes=changes,
            about=about,
            fingerprint=fingerprint,
            refs_in=tuple(pin.ref(name) for name, pin in sorted(self.external.items())),
            refs_out=tuple(refs),
            details={**details, "publication": publication.json(), "as_of": max(as_of, known_until)},
        )
        self._open = False
        self._stores.intents.carry_out(intent, self._lease)
        return publication

    def _change(self, working: TableDraft) -> TableCommitPlan:
        before = self._base.publication.versions if self._base else {}
        base = before.get(working.name)
        if base is None:  # the empty version that `create` wrote
            base = self._stores.tables.create(working.name, working.schema, ())
        reshaped = working.schema.serialize().to_pybytes() if working.is_reshaped else b""
        return TableCommitPlan(
            table=working.name,
            base=base,
            add=tuple(working.added),
            remove=tuple(working.removed),
            reshaped=reshaped,
        )

    def _manifest(self, working: TableDraft, change: TableCommitPlan) -> TableManifest:
        made = TableManifest(
            table=working.name,
            version=change.base + 1,
            files=tuple(working.files),
            columns={field.name: str(field.type) for field in working.schema},
            arrow=working.schema.serialize().to_pybytes(),
        )
        self._stores.manifests.write(made)
        return made

    def _names(self) -> Iterable[str]:
        return {*self._working, *(self._base.publication.versions if self._base else ())}

    def _get(self, table: str) -> TableDraft:
        found = self._find(table)
        if found is None:
            raise NotPublished(f"there is no table `{table}` yet", tip=nearest(table, self._names()))
        return found

    def _find(self, table: str) -> TableDraft | None:
        if table in self._working:
            return self._working[table]
        if self._base is None or table not in self._base.publication.versions:
            return None
        publication = self._base.publication
        manifest = self._stores.manifests.read(table, publication.versions[table], publication.manifests[table])
        schema = manifest.schema or self._stores.tables.schema(table)
        if schema is None:
            raise NotPublished(f"table `{table}` is published, but its log is missing", tip="tidemill verify")
        return self._begin(table, manifest, schema)

    def _for(self, table: str, rows: pa.Table, personal: Sequence[str]) -> TableDraft:
        return self._find(table) or self._create(table, rows.schema, personal)

    def _create(self, table: str, schema: pa.Schema, personal: Sequence[str]) -> TableDraft:
        self._stores.tables.create(table, schema, personal)
        made = self._stores.tables.schema(table)
        if made is None:
            raise NotPublished(f"table `{table}` could not be created")
        return self._begin(table, None, made)

    def _begin(self, table: str, manifest: TableManifest | None, schema: pa.Schema) -> TableDraft:
        stores = self._stores
        stores.tables.discard(table, self.number)  # files left by a crashed draft
        self._working[table] = TableDraft(
            stores.tables, stores.engine, table, self.number, manifest, schema, stores.manifests.verified_path
        )
        return self._working[table]
