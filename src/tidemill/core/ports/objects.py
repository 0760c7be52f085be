"""The port `objects`: an object store for what accompanies the tables."""

from __future__ import annotations

from typing import Protocol


class Objects(Protocol):
    """Object store for data next to the tables: immutable bytes by name, written atomically.

    A name consists of parts separated by slashes; `core.storage.object_names` defines which names are valid. A name is
    either an object or a folder of objects, not both.
    """

    def put(self, name: str, body: bytes) -> bool:
        """Store an object if the name is free. If it is taken, keep the existing object and return `False`.

        In both cases the object is durable when this returns.
        """
        ...

    def get(self, name: str) -> bytes:
        """The content of an object. Raises `NoSuchObject` if there is none."""
        ...

    def list(self, prefix: str) -> list[str]:
        """The names that start with `prefix`, sorted."""
        ...

    def delete(self, name: str) -> None:
        """Delete an object; a missing one is ignored. The name can be used again."""
        ...
