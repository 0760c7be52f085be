"""The port `leases`: locks between processes, with a fencing number."""

from __future__ import annotations

from typing import Protocol


class Lease(Protocol):
    """A held lease: its name and fencing number. It is released at the end of the `with` block or of the process.

    The holder passes the number with every ledger entry. An entry with an outdated number raises `LeaseLost`.
    """

    name: str
    number: int

    def __enter__(self) -> Lease: ...
    def __exit__(self, *exc: object) -> None: ...

    def beat(self) -> None:
        """Renew the lease (heartbeat). Raises `LeaseLost` if another process holds it now.

        A back-end whose leases expire renews them itself, in time, from its own thread.
        """
        ...

    def release(self) -> None:
        """Release the lease. Idempotent."""
        ...


class Leases(Protocol):
    """Mutual exclusion by name, on one machine or across machines. A name may contain a colon: `train:for_you`."""

    def take(self, name: str) -> Lease:
        """Acquire `name` without waiting; its number is above all earlier ones. `LeaseTaken` names another holder."""
        ...

    def holder(self, name: str) -> str | None:
        """A description of the current holder of `name`; `None` if it is free."""
        ...
