"""Count store: a model's event counts, updated incrementally from the rows that changed since the last publication."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from tidemill.core.errors import BundleCorrupt, FormatTooNew, IdsMismatch, LakeError, LearnError, ReleaseError
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.core.storage.durable_files import sync_folder
from tidemill.core.storage.failpoint import failpoint
from tidemill.core.storage.verification import Verification
from tidemill.lake import LakeSnapshot, changed_keys
from tidemill.loop.examples.interactions import LearningEvents
from tidemill.loop.project.declarations import RecommenderDeclaration
from tidemill.loop.project.graph import ProjectGraph
from tidemill.loop.project.stores import Stores
from tidemill.models import Interactions
from tidemill.models.counts.additive_counts import Counts, CountSettings, counted
from tidemill.models.recommender.recommender import Recommender as Learned
from tidemill.release import seal_bundle, verify_bundle

#: The folder of the counts in the state folder.
PLACE = "learning"


@dataclass(frozen=True)
class CountUpdate:
    """Counts of all published events, and how they were computed."""

    counts: Mapping[CountSettings, Counts]
    represents: CountsState
    #: The events that were read: all of them if the whole table was read.
    events: Interactions
    #: Reason why the whole table was read; empty for an incremental update.
    whole: str = ""

    def users_of(self, recommender: Learned) -> Interactions:
        """These events in the codes of a recommender that knows all of their items."""
        codes = np.array([recommender.codes[item] for item in self.events.items], np.int32)
        return replace(self.events, items=recommender.items, item=codes[self.events.item])


def count(
    stores: Stores,
    graph: ProjectGraph,
    model: RecommenderDeclaration,
    view: LakeSnapshot,
    settings: Sequence[CountSettings],
) -> CountUpdate:
    """The counts of the interactions of `model` in `view`."""
    now = LearningEvents.from_snapshot(graph, model, view)
    kept = store(stores, model.name).read(settings)
    if not isinstance(kept, str):
        changed = _changed(stores, now, *kept)
        if isinstance(changed, CountUpdate):
            return changed
        kept = changed
    events, ahead = now.read()
    counts = {one: counted(one, events) for one in settings}
    return CountUpdate(counts, _represents(now, ahead), events, whole=kept)


def _represents(events: LearningEvents, ahead: int) -> CountsState:
    return CountsState(
        table=events.table,
        columns=events.columns,
        version=events.version,
        publication=events.view.publication,
        as_of=events.view.as_of,
        ahead=ahead,
    )


def store(stores: Stores, model: str) -> CountStore:
    """The store of a model's counts."""
    return CountStore(stores.state / PLACE / model)


def _changed(
    stores: Stores, now: LearningEvents, kept: CountsState, counts: Mapping[CountSettings, Counts]
) -> CountUpdate | str:
    """The stored counts updated with later changes; or a sentence why they cannot be updated."""
    if (kept.table, kept.columns) != (now.table, now.columns):
        return "the stored counts are of other columns"
    if kept.ahead:
        return f"{kept.ahead} events were later than the as-of of the stored counts"
    if kept.as_of > now.view.as_of:
        return "the stored counts are of a later time"
    try:
        before = replace(now, view=stores.lake.view(publication=kept.publication))
        if before.version != kept.version:
            return f"publication {kept.publication} has another version of {now.table} than the stored counts"
        keys = changed_keys(before.view, now.view, now.table, now.subject, now.columns)
        was, _ = before.read(keys) if keys.num_rows else (Interactions.none(), 0)
        events, ahead = now.read(keys) if keys.num_rows else (Interactions.none(), 0)
        fresh = {one: each.changed(was, events) for one, each in counts.items()}
    except (LakeError, LearnError) as problem:
        return f"the changes since the stored counts cannot be determined: {problem.message}"
    return CountUpdate(fresh, _represents(now, ahead), events)


_ABOUT = "counts.json"
#: The prefix of folders that are being written.
_NEW = "new-"


class CountsState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the table that the stored counts represent."""

    #: The table, its columns, its version, and its publication.
    table: str = ""
    columns: tuple[str, ...] = ()
    version: int = 0
    publication: int = 0
    #: Events before this time are counted (microseconds); the number of later events.
    as_of: int = 0
    ahead: int = 0
    #: The library that determines rounding: counts of another version are recomputed.
    made_by: str = f"numpy {np.__version__}"
    #: The format number, where the first version reads it.
    format: int = 1


class _CountsHeader(VersionedRecord, frozen=True, kw_only=True):
    """`counts.json`."""

    KIND: ClassVar[str] = "count store"
    REQUIRED: ClassVar[tuple[str, ...]] = ("represents", "settings")

    represents: CountsState = CountsState()
    #: The settings of each folder of counts, as plain values; the caller knows their learner.
    settings: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class CountStore:
    """The counts of one model, in a separate folder."""

    place: Path

    def read(self, settings: Sequence[CountSettings]) -> tuple[CountsState, dict[CountSettings, Counts]] | str:
        """The stored counts with these settings, memory-mapped; or a sentence why they cannot be used."""
        # There are two if a run died before it removed the older one: each names its state, so either is valid.
        found = sorted(folder for folder in self.place.glob("*") if not folder.name.startswith(_NEW))
        if not found:
            return "there are no stored counts"
        try:
            folder = found[-1]
            verify_bundle(folder, folder.name)
            about = decode_record((folder / _ABOUT).read_bytes(), _CountsHeader, _ABOUT)
            numbers = {_text(one): number for number, one in enumerate(about.settings)}
            if set(numbers) != {_text(one) for one in settings}:
                return "the stored counts have other settings"
            if about.represents.made_by != f"numpy {np.__version__}":
                return f"the stored counts were computed with {about.represents.made_by}"
            kept: dict[CountSettings, Counts] = {
                one: one.open(folder / f"counts{numbers[_text(one)]:02}") for one in settings
            }
        except (ReleaseError, BundleCorrupt, FormatTooNew, IdsMismatch, OSError, msgspec.DecodeError) as problem:
            return f"the stored counts are damaged: {problem}"
        return about.represents, kept

    def write(self, represents: CountsState, counts: Mapping[CountSettings, Counts]) -> None:
        """Replace the stored counts atomically, even if the process dies."""
        self.place.mkdir(parents=True, exist_ok=True)
        folder = self.place / f"{_NEW}{represents.publication}"
        shutil.rmtree(folder, ignore_errors=True)  # left by a run that was killed
        folder.mkdir()
        for number, one in enumerate(counts.values()):
            one.write(folder / f"counts{number:02}")
        about = _CountsHeader(represents=represents, settings=tuple(msgspec.to_builtins(one) for one in counts))
        (folder / _ABOUT).write_bytes(msgspec.json.encode(about))
        name = seal_bundle(folder)
        failpoint("counts.staged")
        if not (self.place / name).exists():
            folder.rename(self.place / name)
            sync_folder(self.place)
        failpoint("counts.written")
        for old in self.place.iterdir():
            if old.name != name:
                shutil.rmtree(old)


def verify_counts(place: Path, found: Verification) -> None:
    """Compare every file of the counts of all models in `place` with the hash that their folder is named after."""
    for model in sorted(place.iterdir()) if place.is_dir() else ():
        for folder in sorted(model.iterdir()):
            name = f"{model.name}/{folder.name}"
            if folder.name.startswith(_NEW):
                found.skip(name, "it is being written, or left by a run that was killed")
                continue
            with found.attempt(name, derived=True):
                for path in folder.rglob("*"):
                    if path.is_file():
                        found.read(f"{name}/{path.relative_to(folder)}", path.stat().st_size)
                verify_bundle(folder, folder.name)


def _text(settings: Any) -> bytes:
    """Settings as canonical text, for comparison."""
    return msgspec.json.encode(settings, order="sorted")
