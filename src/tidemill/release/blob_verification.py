"""Verification of the blobs: every stored folder against its name, and every release against the ledger."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.errors import LedgerError
from tidemill.core.ledger.ledger import Ledger
from tidemill.core.ports import Blobs
from tidemill.core.record_format import decode_record
from tidemill.core.records.release import Release
from tidemill.core.storage.verification import Verification
from tidemill.release.allowed_contents import Holds
from tidemill.release.bundle import verify_bundle

#: Kinds of blobs with source files; all others have the files of bundles.
_SOURCES = {"modules", "code"}


def verify_blobs(blobs: Blobs, found: Verification) -> None:
    """Compare every byte of every stored folder with the hash that it is named after."""
    for key in blobs.keys(""):
        kind, _, sha256 = key.partition(":")
        if not sha256:
            found.skip(key, "it is not named after a hash")
            continue
        holds: Holds = "modules" if kind in _SOURCES else "bundle"
        with found.attempt(key):
            folder = Path(blobs.folder(key))
            for path in folder.rglob("*"):
                if path.is_file():
                    found.read(f"{folder.name}/{path.relative_to(folder)}", path.stat().st_size)
            verify_bundle(folder, sha256, holds=holds)


def verify_releases(ledger: Ledger, blobs: Blobs, found: Verification) -> None:
    """Name every release whose bundle or rule modules are missing, unless a ledger entry removed them."""
    stored = set(blobs.keys(""))
    try:
        dropped = {ref.rpartition("@")[2] for line in ledger.find("drop") for ref in line.refs_in}
        releases = [decode_record(str(line.details["release"]), Release) for line in ledger.find("release")]
    except LedgerError as error:
        found.skip("the list of releases", f"the ledger cannot be read: {error.message}")
        return
    for release in releases:
        keys = [f"bundle:{release.bundle}"] + ([f"modules:{release.modules}"] if release.modules else [])
        for key in keys:
            if key not in stored and release.bundle not in dropped:
                found.problem(f"{release.name}: {key[:19]}… is missing from the blobs")
