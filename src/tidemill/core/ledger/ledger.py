"""Ledger (audit log): one hash-chained, signed, permanent entry for every action, in order.

An entry's body is canonical JSON (integers and strings only), its hash is the SHA-256 of the previous entry's hash
followed by the body's bytes, and the head (number and hash) is signed with Ed25519 on every append. The stored bytes
are hashed; a store's columns index them and are verified on every read. Signed heads are also stored elsewhere (the
head file, exported checkpoints, the lake's commits, deployments), so that a truncated ledger or an older copy is
detected, and nothing is appended to it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tidemill.core.canonical import canonical
from tidemill.core.clock import Clock, to_micros
from tidemill.core.errors import KeyMissing, LedgerCorrupt, LedgerForked, LedgerMoved, SubjectNamed
from tidemill.core.identity.account import Account
from tidemill.core.identity.keys import Keys
from tidemill.core.ledger import checkpoint
from tidemill.core.ledger.head_file import HeadFile
from tidemill.core.ledger.ledger_entry import (
    COLUMNS,
    FORMAT,
    LedgerEntry,
    LedgerHead,
    chain_hash,
    decode_entry,
    examine_entry,
)
from tidemill.core.ports import Lease, LedgerStore, StoredEntry

__all__ = ["FORMAT", "Ledger", "LedgerEntry", "LedgerHead", "redact_surrogates"]

# Pattern of a surrogate: 26 characters of base32, the last of which encodes three bits. One in 200 surrogates has no
# digit and does not match: this check finds mistakes, it does not guarantee their absence.
_SURROGATE = re.compile(r"(?<![A-Za-z0-9])(?=[a-z]*[2-7])[a-z2-7]{25}[aeimquy4](?![A-Za-z0-9])")


class Ledger:
    """The mill's audit log over a ledger store.

    `account` is the one that appends, unless an entry names another. Details can have integers, strings, booleans,
    lists and dicts. Floats are rejected (store a record as JSON text), and so are texts that look like surrogates.

    `head_file` gets the head of every appended entry. `known` returns heads that are stored elsewhere; before the first
    append, the ledger must have them.
    """

    def __init__(
        self,
        lines: LedgerStore,
        keys: Keys,
        clock: Clock,
        account: Account,
        *,
        head_file: HeadFile | None = None,
        known: Callable[[], Iterable[LedgerHead]] = tuple,
    ) -> None:
        self._lines = lines
        self.keys = keys
        self._clock = clock
        self.account = account
        self._head_file = head_file
        self._known = known
        self._checked = False

    def append(
        self,
        act: str,
        *,
        about: str = "",
        refs_in: Sequence[str] = (),
        refs_out: Sequence[str] = (),
        fingerprint: str = "",
        details: Mapping[str, Any] = {},
        lease: Lease | None = None,
        after: int | None = None,
        account: Account | None = None,
    ) -> LedgerEntry:
        """Append one entry, durable when this returns; with a `lease`, only if no other process has acquired it since.

        `account` is who acted, if it is not the account that appends: a process writes the entry of a user's request.

        With `after` (optimistic concurrency control), raises `LedgerMoved` unless the last entry has that number, so
        that a decision based on the entries so far is still valid. Also raises `LeaseLost`, `LedgerBusy`,
        `SubjectNamed`, `KeyMissing` if the last entry was signed with another key, `LedgerForked` if this is an older
        copy, and `TypeError` for a value without canonical bytes.
        """
        acted = account or self.account
        body = {
            "about": about,
            "account": msgspec.to_builtins(acted),
            "act": act,
            "actor": acted.name,
            "at": to_micros(self._clock.now()),
            "details": dict(details),
            "fingerprint": fingerprint,
            "format": FORMAT,
            "refs_in": list(refs_in),
            "refs_out": list(refs_out),
        }
        _refuse_subjects(act, canonical(body))
        held = None if lease is None else (lease.name, lease.number)
        stored = self._lines.append(lambda last: self._seal(body, last, after), held)
        if self._head_file is not None:
            self._head_file.keep(LedgerHead(stored.seq, stored.hash, stored.head.hex()))
        return decode_entry(stored)

    def find(
        self, act: str | None = None, *, about: str | None = None, fingerprint: str | None = None, after: int = 0
    ) -> list[LedgerEntry]:
        """The entries after number `after` with this act, subject matter and fingerprint, oldest first."""
        return [decode_entry(line) for line in self._lines.lines(after, where=_where(act, about, fingerprint))]

    def newest(self, act: str | None = None, *, about: str | None = None) -> Iterator[LedgerEntry]:
        """The entries with this act and subject matter, newest first, read lazily."""
        return map(decode_entry, self._lines.lines(backwards=True, where=_where(act, about)))

    def last(self, act: str | None = None, about: str | None = None) -> LedgerEntry | None:
        """The newest entry with this act and subject matter."""
        line = next(self._lines.lines(backwards=True, where=_where(act, about)), None)
        return None if line is None else decode_entry(line)

    def head(self) -> LedgerHead:
        """The newest signed head; number 0 and empty strings if the ledger is empty."""
        line = self._lines.last()
        return LedgerHead(0, "") if line is None else LedgerHead(line.seq, line.hash, line.head.hex())

    def checkpoint(self, folder: Path) -> Path:
        """Write the newest head as a file into `folder`; copy it to a place where this machine cannot change it."""
        return checkpoint.write(folder, self.head(), self.keys.public)

    def verify(self, known: Iterable[LedgerHead] = ()) -> list[str]:
        """Every problem of the chain as a message with the entry's number; empty if the ledger is intact.

        `known` are heads stored elsewhere. A ledger that ends before one of them was truncated or is an older copy; one
        with a different hash at its number was rewritten.
        """
        problems = self._lines.damage()
        hashes: list[str] = []
        try:
            for line in self._lines.lines():
                problems += [f"entry {line.seq}: {says}" for says in self._faults(line, hashes)]
                hashes += [""] * (line.seq - 1 - len(hashes)) + [line.hash]
        except LedgerCorrupt as error:  # the store cannot be read beyond this entry
            problems.append(f"entry {len(hashes) + 1}: {error.message}")
        return problems + list(self._against(hashes, known))

    def _seal(self, body: dict[str, Any], last: StoredEntry | None, after: int | None) -> StoredEntry:
        if after is not None and after != (last.seq if last else 0):
            raise LedgerMoved(f"the ledger has new entries after entry {after}", tip="read it again and retry")
        if not self._checked:
            self._refuse_foreign_key(last)
            self.refuse_fork(last=last)
            self._checked = True
        seq, prev = (last.seq + 1, last.hash) if last else (1, "")
        stored = canonical(body | {"prev": prev, "seq": seq})
        head = LedgerHead(seq, chain_hash(prev, stored))
        return StoredEntry(
            seq=seq,
            body=stored,
            hash=head.hash,
            head=self.keys.sign(head.message),
            **{name: body[name] for name in COLUMNS},
        )

    def refuse_fork(self, known: Iterable[LedgerHead] = (), *, last: StoredEntry | None = None) -> None:
        """Raise `LedgerForked` if the ledger lacks a head that is stored elsewhere, or one of `known`.

        An entry appended to it would fork history. Heads that are not signed with this mill's key are not heeded.
        """
        heads = [*self._known(), *known]  # before the last entry is read: others may append
        last = last or self._lines.last()
        for head in heads:
            if not head.seq or (head.signature and not self._signed(head)):
                continue
            found = next(self._lines.lines(head.seq - 1), None) if last and head.seq <= last.seq else None
            if found is None or (found.seq, found.hash) != (head.seq, head.hash):
                raise LedgerForked(
                    f"the ledger ends at entry {last.seq if last else 0} and lacks entry {head.seq} "
                    f"({head.hash[:8]}…), which was written before: it was cut, or it is an older copy",
                    tip="restore its newest backup, with the -wal file beside it; `tidemill verify` says where "
                    "the entry is known. If no copy has it, restore all of .tidemill from one backup",
                )

    def _refuse_foreign_key(self, last: StoredEntry | None) -> None:
        if last is not None and not self._signed(LedgerHead(last.seq, last.hash, last.head.hex())):
            raise KeyMissing(
                f"entry {last.seq} of the ledger was not signed with the key in {self.keys.folder}",
                tip="set `keys` to this mill's own folder; if it is, `tidemill verify` shows what was changed",
            )

    def _signed(self, head: LedgerHead) -> bool:
        try:
            return self.keys.signed(head.message, bytes.fromhex(head.signature))
        except ValueError:
            return False

    def _faults(self, line: StoredEntry, hashes: list[str]) -> Iterator[str]:
        if line.seq != len(hashes) + 1:
            yield f"follows entry {len(hashes)}: the entries between them are missing"
        read, problems = examine_entry(line)
        yield from problems
        if read is not None and read.prev != (hashes[-1] if hashes else ""):
            yield "does not contain the hash of the previous entry: the chain is broken here"
        if not self._signed(LedgerHead(line.seq, line.hash, line.head.hex())):
            yield "its head is not signed with this mill's key"

    def _against(self, hashes: list[str], known: Iterable[LedgerHead]) -> Iterator[str]:
        for head in sorted(set(known), key=lambda head: (head.seq, head.hash, head.signature)):
            if head.signature and not self._signed(head):
                yield f"entry {head.seq}: an external copy of the head is not signed with this mill's key"
            elif head.seq > len(hashes):
                yield (
                    f"entry {head.seq}: an external copy of the head has it, but the ledger ends at "
                    f"entry {len(hashes)}: it was truncated, or an older copy was restored"
                )
            elif head.seq and hashes[head.seq - 1] != head.hash:
                yield f"entry {head.seq}: its hash differs from an external copy of the head: history was rewritten"


def _where(act: str | None, about: str | None, fingerprint: str | None = None) -> dict[str, str]:
    given = {"act": act, "about": about, "fingerprint": fingerprint}
    return {name: value for name, value in given.items() if value is not None}


def redact_surrogates(text: str) -> str:
    """The text with everything that looks like a surrogate replaced by `(a person)`, so that an entry can contain it.

    >>> redact_surrogates("no history of abcdefghijklmnopqrstuvwx2a")
    'no history of (a person)'
    """
    return _SURROGATE.sub("(a person)", text)


def _refuse_subjects(act: str, body: bytes) -> None:
    if _SURROGATE.search(body.decode()):
        raise SubjectNamed(f"the entry {act!r} appears to contain a person's surrogate", tip="write counts instead")
