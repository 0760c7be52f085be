"""Head file: the ledger's newest signed head in a file next to its store, written after every append.

A ledger that lacks the entry of this head was cut, or is an older copy. One writer's older head does not replace a
newer one. The file is overwritten in place, within one sector, and not flushed to disk: after a power cut it may have
an older head, which is as true.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from tidemill.core.errors import LedgerCorrupt
from tidemill.core.identity.keys import signed_by
from tidemill.core.ledger.ledger_entry import LedgerHead

_SIZE_BYTES = 256
_TIP = "the next entry of the ledger replaces it"


class HeadFile:
    """The newest head in the file `path`, signed with the key whose public part is `public` (hex)."""

    def __init__(self, path: Path, public: str) -> None:
        self.path = path
        self.public = public

    def read(self) -> LedgerHead | None:
        """The head; `None` where the file is missing. Raises `LedgerCorrupt` if it is damaged or not signed."""
        try:
            return self._parse(self.path.read_bytes())
        except FileNotFoundError:
            return None

    def keep(self, head: LedgerHead) -> None:
        """Write `head`, unless the file has a newer one. Where it cannot be written, the older one stays."""
        with suppress(OSError):
            self._overwrite(head)

    def _overwrite(self, head: LedgerHead) -> None:
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            if self._is_newer(os.pread(fd, _SIZE_BYTES, 0), head.seq):
                return
            os.pwrite(fd, f"{head}".encode().ljust(_SIZE_BYTES - 1) + b"\n", 0)
            os.ftruncate(fd, _SIZE_BYTES)
        finally:
            os.close(fd)

    def _is_newer(self, content: bytes, seq: int) -> bool:
        try:
            return self._parse(content, above=seq).seq > seq
        except LedgerCorrupt:
            return False

    def _parse(self, content: bytes, above: int = -1) -> LedgerHead:
        """The head in a file's content; the signature of one with a number above `above` is verified."""
        try:
            head = LedgerHead.parse(content.decode("ascii").strip())
            signed = head.seq <= above or signed_by(self.public, head.message, bytes.fromhex(head.signature))
        except (LedgerCorrupt, ValueError) as error:
            raise LedgerCorrupt(f"{self.path} is not a ledger head", tip=_TIP) from error
        if not signed:
            raise LedgerCorrupt(f"{self.path} was changed: its signature is not valid", tip=_TIP)
        return head
