"""Ledger entry: one line of the ledger, its canonical bytes, its place in the chain, and its validation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from tidemill.core.canonical import canonical
from tidemill.core.errors import FormatTooNew, LedgerCorrupt
from tidemill.core.ports import StoredEntry
from tidemill.core.record_format import refuse_newer

#: The format of a line's body; a newer one is refused.
FORMAT = 1

#: The fields of a line that a store also keeps as columns to search by.
COLUMNS = ("at", "actor", "act", "about", "fingerprint")


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One act: who did what to what, from what, giving what."""

    seq: int
    #: Microseconds since 1970, by the clock of who wrote it; `seq` is the order, also when a clock goes backwards.
    at: int
    actor: str
    act: str
    about: str
    refs_in: tuple[str, ...]
    refs_out: tuple[str, ...]
    fingerprint: str
    details: dict[str, Any]
    #: Hash of the line before, empty for the first.
    prev: str
    hash: str
    format: int


class LedgerHead(msgspec.Struct, frozen=True):
    """A signed statement that line `seq` has this hash, and so that every line before it is what it is.

    >>> str(LedgerHead(2, "ab", "cd")), LedgerHead.parse("2:ab:cd")
    ('2:ab:cd', LedgerHead(seq=2, hash='ab', signature='cd'))
    """

    seq: int
    hash: str
    #: Ed25519 in hex; empty where only the hash was kept.
    signature: str = ""

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}:{self.signature}"

    @classmethod
    def parse(cls, text: str) -> LedgerHead:
        """Read `seq:hash:signature`, as the lake's commits carry it; the signature may be missing."""
        seq, _, rest = text.partition(":")
        link, _, signature = rest.partition(":")
        if not (seq.isdecimal() and (link or int(seq) == 0)):
            raise LedgerCorrupt(f"{text!r} is not a ledger head", tip="write it as seq:hash:signature")
        return cls(int(seq), link, signature)

    @property
    def message(self) -> bytes:
        """The bytes that are signed."""
        return b"tidemill ledger head " + canonical({"format": FORMAT, "hash": self.hash, "seq": self.seq})


def chain_hash(prev: str, body: bytes) -> str:
    """The hash of a line: sha256 over the hash of the line before it and its own bytes, in hex."""
    return hashlib.sha256(bytes.fromhex(prev) + body).hexdigest()


def decode_entry(line: StoredEntry) -> LedgerEntry:
    """The line, believed only if its bytes hash to what the store says and its columns say what the bytes say."""
    read, problems = examine_entry(line)
    if read is None or problems:
        raise LedgerCorrupt(f"line {line.seq}: {problems[0]}", tip="tidemill audit verify")
    return read


def examine_entry(line: StoredEntry) -> tuple[LedgerEntry | None, list[str]]:
    """The line as far as it can be read, and what is wrong with it; `FormatTooNew` for a later tidemill's line."""
    try:
        fields = msgspec.json.decode(line.body, type=dict[str, Any])
        refuse_newer(fields.get("format", 0), FORMAT, f"line {line.seq} of the ledger")
        read = msgspec.convert(fields | {"hash": line.hash}, LedgerEntry)
        found = chain_hash(read.prev, line.body)
    except FormatTooNew:
        raise
    except (ValueError, TypeError):  # msgspec's errors and a `prev` that is no hex
        return None, ["its body cannot be read"]
    return read, list(_differences(line, read, found))


def _differences(line: StoredEntry, read: LedgerEntry, found: str) -> Iterator[str]:
    if found != line.hash:
        yield "its body or its hash was changed: they do not match"
    for column in ("seq", *COLUMNS):
        if getattr(line, column) != getattr(read, column):
            yield f"its index column `{column}` differs from its body"
