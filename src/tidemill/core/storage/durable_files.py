"""Durable files: atomic writes that survive a power cut, complete or not at all."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable: new, renamed and removed ones."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(file: Path) -> None:
    """Make the content of a file, or the names in a folder, durable, whoever wrote them."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(file: Path, content: bytes) -> None:
    """Put `content` at `file`: readers see the old content or the new, and the new one stays once this returns."""
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
    """Remove `file` if it is there; once this returns it stays away."""
    if file.exists():
        file.unlink()
        sync_folder(file.parent)


def sha256_of(file: Path) -> str:
    """sha256 of a file's content, in hex."""
    with file.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
