"""Source states, stored next to the ledger: the data that the sources of a stream need from earlier reads.

The ledger entry of an increment names a state by the sha256 of an object in the object store. A state is a
chain of such objects: each contains the changed entries and names its parent by hash; the last one has no parent.
An object that is less than twice as large as the change after it is merged into it (the logarithmic method of a
log-structured merge tree), so a state of n entries is a chain of about log2(n) objects, which together are less than
twice as large as the state, and a day writes little more than its changes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import msgspec

from tidemill.core.errors import CorruptFile, NoSuchObject
from tidemill.core.ports import Objects
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.core.source_read import SourceState
from tidemill.core.storage.failpoint import failpoint
from tidemill.core.storage.verification import Verification

#: The prefix of the objects, with a folder for each stream.
PREFIX = "_tidemill/source_states"


class StateRef(VersionedRecord, frozen=True):
    """A ledger entry's reference to a state: its object and the number of entries."""

    KIND = "reference to a source state"

    #: Name of the newest object of the chain: the sha256 of its bytes.
    sha256: str = ""
    #: Kind of source -> number of entries of its state, such as files.
    entries: dict[str, int] = msgspec.field(default_factory=dict)

    @classmethod
    def from_details(cls, details: Mapping[str, object]) -> StateRef | None:
        """The reference in the details of a ledger entry; `None` if there is none."""
        found = details.get("source_state")
        if found is None:
            return None
        return decode_record(msgspec.json.encode(found), cls, "a ledger entry")


class StateChange(VersionedRecord, frozen=True):
    """One object of a chain: the entries that differ from its parent's."""

    KIND = "source state"
    REQUIRED = ("format", "parent")

    #: The sha256 of its parent; empty for the last object of a chain.
    parent: str = ""
    #: Kind of source -> format of its state.
    formats: dict[str, int] = msgspec.field(default_factory=dict)
    #: Kind -> entry -> its new JSON.
    changed: dict[str, dict[str, msgspec.Raw]] = msgspec.field(default_factory=dict)
    #: Kind -> removed entries.
    removed: dict[str, list[str]] = msgspec.field(default_factory=dict)

    @property
    def content(self) -> bytes:
        """The bytes to hash and store."""
        return msgspec.json.encode(self, order="deterministic")


class SourceStates:
    """The source states of a project's streams. Written and removed only under the lease of a run."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def read(self, stream: str, ref: StateRef) -> dict[str, SourceState]:
        """The state of each kind of source; raises `CorruptFile` with the missing or damaged object."""
        return _states(change for change, _ in self._chain(stream, ref.sha256))

    def write(self, stream: str, states: Mapping[str, SourceState], base: StateRef | None) -> StateRef:
        """Store states as changes to those of `base`; durable on return."""
        chain = self._chain(stream, base.sha256) if base else []
        before = _states(change for change, _ in chain)
        formats = {kind: state.format for kind, state in states.items()}
        changed, removed = _difference(before, states)
        change = StateChange(formats=formats, changed=changed, removed=removed)
        entries = {kind: len(state.body) for kind, state in states.items()}
        if base is not None and not (change.changed or change.removed or formats != chain[0][0].formats):
            return base
        while chain and len(chain[0][1]) < 2 * len(change.content):
            change = _merged(chain.pop(0)[0], change)
        if chain:
            change = msgspec.structs.replace(change, parent=_sha256(chain[0][1]))
        sha256 = self._put(stream, change.content)
        failpoint("source_state.put")
        return StateRef(sha256=sha256, entries=entries)

    def remove_superseded(self, stream: str, ref: StateRef | None) -> int:
        """Remove the objects that the state of the newest ledger entry does not need; returns their number."""
        names = self._objects.list(f"{PREFIX}/{stream}/")
        if not names:
            return 0
        needed = {_name(stream, _sha256(body)) for _, body in (self._chain(stream, ref.sha256) if ref else ())}
        superseded = [name for name in names if name not in needed]
        for name in superseded:
            self._objects.delete(name)
            failpoint("source_state.removed")
        return len(superseded)

    def verify(self, stream: str, ref: StateRef, found: Verification | None = None) -> list[str]:
        """A sentence for the first missing or damaged object of a state; `found` also collects what was read."""
        found = found or Verification("source states")
        with found.attempt(f"the source state of {stream!r}"):
            for _, body in self._chain(stream, ref.sha256):
                found.read(_name(stream, _sha256(body)), len(body))
        for name in self._objects.list(f"{PREFIX}/{stream}/"):
            if name not in found.places:
                found.skip(name, "the newest state does not need it, or it follows one that is damaged")
        return [problem.text for problem in found.problems]

    def _chain(self, stream: str, sha256: str) -> list[tuple[StateChange, bytes]]:
        """The objects of a state, newest first, each with its bytes."""
        chain = []
        while sha256:
            body = self._get(stream, sha256)
            change = decode_record(body, StateChange, _name(stream, sha256))
            chain.append((change, body))
            sha256 = change.parent
        return chain

    def _get(self, stream: str, sha256: str) -> bytes:
        name = _name(stream, sha256)
        tip = "restore this object from a backup: its name is the sha256 of its bytes, so any matching copy is valid"
        try:
            body = self._objects.get(name)
        except NoSuchObject as error:
            raise CorruptFile(f"the source state {name} of the stream {stream!r} is missing", tip=tip) from error
        if _sha256(body) != sha256:
            raise CorruptFile(f"the source state {name} of the stream {stream!r} was changed", tip=tip)
        return body

    def _put(self, stream: str, body: bytes) -> str:
        sha256 = _sha256(body)
        name = _name(stream, sha256)
        if not self._objects.put(name, body) and self._objects.get(name) != body:
            self._objects.delete(name)  # damaged since it was written
            self._objects.put(name, body)
        return sha256


def _name(stream: str, sha256: str) -> str:
    return f"{PREFIX}/{stream}/{sha256}.json"


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _states(chain: Iterable[StateChange]) -> dict[str, SourceState]:
    """The states that a chain represents, newest change first."""
    changes = list(chain)
    bodies: dict[str, dict[str, msgspec.Raw]] = {}
    for change in reversed(changes):
        for kind, gone in change.removed.items():
            for entry in gone:
                bodies.get(kind, {}).pop(entry, None)
        for kind, entries in change.changed.items():
            bodies.setdefault(kind, {}).update(entries)
    formats = changes[0].formats if changes else {}
    return {kind: SourceState(format=number, kind=kind, body=bodies.get(kind, {})) for kind, number in formats.items()}


def _difference(
    before: Mapping[str, SourceState], after: Mapping[str, SourceState]
) -> tuple[dict[str, dict[str, msgspec.Raw]], dict[str, list[str]]]:
    """The changed and the removed entries, by kind."""
    nothing = SourceState()
    changed: dict[str, dict[str, msgspec.Raw]] = {}
    removed: dict[str, list[str]] = {}
    for kind in sorted({*before, *after}):
        old, new = before.get(kind, nothing).body, after.get(kind, nothing).body
        other = {entry: raw for entry, raw in new.items() if old.get(entry) != raw}
        gone = sorted(old.keys() - new.keys())
        if other:
            changed[kind] = other
        if gone:
            removed[kind] = gone
    return changed, removed


def _merged(older: StateChange, newer: StateChange) -> StateChange:
    """Two changes merged into one. Without a parent there is nothing to remove entries from."""
    changed: dict[str, dict[str, msgspec.Raw]] = {}
    removed: dict[str, list[str]] = {}
    for kind in sorted({*older.changed, *newer.changed, *older.removed, *newer.removed}):
        gone = set(newer.removed.get(kind, ()))
        entries = {entry: raw for entry, raw in older.changed.get(kind, {}).items() if entry not in gone}
        entries |= newer.changed.get(kind, {})
        gone = (gone | set(older.removed.get(kind, ()))) - entries.keys()
        if entries:
            changed[kind] = entries
        if gone and older.parent:
            removed[kind] = sorted(gone)
    return msgspec.structs.replace(newer, parent=older.parent, changed=changed, removed=removed)
