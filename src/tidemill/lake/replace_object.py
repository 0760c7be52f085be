"""Replacement of an object in a store without overwriting: the old one is deleted first."""

from __future__ import annotations

from tidemill.core.errors import StaleWriter
from tidemill.core.ports import Objects


def replace_object(objects: Objects, name: str, body: bytes) -> None:
    """Store an object, replacing an existing one. Storing the same content again changes nothing.

    Only for objects that no ledger entry references yet: a crash may leave neither the old nor the new object. Only one
    writer at a time; raises `StaleWriter` if another writer stores the name meanwhile.
    """
    if objects.put(name, body) or objects.get(name) == body:
        return
    objects.delete(name)
    if not objects.put(name, body):
        raise StaleWriter(f"another writer stored {name} at the same time", tip="run again")
