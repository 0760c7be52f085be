"""What a model has counted, kept between runs: a derived store that may be lost, because it can be counted again.

One folder below `learning/MODEL`, called by the sha256 of its manifest, so that a changed byte is found before anything
is read. It holds items and numbers, and nobody.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from tidemill.core.durable import sync_folder
from tidemill.core.errors import BundleCorrupt, FormatTooNew, IdsMismatch, ReleaseError
from tidemill.core.failpoint import failpoint
from tidemill.core.record_format import VersionedRecord, decode_record
from tidemill.models.learners.additive_counts import Counts, CountSettings
from tidemill.release import seal, verify

_ABOUT = "counts.json"
#: Folders that are being written start with this.
_NEW = "new-"


class Represents(msgspec.Struct, frozen=True, kw_only=True):
    """What kept counts are counts of."""

    #: The table, its columns, its version, and the publication that names it.
    table: str = ""
    columns: tuple[str, ...] = ()
    version: int = 0
    publication: int = 0
    #: Events earlier than this are counted (microseconds); so many are not yet.
    as_of: int = 0
    ahead: int = 0
    #: What rounds: counts that were made by another one are made anew.
    made_by: str = f"numpy {np.__version__}"
    #: Where the first version looks for the number.
    format: int = 1


class _About(VersionedRecord, frozen=True, kw_only=True):
    """`counts.json`."""

    KIND: ClassVar[str] = "count store"
    REQUIRED: ClassVar[tuple[str, ...]] = ("represents", "settings")

    represents: Represents = Represents()
    #: Those of each folder of counts, as plain values: which learner they belong to is known by whoever asks.
    settings: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class KeptCounts:
    """The counts of one model, in a folder of its own."""

    place: Path

    def read(self, settings: Sequence[CountSettings]) -> tuple[Represents, dict[CountSettings, Counts]] | str:
        """What is kept with these settings, memory-mapped; or a sentence that says why nothing of it can be used."""
        # Two where a run died before it removed the older one: each says what it represents, so either will do.
        found = sorted(folder for folder in self.place.glob("*") if not folder.name.startswith(_NEW))
        if not found:
            return "none were kept yet"
        try:
            folder = found[-1]
            verify(folder, folder.name)
            about = decode_record((folder / _ABOUT).read_bytes(), _About, _ABOUT)
            numbers = {_text(one): number for number, one in enumerate(about.settings)}
            if set(numbers) != {_text(one) for one in settings}:
                return "those that were kept have other settings"
            if about.represents.made_by != f"numpy {np.__version__}":
                return f"those that were kept were made by {about.represents.made_by}"
            kept: dict[CountSettings, Counts] = {
                one: one.open(folder / f"counts{numbers[_text(one)]:02}") for one in settings
            }
        except (ReleaseError, BundleCorrupt, FormatTooNew, IdsMismatch, OSError, msgspec.DecodeError) as problem:
            return f"those that were kept are damaged: {problem}"
        return about.represents, kept

    def write(self, represents: Represents, counts: Mapping[CountSettings, Counts]) -> None:
        """Keep these counts in place of what was kept: whole or not at all, whenever the process dies."""
        self.place.mkdir(parents=True, exist_ok=True)
        made = self.place / f"{_NEW}{represents.publication}"
        shutil.rmtree(made, ignore_errors=True)  # by a run that was killed
        made.mkdir()
        for number, one in enumerate(counts.values()):
            one.write(made / f"counts{number:02}")
        about = _About(represents=represents, settings=tuple(msgspec.to_builtins(one) for one in counts))
        (made / _ABOUT).write_bytes(msgspec.json.encode(about))
        name = seal(made)
        failpoint("counts.staged")
        if not (self.place / name).exists():
            made.rename(self.place / name)
            sync_folder(self.place)
        failpoint("counts.written")
        for old in self.place.iterdir():
            if old.name != name:
                shutil.rmtree(old)


def _text(settings: Any) -> bytes:
    """Settings as text, by which two are the same."""
    return msgspec.json.encode(settings, order="sorted")
