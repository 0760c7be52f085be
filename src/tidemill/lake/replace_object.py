"""Replacement of an object in a store without overwriting: the old one is deleted first."""

from __future__ import annotations

from tidemill.core.errors import StaleWriter
from tidemill.core.ports import Objects


def replace_object(objects: Objects, name: str, body: bytes) -> None:
    """Store an object in place of the one that is there. The same content again changes nothing.

    For objects that no ledger line names yet: a crash may leave neither the old one nor the new one. One writer at a
    time; `StaleWriter` where another one stores the name meanwhile.
    """
    if objects.put(name, body) or objects.get(name) == body:
        return
    objects.delete(name)
    if not objects.put(name, body):
        raise StaleWriter(f"another writer stored {name} at the same time", tip="run again")
