"""What is live, as one file per model that a server can read with the ledger away: `<model>/live.json`.

A promotion replaces the file by an atomic rename, so a reader sees the release before or the one after, whole.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from tidemill.core.durable import write_durably
from tidemill.core.errors import BundleCorrupt, FormatTooNew, NoSuchRelease
from tidemill.core.records import Record
from tidemill.core.release import Release

LIVE = "live.json"
FORMAT = 1
_NAME = re.compile(r"\w[\w.-]*\Z")


class Pointer(Record, frozen=True):
    """The release that a server answers from, and where its files lie."""

    release: Release
    #: Folder of the verified bundle, absolute.
    bundle: str
    #: Folder of the release's own rule modules; `None` where all rules are built in.
    modules: str | None = None
    format: int = FORMAT


def model_folder(serving_root: Path, model: str) -> Path:
    """The folder in which a model's pointer and switch lie; a name that would lead out of the root is refused."""
    if not _NAME.match(model) or ".." in model:
        raise NoSuchRelease(f"{model!r} cannot be the name of a model")
    return serving_root / model


def read_pointer(serving_root: Path, model: str) -> Pointer | None:
    """What is live of `model`, `None` before its first promotion; a damaged file is a `BundleCorrupt`."""
    path = model_folder(serving_root, model) / LIVE
    try:
        body = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        pointer = msgspec.json.decode(body, type=Pointer)
    except msgspec.DecodeError as error:
        raise BundleCorrupt(
            f"{path} does not read as a pointer: {error}", tip="`tidemill run` writes it again from the ledger"
        ) from error
    if pointer.format > FORMAT:
        raise FormatTooNew(f"{path} has format {pointer.format}, and {FORMAT} is known here")
    return pointer


def write_pointer(serving_root: Path, pointer: Pointer) -> None:
    """Make `pointer` what is live of its model, durably and at once."""
    folder = model_folder(serving_root, pointer.release.model)
    write_durably(folder / LIVE, msgspec.json.encode(pointer))


def module_sources(pointer: Pointer) -> dict[str, bytes]:
    """The source of the release's own rules by path, as `models.load_functions` takes it; empty where it has none."""
    if pointer.modules is None:
        return {}
    return {name: (Path(pointer.modules) / name).read_bytes() for name in pointer.release.rule_modules}
