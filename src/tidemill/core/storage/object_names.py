"""Object names: validation of names in an object store, the same for every back-end."""

from __future__ import annotations

from tidemill.core.errors import UsageError

#: Maximum bytes of a name, the limit of S3.
LONGEST_NAME = 1024


def checked_object_name(name: str) -> str:
    """Return the name if it is valid: printable parts separated by slashes, none empty or starting with a dot.

    >>> checked_object_name("manifests/ratings/3.json")
    'manifests/ratings/3.json'
    >>> checked_object_name("../ledger.db")
    Traceback (most recent call last):
    ...
    tidemill.core.errors.UsageError: '../ledger.db' is not a valid object name [TM001]
      tip: use printable parts separated by slashes; no part is empty or starts with a dot
    """
    parts = name.split("/")
    if not name.isprintable() or not all(parts) or any(part.startswith(".") for part in parts):
        raise UsageError(
            f"{name!r} is not a valid object name",
            tip="use printable parts separated by slashes; no part is empty or starts with a dot",
        )
    if len(name.encode()) > LONGEST_NAME:
        raise UsageError(
            f"{name[:40]!r}… has {len(name.encode())} bytes, which is too long for an object name",
            tip=f"at most {LONGEST_NAME}",
        )
    return name
