"""Rows that wait for a person, and rows that were refused: kept beside the tables, in no version of any."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.core.durable import remove_durably, write_durably
from tidemill.core.errors import CorruptFile, NoSuchIncrement
from tidemill.core.failpoint import failpoint
from tidemill.core.ledger import Ledger, Line
from tidemill.core.ports import Lease
from tidemill.core.records import Increment, Verdict


@dataclass(frozen=True)
class Held:
    """A held increment with its rows as they arrived."""

    increment: Increment
    verdict: Verdict
    rows: pa.Table
    #: What the parser refused of it, raw bytes sealed; `None` where the holder kept none.
    refused: pa.Table | None


class HeldRows:
    """Held increments: a Parquet file each, believed only by the sha256 in the ledger's `hold` line."""

    def __init__(self, root: Path, ledger: Ledger) -> None:
        self._root, self._ledger = root, ledger

    def hold(
        self,
        increment: Increment,
        verdict: Verdict,
        rows: pa.Table,
        refused: pa.Table | None,
        details: Mapping[str, Any],
        lease: Lease,
    ) -> None:
        """Keep the rows, then say so in the ledger."""
        kept = {"file": rows} | ({} if refused is None else {"refused_file": refused})
        files: dict[str, str] = {}
        for name, part in kept.items():
            content = _parquet(part)
            sha256 = hashlib.sha256(content).hexdigest()
            file = self._root / f"{increment.stream}-{increment.number}-{sha256[:16]}.parquet"
            write_durably(file, content)
            files |= {name: file.name, name.replace("file", "sha256"): sha256}
        failpoint("hold.written")
        self._ledger.append(
            "hold",
            about=f"stream:{increment.stream}",
            fingerprint=increment.commitment,
            details={
                **details,
                **files,
                "number": increment.number,
                "increment": increment.json(),
                "verdict": verdict.json(),
            },
            lease=lease,
        )
        failpoint("hold.ledger")

    def read(self, stream: str, number: int) -> Held:
        """The newest hold of an increment; `NoSuchIncrement` where it was never held."""
        lines = [line for line in self._lines(stream) if line.details["number"] == number]
        if not lines:
            known = sorted({line.details["number"] for line in self._lines(stream)})
            says = f"held so far: {', '.join(map(str, known))}" if known else "nothing was ever held there"
            raise NoSuchIncrement(f"increment {number} of `{stream}` is not held; {says}", tip="tidemill status")
        details = lines[-1].details
        refused = self._table(details, "refused_") if "refused_file" in details else None
        return Held(
            msgspec.json.decode(details["increment"], type=Increment),
            msgspec.json.decode(details["verdict"], type=Verdict),
            self._table(details, ""),
            refused,
        )

    def settled(self, stream: str, number: int) -> NoSuchIncrement:
        """What to raise for an increment that was held once and is published."""
        return NoSuchIncrement(
            f"increment {number} of `{stream}` is not held any more: it is published", tip="tidemill status"
        )

    def discard_unsaid(self) -> int:
        """Remove files of holds that a crash kept out of the ledger; how many there were."""
        said = set()
        for line in self._ledger.find("hold"):
            said |= {line.details["file"], line.details.get("refused_file", "")}
        unsaid = [file for file in self._root.glob("*.parquet*") if file.name not in said]
        for file in unsaid:
            remove_durably(file)
        return len(unsaid)

    def verify(self) -> list[str]:
        """A sentence for every held file that is missing or changed."""
        problems = []
        for line in self._ledger.find("hold"):
            for prefix in [""] + (["refused_"] if "refused_file" in line.details else []):
                try:
                    self._content(line.details, prefix)
                except CorruptFile as error:
                    problems.append(error.message)
        return problems

    def _lines(self, stream: str) -> list[Line]:
        return self._ledger.find("hold", about=f"stream:{stream}")

    def _table(self, details: Mapping[str, Any], prefix: str) -> pa.Table:
        return pq.read_table(pa.BufferReader(self._content(details, prefix)))

    def _content(self, details: Mapping[str, Any], prefix: str) -> bytes:
        file = self._root / str(details[f"{prefix}file"])
        if not file.is_file():
            raise CorruptFile(
                f"the held rows {file} are missing", tip="restore them from a backup, or replace the increment"
            )
        content: bytes = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != details[f"{prefix}sha256"]:
            raise CorruptFile(f"the held rows {file} differ from their hash in the ledger")
        return content


class Quarantine:
    """Refused rows with their place and reason; raw bytes lie sealed under the vault's key."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, stream: str, number: int, refused: pa.Table) -> None:
        """Keep what was refused of an increment; the same increment again replaces it, and no rows remove it."""
        file = self._root / stream / f"{number:010d}.parquet"
        if refused.num_rows:
            write_durably(file, _parquet(refused))
        else:
            remove_durably(file)
        failpoint("quarantine.written")

    def read(self, stream: str) -> pa.Table | None:
        """Everything refused of a stream, with `_increment` first; `None` where nothing was."""
        parts = []
        for file in sorted((self._root / stream).glob("*.parquet")):
            rows = pq.ParquetFile(file).read()
            parts.append(rows.add_column(0, "_increment", pa.array([int(file.stem)] * rows.num_rows, pa.int64())))
        return pa.concat_tables(parts, promote_options="permissive") if parts else None


def _parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", write_statistics=False)
    content: bytes = sink.getvalue().to_pybytes()
    return content
