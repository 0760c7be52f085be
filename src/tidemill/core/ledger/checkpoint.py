"""Checkpoints of the ledger: small files with its signed head, to be copied where the ledger's machine cannot write."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import msgspec

from tidemill.core.identity.keys import signed_by
from tidemill.core.ledger.ledger_entry import LedgerHead
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.core.storage.durable_files import write_durably


class _File(VersionedRecord, frozen=True):
    """Content of a checkpoint file."""

    KIND: ClassVar[str] = "checkpoint"
    REQUIRED: ClassVar[tuple[str, ...]] = ("seq", "hash", "signature", "public")

    seq: int = 0
    hash: str = ""
    signature: str = ""
    #: Public key, so that the signature can be verified without the mill.
    public: str = ""


def write(folder: Path, head: LedgerHead, public: str) -> Path:
    """Write `head` atomically and durably as `<number>.json`, and return the path."""
    path = folder / f"{head.seq:012}.json"
    record = _File(seq=head.seq, hash=head.hash, signature=head.signature, public=public)
    write_durably(path, msgspec.json.format(msgspec.json.encode(record)) + b"\n")
    return path


def read(folder: Path, newest: int = 0) -> tuple[list[LedgerHead], list[str]]:
    """The heads of the checkpoints in `folder` (all, or the `newest` ones), and a message for each damaged file."""
    heads, problems = [], []
    for path in sorted(folder.glob("*.json"))[-newest:]:
        try:
            found = decode_record(path.read_bytes(), _File, path.name)
        except msgspec.MsgspecError:
            problems.append(f"checkpoint {path.name} cannot be read")
            continue
        head = LedgerHead(found.seq, found.hash, found.signature)
        if found.seq and not _fits(found, head):
            problems.append(f"checkpoint {path.name} was changed: its signature is not valid")
        else:
            heads.append(head)
    return heads, problems


def _fits(found: _File, head: LedgerHead) -> bool:
    try:
        return signed_by(found.public, head.message, bytes.fromhex(found.signature))
    except ValueError:
        return False
