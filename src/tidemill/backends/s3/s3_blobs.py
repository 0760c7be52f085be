"""Blob store on S3: each key is a manifest of files, which exists only when all of them do; read through a cache."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from pathlib import Path
from urllib.parse import unquote

import msgspec

from tidemill.backends.folder_blobs import blob_name, refuse_links
from tidemill.backends.s3.blob_cache import BlobCache, BlobManifest
from tidemill.backends.s3.s3_folder import S3Folder
from tidemill.backends.s3.s3_location import S3Location
from tidemill.core.backend import BackendContext
from tidemill.core.errors import NoSuchBlob, PlaceRefused, nearest
from tidemill.core.record_format import decode_record
from tidemill.core.records.ingest import FileEntry
from tidemill.core.storage.durable_files import sha256_of, write_durably

#: The folder of the blobs in a lake, and in it those of the manifests and of the files.
BLOBS, MANIFESTS, FILES = "_blobs", "manifests", "files"
#: The folder of the cache in a project.
CACHE = ".tidemill/cache/blobs"


class S3Blobs:
    """Folders of files by key below a location. A stored folder is complete and immutable. `cache` is a folder of this
    machine; what it has of a key is used also while the store does not answer.
    """

    def __init__(self, location: S3Location, cache: Path) -> None:
        self._folder = S3Folder(location.below(BLOBS))
        self._cache, self._known = BlobCache(cache / "folders"), cache / "manifests"

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> S3Blobs:
        """Blobs below `s3://BUCKET/PREFIX`."""
        location = S3Location.from_url(url)
        name = hashlib.sha256(f"{location.endpoint} {location}".encode()).hexdigest()[:16]
        return cls(location, context.project / CACHE / name)

    def put_folder(self, key: str, source: str) -> None:
        name, folder = blob_name(key), Path(source)
        refuse_links(folder)
        if not self._exists(name):
            self._folder.require_conditional_put()
            place = f"{FILES}/{name}/{secrets.token_hex(8)}"
            files = tuple(self._upload(path, folder, place) for path in sorted(folder.rglob("*")) if path.is_file())
            body = msgspec.json.encode(BlobManifest(place=place, files=files))
            if self._folder.create(f"{MANIFESTS}/{name}", body):
                self._delete_files(name, but=place)  # of killed writers
                self._cache.put(_hash(body), folder)
                return
            self._delete_files(name, of=place)
        shutil.rmtree(folder)

    def folder(self, key: str) -> str:
        name = blob_name(key)
        body = self._manifest(key, name)
        manifest = decode_record(body, BlobManifest, f"{self._folder.location}/{MANIFESTS}/{name}")
        return str(self._cache.folder(_hash(body), manifest, self._folder.read))

    def keys(self, prefix: str) -> list[str]:
        names = (found["path"].rpartition("/")[2] for found in self._folder.list(MANIFESTS))
        return sorted(key for key in map(unquote, names) if key.startswith(prefix))

    def remove(self, key: str) -> None:
        name = blob_name(key)
        self._folder.delete([f"{MANIFESTS}/{name}"])
        (self._known / name).unlink(missing_ok=True)
        self._delete_files(name)

    def _exists(self, name: str) -> bool:
        try:
            self._folder.head(f"{MANIFESTS}/{name}")
        except FileNotFoundError:
            return False
        return True

    def _upload(self, path: Path, folder: Path, place: str) -> FileEntry:
        name = path.relative_to(folder).as_posix()
        self._folder.upload(f"{place}/{name}", path)
        return FileEntry(path=name, sha256=sha256_of(path), size_bytes=path.stat().st_size)

    def _manifest(self, key: str, name: str) -> bytes:
        known = self._known / name
        folder = S3Folder(self._folder.location, patient=not known.is_file())
        try:
            body = folder.read(f"{MANIFESTS}/{name}")
        except FileNotFoundError as error:
            known.unlink(missing_ok=True)
            raise NoSuchBlob(
                f"{self._folder.location}: nothing is stored under {key!r}", tip=nearest(key, self.keys(""))
            ) from error
        except PlaceRefused:
            if known.is_file():
                return known.read_bytes()
            raise
        if not known.is_file() or known.read_bytes() != body:
            self._known.mkdir(parents=True, exist_ok=True)
            write_durably(known, body)
        return body

    def _delete_files(self, name: str, *, of: str = "", but: str = "") -> None:
        """The files of a key, only those `of` a place, or all `but` those."""
        found = [one["path"] for one in self._folder.list(of or f"{FILES}/{name}")]
        self._folder.delete([path for path in found if not (but and path.startswith(f"{but}/"))])


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
