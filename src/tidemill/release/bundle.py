"""Bundle: a folder of a model's files, sealed by one hash, and opened only if nothing has changed since.

`manifest.json` lists every file with its sha256 and size; the sha256 of the manifest's own bytes is the bundle's name.
So one hash in a release pins every byte, and a bundle with an extra or missing file, a link or a pickle does not open.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import msgspec

from tidemill.core.canonical import canonical
from tidemill.core.errors import BundleCorrupt, BundleRefused
from tidemill.core.record_format import Record, VersionedRecord, decode_record, format_of
from tidemill.core.storage.durable_files import sha256_of, sync_file, sync_folder, write_durably
from tidemill.release.allowed_contents import Holds, refusal_reason

MANIFEST = "manifest.json"
_MANIFEST_BYTES = 4 * 1024 * 1024
_MAX_FILES = 10_000
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")


class SealedFile(Record, frozen=True):
    """One file of a bundle."""

    sha256: str = ""
    size: int = 0


class BundleManifest(VersionedRecord, frozen=True):
    """Every file of a bundle: relative path with forward slashes -> hash and size in bytes."""

    KIND: ClassVar[str] = "bundle manifest"
    REQUIRED: ClassVar[tuple[str, ...]] = ("format", "files")

    files: dict[str, SealedFile] = msgspec.field(default_factory=dict)


def seal_bundle(folder: Path, *, holds: Holds = "bundle") -> str:
    """Write `manifest.json` into `folder`, sync all files to disk, and return the bundle's name: 64 hex digits.

    Sealing a sealed folder returns the same name. `BundleRefused`, before anything is written, for a link, a hard link,
    a path that is not a plain relative name, or content that `allowed_contents` does not list.
    """
    files = {}
    for name, path in _walk(folder).items():
        if path.stat().st_nlink > 1:
            raise _refused(folder, name, "it has a hard link, through which it could change", "copy it instead")
        why = refusal_reason(path, name, holds)
        if why:
            raise _refused(folder, name, why)
        files[name] = {"sha256": sha256_of(path), "size": path.stat().st_size}
    if not files:
        raise BundleRefused(f"{folder} has no file to seal")
    body = canonical({"format": format_of(BundleManifest), "files": files})
    _write_durably(folder, files, body)
    return hashlib.sha256(body).hexdigest()


def verify_bundle(folder: Path, sha256: str, *, deep: bool = True, holds: Holds = "bundle") -> BundleManifest:
    """The manifest of the bundle in `folder`, if the folder has exactly the content that was sealed as `sha256`.

    `deep` reads every byte. Without it only the manifest's hash and the files' names and sizes are compared: enough
    for a worker whose supervisor has just read every byte. `BundleCorrupt` lists every file that is missing, truncated
    or changed; `BundleRefused` names a file that is not allowed; `FormatTooNew`: the manifest has a newer format.
    """
    manifest = _read_manifest(folder, sha256)
    found = _walk(folder)
    extra = sorted(found.keys() - manifest.files.keys())
    if extra:
        raise _refused(folder, extra[0], "it is not in the manifest")
    damage = [_damage(found.get(name), sealed, deep) for name, sealed in manifest.files.items()]
    broken = [f"{name} {why}" for name, why in zip(manifest.files, damage, strict=True) if why]
    if broken:
        raise BundleCorrupt(
            f"the bundle in {folder} has changed since it was sealed as {sha256[:12]}: {'; '.join(broken)}",
            tip="restore the folder from a backup, or run `tidemill rollback` to the previous release",
        )
    for name, path in found.items() if deep else ():
        why = refusal_reason(path, name, holds)
        if why:
            raise _refused(folder, name, why)
    return manifest


def _read_manifest(folder: Path, sha256: str) -> BundleManifest:
    path = folder / MANIFEST
    if folder.is_symlink() or path.is_symlink():
        raise _refused(folder, MANIFEST, "it is a link")
    try:
        with path.open("rb") as file:
            body = file.read(_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BundleCorrupt(f"the bundle in {folder} has no readable {MANIFEST}: {error.strerror}") from error
    if len(body) > _MANIFEST_BYTES:
        raise _refused(folder, MANIFEST, f"it is larger than {_MANIFEST_BYTES:,} bytes")
    actual = hashlib.sha256(body).hexdigest()
    if actual != sha256:
        raise BundleCorrupt(
            f"the {MANIFEST} in {folder} has changed: its sha256 is {actual[:12]}…, and {sha256[:12]}… was sealed",
            tip="restore the folder from a backup, or run `tidemill rollback` to the previous release",
        )
    return _parse_manifest(folder, body)


def _parse_manifest(folder: Path, body: bytes) -> BundleManifest:
    try:
        manifest = decode_record(body, BundleManifest, str(folder))
    except msgspec.DecodeError as error:
        raise _refused(folder, MANIFEST, f"it is not a valid manifest: {error}") from error
    if not 0 < len(manifest.files) <= _MAX_FILES:
        raise _refused(folder, MANIFEST, f"it lists {len(manifest.files):,} files; 1 to {_MAX_FILES:,} are allowed")
    for name in manifest.files:
        plain_name(folder, name)
    return manifest


def _walk(folder: Path) -> dict[str, Path]:
    """Every file below `folder` except the manifest, by relative name; links and special files are refused."""
    files: dict[str, Path] = {}
    pending = [(folder, "")]
    while pending:
        place, prefix = pending.pop()
        try:
            entries = sorted(os.scandir(place), key=lambda entry: entry.name)
        except OSError as error:
            raise BundleCorrupt(f"the bundle's folder {place} cannot be read: {error.strerror}") from error
        for entry in entries:
            name = prefix + entry.name
            if entry.is_symlink():
                raise _refused(folder, name, "it is a link")
            if not _is_plain(name):
                raise _refused(folder, name, "its name is not plain", "use letters, digits, `_`, `-` and `.`")
            if entry.is_dir(follow_symlinks=False):
                pending.append((Path(entry.path), name + "/"))
            elif not entry.is_file(follow_symlinks=False):
                raise _refused(folder, name, "it is neither a file nor a folder")
            elif name != MANIFEST:
                files[name] = Path(entry.path)
    return dict(sorted(files.items()))


def plain_name(folder: Path, name: str) -> str:
    """`name`, if it is a plain relative name that stays inside `folder`; else `BundleRefused`."""
    if not _is_plain(name) or name == MANIFEST:
        raise _refused(folder, name, "it is not a plain name inside the bundle")
    return name


def _is_plain(name: str) -> bool:
    parts = name.split("/")
    return len(parts) <= 8 and all(_PART.match(part) for part in parts)


def _damage(path: Path | None, sealed: SealedFile, deep: bool) -> str | None:
    if path is None:
        return "is missing"
    size = path.stat().st_size
    if size != sealed.size:
        return f"has {size:,} bytes instead of {sealed.size:,}"
    if not deep:
        return None
    actual = sha256_of(path)
    return None if actual == sealed.sha256 else f"has the sha256 {actual[:12]}… instead of {sealed.sha256[:12]}…"


def _write_durably(folder: Path, files: Mapping[str, object], body: bytes) -> None:
    for name in files:
        sync_file(folder / name)
    for place in {(folder / name).parent for name in files}:
        sync_folder(place)
    write_durably(folder / MANIFEST, body)


def _refused(folder: Path, name: str, why: str, tip: str | None = None) -> BundleRefused:
    return BundleRefused(f"the bundle in {folder} is refused because of {name!r}: {why}", tip=tip)
