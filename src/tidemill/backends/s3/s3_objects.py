"""Object store on S3: each object is one object of the bucket, created by a conditional put."""

from __future__ import annotations

from tidemill.backends.s3.s3_folder import S3Folder
from tidemill.backends.s3.s3_location import S3Location
from tidemill.core.backend import BackendContext
from tidemill.core.errors import NoSuchObject, nearest
from tidemill.core.storage.object_names import checked_object_name


class S3Objects:
    """Objects below a location, which may contain others. Names with a part that starts with a dot are hidden."""

    def __init__(self, location: S3Location) -> None:
        self._folder = S3Folder(location)

    @classmethod
    def from_url(cls, url: str, context: BackendContext) -> S3Objects:
        """Objects below `s3://BUCKET/PREFIX`."""
        return cls(S3Location.from_url(url))

    def put(self, name: str, body: bytes) -> bool:
        checked_object_name(name)
        self._folder.require_conditional_put()
        return self._folder.create(name, body)

    def get(self, name: str) -> bytes:
        checked_object_name(name)
        try:
            return self._folder.read(name)
        except FileNotFoundError as error:
            siblings = self.list(name.rpartition("/")[0])
            raise NoSuchObject(
                f"{self._folder.location}: there is no object {name!r}", tip=nearest(name, siblings)
            ) from error

    def list(self, prefix: str) -> list[str]:
        folder, slash, _ = prefix.rpartition("/")
        if slash:
            checked_object_name(folder)
        names = (found["path"] for found in self._folder.list(folder))
        return sorted(name for name in names if name.startswith(prefix) and "/." not in f"/{name}")

    def delete(self, name: str) -> None:
        self._folder.delete([checked_object_name(name)])
