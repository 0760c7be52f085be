"""S3 requests: read, create, list and delete the objects below a location, with the errors of tidemill."""

from __future__ import annotations

import io
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill.backends.s3.s3_location import S3Location
from tidemill.core.errors import ConditionalPutMissing, PlaceRefused

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import S3Store

_WRITER = "writer"
_CODE, _STATUS = re.compile(r"<Code>(\w+)</Code>"), re.compile(r"status code: (\d{3}[\w ]*)")


@dataclass(frozen=True)
class S3Folder:
    """The objects below a location. It can be pickled.

    Requests raise `PlaceRefused` if the store refuses them or does not answer; an object that is missing is a
    `FileNotFoundError`.
    """

    location: S3Location
    #: Whether a request is repeated for a minute where the store does not answer.
    patient: bool = True

    def create(self, path: str, body: bytes) -> bool:
        """Store an object if there is none; whether this call did. It is durable when this returns."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        store, token = self._store(), secrets.token_hex(8)
        with request_errors(self.location, path):
            try:
                obstore.put(store, path, body, mode="create", attributes={_WRITER: token})
            except AlreadyExistsError:
                # the answer to an earlier try of the same request may have been lost
                return self._writer(path) == token
        return True

    def upload(self, path: str, file: Path) -> None:
        """Store a file of this machine, in parts if it is large. An object that is there is replaced."""
        import obstore

        with request_errors(self.location, path):
            obstore.put(self._store(), path, file)

    def read(self, path: str) -> bytes:
        """The content of an object."""
        import obstore

        with request_errors(self.location, path):
            return obstore.get(self._store(), path).bytes().to_bytes()

    def reader(self, path: str) -> ObjectReader:
        """An object as a file, of which only the parts that are read are fetched."""
        return ObjectReader(self, path)

    def read_range(self, path: str, start: int, size: int) -> bytes:
        """Bytes of an object."""
        import obstore

        with request_errors(self.location, path):
            return obstore.get_range(self._store(), path, start=start, length=size).to_bytes()

    def head(self, path: str) -> ObjectMeta:
        """Size, time and ETag of an object."""
        import obstore

        with request_errors(self.location, path):
            return obstore.head(self._store(), path)

    def list(self, folder: str = "", after: str = "") -> Iterator[ObjectMeta]:
        """The objects below a path, in the order of their names, from those behind the path `after` on."""
        import obstore

        with request_errors(self.location, folder):
            stream = obstore.list(self._store(), folder or None, offset=after or None, chunk_size=1000)
            for found in stream:
                yield from found

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; missing ones are ignored."""
        import obstore

        with request_errors(self.location, paths[0] if len(paths) == 1 else ""):
            if paths:
                obstore.delete(self._store(), [*paths])

    def require_conditional_put(self) -> None:
        """Raise `ConditionalPutMissing` if the store overwrites an object where it was told not to.

        Tried once in each process, with an object that is deleted again.
        """
        _probe(self.location, os.getpid())

    def _store(self) -> S3Store:
        return self.location.store(patient=self.patient)

    def _writer(self, path: str) -> str:
        import obstore

        try:
            found = obstore.get(self._store(), path, options={"head": True}).attributes
        except FileNotFoundError:  # deleted since
            return ""
        return str({str(name).lower(): value for name, value in found.items()}.get(_WRITER, ""))


class ObjectReader(io.RawIOBase):
    """An object as a file that is read by ranges."""

    def __init__(self, folder: S3Folder, path: str) -> None:
        self._folder, self._path, self._at = folder, path, 0
        self._size = folder.head(path)["size"]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        rest = max(0, self._size - self._at)
        size = rest if size < 0 else min(size, rest)
        content = self._folder.read_range(self._path, self._at, size) if size else b""
        self._at += len(content)
        return content


@cache
def _probe(location: S3Location, process: int) -> None:
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError

    store, path = location.store(patient=False), f".probe-{secrets.token_hex(8)}"
    with request_errors(location, path):
        first = obstore.put(store, path, b"1")
        try:
            for mode, want in (("create", AlreadyExistsError), ({"e_tag": '"another"'}, PreconditionError)):
                try:
                    obstore.put(store, path, b"2", mode=mode)  # type: ignore[arg-type]
                except want:
                    continue
                except NotSupportedError:
                    pass
                raise ConditionalPutMissing(
                    f"the store of {location} overwrites an object that it was told to keep"
                    f" ({'If-None-Match' if mode == 'create' else 'If-Match'})",
                    tip="two writers would lose rows: use a store that has conditional puts",
                )
            obstore.put(store, path, b"3", mode={"e_tag": first["e_tag"]})
        finally:
            with suppress(BaseError):  # it changes nothing
                obstore.delete(store, path)


@contextmanager
def request_errors(location: S3Location, path: str = "") -> Iterator[None]:
    """Raise the errors of requests as tidemill's, without what the library says of the request."""
    from obstore.exceptions import BaseError

    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise PlaceRefused(
                f"there is no bucket {location.bucket!r}{_at(location)}", tip="create it, or correct `lake`"
            ) from None
        raise FileNotFoundError(f"{location}/{path} is missing") from None
    except BaseError as error:
        raise PlaceRefused(f"{_place(location, path)} {_reason(error)}", tip=_tip(error)) from None


def _place(location: S3Location, path: str) -> str:
    return f"{location}/{path}" if path and not path.startswith(".probe-") else str(location)


def _at(location: S3Location) -> str:
    return f" at {location.endpoint}" if location.endpoint else ""


def _reason(error: Exception) -> str:
    said = str(error)
    code, status = _CODE.search(said), _STATUS.search(said)
    if code or status:
        known = " ".join(found[1].strip() for found in (status, code) if found)
        return f"cannot be read or written: the store answers {known}"
    if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
        return "cannot be read or written: the store refuses the credentials"
    if "169.254." in said or "credential" in said.lower() or "metadata" in said.lower():
        return "cannot be read or written: there are no credentials"
    return "cannot be reached: the store does not answer"


def _tip(error: Exception) -> str:
    if "does not answer" in _reason(error):
        return "is the endpoint right, and the store running? Then run the same command again"
    return "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from ~/.aws or from the machine"
