"""Durable files: atomic writes that survive a power cut."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Flush a folder to disk (fsync): makes created, renamed and removed names in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: Path) -> None:
    """Flush a file or a folder to disk (fsync), regardless of which process wrote it."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_folder(folder: Path) -> Path:
    """Create `folder` for this user alone, or take the rights of others to an existing one away."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        with suppress(OSError):  # on a read-only file system its modes stay
            folder.chmod(0o700)
    return folder


def create_private_files() -> None:
    """What this process creates from now on is for this user alone; for commands and server processes."""
    os.umask(os.umask(0o077) | 0o077)


def write_durably(file: Path, content: bytes) -> None:
    """Atomically replace the content of `file`; the new content is durable when this returns."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as sink:
            sink.write(content)
            sink.flush()
            os.fsync(sink.fileno())
        partial.rename(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def remove_durably(file: Path) -> None:
    """Delete `file` if it exists; the deletion is durable when this returns."""
    if file.exists():
        file.unlink()
        sync_folder(file.parent)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's content, in hex."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
