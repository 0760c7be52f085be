"""Ledger entry: its fields, canonical bytes, hash in the chain, and validation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from tidemill.core.canonical import canonical
from tidemill.core.errors import FormatTooNew, LedgerCorrupt
from tidemill.core.identity.account import Account
from tidemill.core.ports import StoredEntry
from tidemill.core.record_format import decode_json, refuse_newer

#: The format of an entry's body; newer formats are rejected.
FORMAT = 1

#: The fields of an entry that a store also has as columns for queries.
COLUMNS = ("at", "actor", "act", "about", "fingerprint")


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One audit log entry: an account, an action, its subject matter, its inputs and its outputs."""

    seq: int
    #: Microseconds since 1970 on the writer's clock. `seq` defines the order, even if a clock is set back.
    at: int
    #: The name of the account, which a store indexes.
    actor: str
    act: str
    about: str
    refs_in: tuple[str, ...]
    refs_out: tuple[str, ...]
    fingerprint: str
    details: dict[str, Any]
    #: Hash of the previous entry; empty for the first.
    prev: str
    hash: str
    format: int
    account: Account = Account()


class LedgerHead(msgspec.Struct, frozen=True):
    """A signed statement that entry `seq` has this hash, which also fixes every earlier entry.

    >>> str(LedgerHead(2, "ab", "cd")), LedgerHead.parse("2:ab:cd")
    ('2:ab:cd', LedgerHead(seq=2, hash='ab', signature='cd'))
    """

    seq: int
    hash: str
    #: Ed25519 signature in hex; empty if only the hash was stored.
    signature: str = ""

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}:{self.signature}"

    @classmethod
    def parse(cls, text: str) -> LedgerHead:
        """Parse `seq:hash:signature`, as in the lake's commits; the signature may be missing."""
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
    """The hash of an entry: SHA-256 over the previous entry's hash and the entry's own bytes, in hex."""
    return hashlib.sha256(bytes.fromhex(prev) + body).hexdigest()


def decode_entry(line: StoredEntry) -> LedgerEntry:
    """Decode an entry. Raises `LedgerCorrupt` if its hash or its index columns do not match its bytes."""
    read, problems = examine_entry(line)
    if read is None or problems:
        raise LedgerCorrupt(f"entry {line.seq}: {problems[0]}", tip="tidemill verify")
    return read


def examine_entry(line: StoredEntry) -> tuple[LedgerEntry | None, list[str]]:
    """The decoded entry (`None` if unreadable) and its problems. Raises `FormatTooNew` for a newer format, unless the
    hash does not match: then the format number was changed.
    """
    try:
        fields = decode_json(line.body, dict[str, Any])
        if chain_hash(fields["prev"], line.body) == line.hash:
            refuse_newer(fields.get("format", 0), FORMAT, f"entry {line.seq} of the ledger")
        fields.setdefault("account", {"name": fields["actor"], "kind": _kind_of(fields["actor"])})
        read = msgspec.convert(fields | {"hash": line.hash}, LedgerEntry)
        found = chain_hash(read.prev, line.body)
    except FormatTooNew:
        raise
    except (ValueError, TypeError, KeyError):  # msgspec's errors, and a `prev` that is not hex
        return None, ["its body cannot be read"]
    return read, list(_differences(line, read, found))


def _kind_of(actor: str) -> str:
    """The kind of the account of an entry that has only its name."""
    return "process" if actor in ("server", "console", "mirror") else "user"


def _differences(line: StoredEntry, read: LedgerEntry, found: str) -> Iterator[str]:
    if found != line.hash:
        yield "its body or its hash was changed: they do not match"
    for column in ("seq", *COLUMNS):
        if getattr(line, column) != getattr(read, column):
            yield f"its index column `{column}` differs from its body"
    if read.account.name != read.actor:
        yield "its account and its actor differ"
